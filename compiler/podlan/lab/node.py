"""One node of a lab: made as its operating system would leave it, reconciled, its pods attached and detached."""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from podlan.lab import cni, namespaces, rootfs, wiring
from podlan.lab.errors import FlagsLost, ReconcileFailed, WrongAddress
from podlan.lab.state import NodeState, PodState
from podlan.plan import BadPlan, Plan, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home
    from podlan.lab.topology import LabNode

RECONCILE = (sys.executable, "-m", "podlan", "reconcile")


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
    _settle(processes, home, planned)


def attach(processes: Processes, home: Home, planned: Planned, pods: int) -> list[PodState]:
    """Attach pods with the configuration file that lies on the node now."""
    if planned.plan.cni is None or not pods:
        return []
    name, file = planned.node.name, planned.plan.cni.file
    config = cni.read(
        file, processes.must(f"reading {file} of node {name}", namespaces.in_node(home, name, "cat", file))
    )
    cni.require_host_local(name, config)
    bin_dir = str(rootfs.bin_dir(planned.plan))
    names = [f"{name}/pod-{number}" for number in range(1, pods + 1)]
    return [_attach(processes, home, cni.Attachment(name, pod, config, bin_dir)) for pod in names]


def detach(processes: Processes, home: Home, pod: PodState, bin_dir: str) -> None:
    """Detach a pod, as the runtime would at its end."""
    cni.delete(processes, home, cni.Attachment(pod.node, pod.name, pod.config, bin_dir), pod.result)


def state(planned: Planned) -> NodeState:
    """Give what verifying must know of the node."""
    own = wiring.wire(planned.node).addresses
    return NodeState(planned.node.name, tuple(str(ip_interface(text).ip) for text in own), access(planned.plan))


def access(plan: Plan) -> tuple[int, ...]:
    """Give the families in which the plan lets the host reach its own pods: those of a bridge-mode child."""
    children = {link.name for link in plan.links if link.kind == "macvlan" and link.mode == "bridge"}
    texts = [address.address for address in plan.addresses if address.link in children]
    texts += [route.destination for route in plan.routes if route.link in children]
    return tuple(sorted({ip_network(text, strict=False).version for text in texts}))


def _attach(processes: Processes, home: Home, attachment: cni.Attachment) -> PodState:
    wiring.start_pod(processes, home, attachment.node, attachment.pod)
    result: dict[str, Any] = cni.add(processes, home, attachment)
    cni.check(processes, home, attachment, result)
    addresses = cni.addresses(result)
    for address in addresses:
        if not cni.in_ranges(attachment.config, address):
            raise WrongAddress(attachment.pod, address, "it is outside its node's ranges")
    return PodState(attachment.pod, attachment.node, addresses, attachment.config, result)


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
