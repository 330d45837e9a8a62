"""One node of a lab: made as its operating system would leave it, reconciled, its pods attached and detached."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from podlan.lab import cni, namespaces, rootfs, wiring
from podlan.lab.errors import FlagsLost, ReconcileFailed, WrongAddress
from podlan.lab.state import InterfaceState, NodeState, PodState, Port, Way
from podlan.plan import BadPlan, Plan, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home
    from podlan.lab.topology import LabNode, Wire

RECONCILE = (sys.executable, "-m", "podlan", "reconcile")

_MULTUS = "/etc/cni/multus/net.d/"
"""Where the files of pods' further networks are; a pod asks for all of them here."""

_TENTATIVE = 5.0
"""Seconds that duplicate address detection may take: one, and up to one more before it starts."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A node of the topology with its plan."""

    node: LabNode
    plan: Plan


def planned(node: LabNode) -> Planned:
    """Read a node's plan; raises BadPlan when there is none, or another node's."""
    file = node.directory / "plan.json"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(str(file), f"cannot be read ({error})") from error
    plan = decode(text, str(file))
    if plan.node != node.name or "/" in plan.node or plan.node in {"", ".", ".."}:
        raise BadPlan(str(file), f"it is for node {plan.node!r}, not for {node.name!r}")
    return Planned(node, plan)


def reconcile(processes: Processes, home: Home, planned: Planned, command: Sequence[str] = RECONCILE) -> None:
    """Run the node's own program on it, as its boot would."""
    inherited = {key: os.environ[key] for key in ("PYTHONPATH", "PYTHONHOME") if key in os.environ}
    argv = namespaces.in_node(home, planned.node.name, *command, rootfs.INPUT)
    done = processes.run(argv, environment={"PYTHONDONTWRITEBYTECODE": "1", **inherited})
    if done.code:
        raise ReconcileFailed(planned.node.name, done.code, done.output)
    _check_flags(processes, home, planned.plan)
    if any(":" in address.address for address in planned.plan.addresses):
        _settle(processes, home, planned)


def withdraw(processes: Processes, home: Home, planned: Planned) -> None:
    """Take the node's host access away, as if podlan had not been there; reconcile gives it back."""
    children = _children(planned.plan)
    if children:
        batch = "".join(f"link delete {child}\n" for child in children)
        inside = namespaces.in_node(home, planned.node.name, "ip", "-batch", "-")
        processes.must(f"taking host access from node {planned.node.name}", inside, stdin=batch)


def attach(processes: Processes, home: Home, planned: Planned, pods: int) -> list[PodState]:
    """Attach pods with the configuration files that lie on the node now."""
    if planned.plan.cni is None or not pods:
        return []
    primary, *further = [_network(processes, home, planned, file) for file in _networks(planned.plan)]
    limit = 1 if cni.mode(primary) == "passthru" else pods
    chosen = [primary, *(config for config in further if not cni.unavailable(config))]
    names = [f"{planned.node.name}/pod-{number}" for number in range(1, min(pods, limit) + 1)]
    return [_attach(processes, home, planned, name, at, chosen) for at, name in enumerate(names)]


def detach(processes: Processes, home: Home, pod: PodState, bin_dir: str) -> None:
    """Detach a pod, as the runtime would at its end; the last interface first."""
    for interface in reversed(pod.interfaces):
        attachment = cni.Attachment(pod.node, pod.name, interface.config, bin_dir, interface.name)
        cni.delete(processes, home, attachment, interface.result)


def state(planned: Planned) -> NodeState:
    """Give what verifying must know of the node."""
    return NodeState(planned.node.name, tuple(_port(planned.plan, wire) for wire in planned.node.wires))


