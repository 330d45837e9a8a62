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
    return tuple(str(ip_interface(text).ip) for text in interfaces(result))


def mode(config: dict[str, Any]) -> str:
    """Give the macvlan mode in which pods are attached."""
    return str(_macvlan(config).get("mode") or "bridge")


def master(config: dict[str, Any]) -> str:
    """Give the name by which the configuration knows the node's interface."""
    return str(_macvlan(config).get("master", ""))


def interfaces(result: dict[str, Any]) -> tuple[str, ...]:
    """Give the addresses of a result with prefix length."""
    listed = [entry["address"] for entry in result.get("ips", ())]
    old = [result[key]["ip"] for key in ("ip4", "ip6") if key in result]
    return tuple(listed or old)


def routes(result: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Give the routes of a result with their gateways; one that names none leads to the gateway of its family."""
    default = {ip_interface(entry["address"]).version: entry.get("gateway", "") for entry in result.get("ips", ())}
    return tuple(
        (route["dst"], route.get("gw") or default.get(ip_network(route["dst"], strict=False).version, ""))
        for route in result.get("routes", ())
    )


def hop(config: dict[str, Any], address: str) -> str:
    """Give the gateway of the configured route to an address, the narrowest; empty where it names none."""
    wanted = ip_address(address)
    routes = [(ip_network(route["dst"]), route.get("gw", "")) for route in _macvlan(config)["ipam"].get("routes", ())]
    matching = [(network.prefixlen, gateway) for network, gateway in routes if wanted in network]
    return max(matching, default=(0, ""))[1]


def is_apart(config: dict[str, Any]) -> bool:
    """Tell whether the routes of this interface hold only for what leaves with its address (plugin sbr)."""
    return any(plugin.get("type") == "sbr" for plugin in config.get("plugins", ()))


def unavailable(config: dict[str, Any]) -> bool:
    """Tell whether a lab has nothing that pods could be attached to this network with."""
    plugin = _macvlan(config)
    return plugin.get("ipam", {}).get("type") == "dhcp" or bool(plugin.get("linkInContainer"))


def room(config: dict[str, Any]) -> int | None:
    """Give how many pods there can be on this network of a node; None: nothing limits them."""
    if mode(config) == "passthru":
        return 1
    sizes = [
        sum(last - first + 1 for first, last in found) for version in (4, 6) if (found := _ranges(config, version))
    ]
    return min(sizes, default=None)


def in_ranges(config: dict[str, Any], address: str) -> bool:
    """Tell whether an address lies in the ranges of the configuration's host-local."""
    wanted = ip_address(address)
    return any(first <= int(wanted) <= last for first, last in _ranges(config, wanted.version))


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
