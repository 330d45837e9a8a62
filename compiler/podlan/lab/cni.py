"""The part of a container runtime that calls CNI plugins: ADD, CHECK and DEL of a configuration file's chain."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from podlan.lab import namespaces
from podlan.lab.errors import PluginFailed, Unsupported
from podlan.node import chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home


@dataclass(frozen=True, slots=True)
class Attachment:
    """One pod's interface: where it is, and the configuration it is, or was, made with."""

    node: str
    pod: str
    config: dict[str, Any]
    bin_dir: str
    interface: str = "eth0"


def read(path: str, text: str) -> dict[str, Any]:
    """Read a configuration file's text."""
    try:
        config = json.loads(text)
    except ValueError as error:
        raise Unsupported(f"{path} is not JSON ({error})", "compile the site again") from error
    if not isinstance(config, dict):
        raise Unsupported(f"{path} is not a JSON object", "compile the site again")
    return config


def add(processes: Processes, home: Home, attachment: Attachment) -> dict[str, Any]:
    """Attach the pod and give the last plugin's result; a failed ADD is followed by DEL, as a runtime does."""
    with _told(attachment):
        return chain.add(attachment.config, _caller(processes, home, attachment))


def check(processes: Processes, home: Home, attachment: Attachment, result: dict[str, Any]) -> None:
    """Let every plugin check that the pod is still as ADD left it, where the configuration's version has CHECK."""
    with _told(attachment):
        chain.check(attachment.config, result, _caller(processes, home, attachment))


def delete(processes: Processes, home: Home, attachment: Attachment, result: dict[str, Any] | None) -> None:
    """Detach the pod, the last plugin first."""
    with _told(attachment):
        chain.delete(attachment.config, result, _caller(processes, home, attachment))


def addresses(result: dict[str, Any]) -> tuple[str, ...]:
    """Give the addresses of a result, without prefix length; results before 0.3.0 have one of a family."""
    listed = [entry["address"] for entry in result.get("ips", ())]
    old = [result[key]["ip"] for key in ("ip4", "ip6") if key in result]
    return tuple(str(ip_interface(text).ip) for text in listed or old)


def mode(config: dict[str, Any]) -> str:
    """Give the macvlan mode in which pods are attached."""
    return str(_macvlan(config).get("mode") or "bridge")


def in_ranges(config: dict[str, Any], address: str) -> bool:
    """Tell whether an address lies in the ranges of the configuration's host-local."""
    wanted = ip_address(address)
    return any(first <= int(wanted) <= last for first, last in _ranges(config, wanted.version))


def require_host_local(node: str, config: dict[str, Any]) -> None:
    """Refuse a configuration whose addresses the lab cannot have handed out."""
    kind = _macvlan(config).get("ipam", {}).get("type", "")
    if kind != "host-local":
        raise Unsupported(f"node {node} uses ipam {kind or 'none'!r}", "it attaches pods with host-local only")


def _macvlan(config: dict[str, Any]) -> dict[str, Any]:
    plugins: list[dict[str, Any]] = config.get("plugins", [config])
    return next((plugin for plugin in plugins if plugin.get("type") == "macvlan"), {})


def _ranges(config: dict[str, Any], version: int) -> list[tuple[int, int]]:
    found = []
    for group in _macvlan(config).get("ipam", {}).get("ranges", ()):
        for entry in group:
            subnet = ip_network(entry["subnet"])
            if subnet.version == version:
                first, last = entry.get("rangeStart", subnet[0]), entry.get("rangeEnd", subnet[-1])
                found.append((int(ip_address(first)), int(ip_address(last))))
    return found


@contextlib.contextmanager
def _told(attachment: Attachment) -> Iterator[None]:
    try:
        yield
    except chain.Refusal as error:
        raise PluginFailed(attachment.node, attachment.pod, error.verb, error.plugin, error.message) from error


def _caller(processes: Processes, home: Home, attachment: Attachment) -> chain.Call:
    environment = {
        "CNI_CONTAINERID": f"{home.name}-{attachment.pod.replace('/', '-')}",
        "CNI_NETNS": namespaces.pod_net(attachment.pod),
        "CNI_IFNAME": attachment.interface,
        "CNI_PATH": attachment.bin_dir,
    }

    def call(verb: str, plugin: chain.Document) -> chain.Document:
        kind = str(plugin.get("type", ""))
        if not kind or "/" in kind:
            raise chain.Refusal(verb, repr(kind), "the configuration names no plugin")
        done = processes.run(
            namespaces.in_node(home, attachment.node, f"{attachment.bin_dir}/{kind}"),
            stdin=json.dumps(plugin),
            environment={**environment, "CNI_COMMAND": verb},
        )
        return chain.answer(verb, kind, done.code, done.out, done.err)

    return call