def _port(plan: Plan, wire: Wire) -> Port:
    shim = next((link.name for link in plan.links if link.kind == "macvlan" and link.master == wire.master), "")
    ways = [Way("::/0" if ":" in gateway else "0.0.0.0/0", gateway) for gateway in wire.gateways]
    ways += [
        Way(route.destination, route.gateway, route.source) for route in plan.routes if shim and route.link == shim
    ]
    return Port(
        wire.master, wire.lan, wire.addresses, tuple(ways), access(plan, wire.master), shim, reflects=wire.reflects
    )


def access(plan: Plan, master: str) -> tuple[int, ...]:
    """Give the families in which the plan lets the host reach its own pods: those of a bridge-mode child."""
    children = {
        link.name for link in plan.links if link.kind == "macvlan" and link.mode == "bridge" and link.master == master
    }
    texts = [address.address for address in plan.addresses if address.link in children]
    texts += [route.destination for route in plan.routes if route.link in children]
    return tuple(sorted({ip_network(text, strict=False).version for text in texts}))


def has_access(plan: Plan) -> bool:
    """Tell whether the plan makes anything through which the host reaches its pods."""
    return bool(_children(plan))


def _children(plan: Plan) -> list[str]:
    return [link.name for link in plan.links if link.kind == "macvlan"]


def _networks(plan: Plan) -> list[str]:
    """Give the files of the node's networks: that of every pod's first interface, and Multus's by their names."""
    first = [plan.cni.file] if plan.cni is not None else []
    return [*first, *sorted(file.path for file in plan.files if file.path.startswith(_MULTUS))]


def _network(processes: Processes, home: Home, planned: Planned, file: str) -> dict[str, Any]:
    name = planned.node.name
    inside = namespaces.in_node(home, name, "cat", file)
    return cni.read(file, processes.must(f"reading {file} of node {name}", inside))


def _attach(
    processes: Processes, home: Home, planned: Planned, pod: str, at: int, networks: Sequence[dict[str, Any]]
) -> PodState:
    name, bin_dir = planned.node.name, str(rootfs.bin_dir(planned.plan))
    wiring.start_pod(processes, home, name, pod)
    interfaces = []
    for number, config in enumerate(networks):
        room = cni.room(config)
        if number and room is not None and at >= room:
            continue  # a pod that does not ask for this network
        attachment = cni.Attachment(name, pod, config, bin_dir, f"net{number}" if number else "eth0")
        result: dict[str, Any] = cni.add(processes, home, attachment)
        cni.check(processes, home, attachment, result)
        addresses = cni.addresses(result)
        for address in addresses:
            if not cni.in_ranges(config, address):
                raise WrongAddress(pod, address, "it is outside its node's ranges")
        master = _interface(planned.plan, cni.master(config))
        interfaces.append(InterfaceState(attachment.interface, master, addresses, config, result))
    return PodState(pod, name, tuple(interfaces))


def _interface(plan: Plan, name: str) -> str:
    """Give the interface that a CNI file means, by its own name or by an altname."""
    return next((link.name for link in plan.links if name in link.altnames), name)


def _settle(processes: Processes, home: Home, planned: Planned) -> None:
    """Wait until the kernel has found the node's own IPv6 addresses to be unique; before that nobody reaches them."""
    show = namespaces.in_node(home, planned.node.name, "ip", "-6", "address", "show", "tentative", "scope", "global")
    deadline = time.monotonic() + _TENTATIVE
    while processes.must(f"looking at node {planned.node.name}", show).strip() and time.monotonic() < deadline:
        time.sleep(0.05)


def _check_flags(processes: Processes, home: Home, plan: Plan) -> None:
    for file in plan.files:
        if file.env_flags is not None:
            inside = namespaces.in_node(home, plan.node, "cat", file.path)
            words = set(_words(processes.must(f"reading {file.path} of node {plan.node}", inside)))
            expected = [*rootfs.OTHER_FLAGS, *file.env_flags.flags]
            if missing := [flag for flag in expected if flag not in words]:
                raise FlagsLost(plan.node, file.path, missing)


def _words(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in shlex.split(line.partition("=")[2].strip("\"'"))]
