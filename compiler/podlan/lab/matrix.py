"""Who reaches whom: real echo requests from every network stack of a lab to every address of the others."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from podlan.lab import _arp, namespaces, wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home, State

_PING = """
for address; do
    { ping -nqc1 -W1 "$address" || ping -nqc1 -W1 "$address"; } >/dev/null 2>&1 && echo "$address" &
done
wait
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A network stack of the lab, and its addresses."""

    name: str
    kind: Literal["node", "pod", "gateway"]
    node: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """An echo request from one endpoint to an address of another, and whether it was answered."""

    source: Endpoint
    target: Endpoint
    address: str
    reached: bool


def endpoints(state: State) -> list[Endpoint]:
    """Give the lab's endpoints in the order in which they are shown."""
    nodes = [Endpoint(node.name, "node", node.name, node.addresses) for node in state.nodes]
    pods = [Endpoint(pod.name, "pod", pod.node, pod.addresses) for pod in state.pods]
    gateway = [Endpoint("gateway", "gateway", "", state.gateways)] if state.gateways else []
    return [*nodes, *pods, *gateway]


def tries(processes: Processes, home: Home, points: list[Endpoint]) -> list[Try]:
    """Let every endpoint try every address of the others for which it has one of the same family."""

    def from_one(source: Endpoint) -> list[Try]:
        families = {":" in address for address in source.addresses}
        targets = [
            (target, address)
            for target in points
            if target is not source
            for address in target.addresses
            if (":" in address) in families
        ]
        argv = _inside(home, source, "sh", "-c", _PING, "sh", *(address for _, address in targets))
        answered = set(processes.must(f"trying from {source.name}", argv).split())
        return [Try(source, target, address, address in answered) for target, address in targets]

    found: list[Try] = []
    for chunk in _chunks(points):
        if found:
            processes.each(lambda point: _forget(processes, home, point), points)
        found += itertools.chain.from_iterable(processes.each(from_one, chunk))
    return found


def answering(processes: Processes, home: Home, state: State) -> dict[str, list[str]]:
    """Give, for every IPv4 address of a node, the MACs that answer the gateway's question who has it."""
    wanted = [address for node in state.nodes for address in node.addresses if ":" not in address]
    asking = [address for address in state.gateways if ":" not in address]
    if not wanted or not asking:
        return {}
    argv = namespaces.in_net(home, namespaces.GATEWAY, sys.executable, "-I", "-S", str(_arp.__file__))
    order = json.dumps({"interface": wiring.UPLINK, "sender": asking[0], "wanted": wanted})
    answers: dict[str, list[str]] = json.loads(processes.must("asking for the nodes' MACs", argv, stdin=order))
    return answers


def _chunks(points: list[Endpoint]) -> Iterator[list[Endpoint]]:
    """Give the endpoints in groups that may speak at one time.

    All network namespaces of a machine share the room for neighbours (gc_thresh3, 1024 by default, which is
    the machine's to set). Who speaks and who is spoken to each keep an entry; beyond the room packets are lost.
    """
    room = min(int(Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh3").read_text()) for family in ("ipv4", "ipv6"))
    room = room * 4 // 5  # the machine has neighbours too
    size = len(points) if len(points) ** 2 <= room else max(1, room // (2 * len(points)))
    for start in range(0, len(points), size):
        yield points[start : start + size]


def _forget(processes: Processes, home: Home, point: Endpoint) -> None:
    processes.must(f"clearing the neighbours of {point.name}", _inside(home, point, "ip", "neighbour", "flush", "all"))


def _inside(home: Home, source: Endpoint, *argv: str) -> list[str]:
    if source.kind == "gateway":
        return namespaces.in_net(home, namespaces.GATEWAY, *argv)
    if source.kind == "node":
        return namespaces.in_node(home, source.node, *argv)
    return namespaces.in_pod(home, source.node, source.name, *argv)
