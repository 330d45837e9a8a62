"""Who reaches whom: real echo requests from every network stack of a lab to every address of the others."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from podlan.lab import _arp, _ping, namespaces
from podlan.lab.promise import Promise, pairs
from podlan.lab.state import ROOT
from podlan.node import reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.promise import Pair, Path
    from podlan.lab.state import Home, State
    from podlan.node.reach import Endpoint

PATIENT = ((0.25,), (0.3, 1.0))
"""Seconds to wait for the answers to first and to second tries.

On an idle machine an answer takes a millisecond. A lost question for a neighbour is asked again after a second.
"""
BRIEF = ((0.2, 0.3),)
"""The same where no answer is expected."""


@dataclass(frozen=True, slots=True)
class Try(reach.Try):
    """A try, and how it was to go."""

    path: Path


def tries(processes: Processes, home: Home, state: State) -> list[Try]:
    """Let every endpoint try every address of the others for which it has one of the same family."""
    promise = Promise(state)
    wanted = [(pair, promise.path(pair)) for pair in pairs(state)]
    # Those that nobody expects to be answered come last: they wait together.
    ordered = sorted(wanted, key=lambda one: not one[1].works)
    answered = echoes(processes, home, [pair for pair, _ in ordered])
    reached = {pair: number in answered for number, (pair, _) in enumerate(ordered)}
    return [Try(*pair, reached[pair], path) for pair, path in wanted]


def echoes(
    processes: Processes, home: Home, asked: Sequence[Pair], patience: Sequence[Sequence[float]] = PATIENT
) -> set[int]:
    """Make these tries and give the numbers of those that were answered."""
    names = {point: number for number, point in enumerate(dict.fromkeys(end for pair in asked for end in pair[:2]))}
    order = {
        "places": [_place(home, point) for point in names],
        "tries": [(names[source], names[target], address) for source, target, address in asked],
        "passes": patience,
        "lock": str(ROOT),
    }
    argv = [sys.executable, "-I", "-S", str(_ping.__file__)]
    # Other labs of this machine may have their turn in between.
    limit = 120 + len(asked) / 100
    return set(json.loads(processes.must("trying who reaches whom", argv, stdin=json.dumps(order), timeout=limit)))


def answering(processes: Processes, home: Home, state: State) -> dict[str, list[str]]:
    """Give, for every IPv4 address of a node or pod, the MACs that answer the gateway's question who has it."""
    argv = namespaces.in_net(home, namespaces.GATEWAY, sys.executable, "-I", "-S", str(_arp.__file__))
    answers: dict[str, list[str]] = {}
    lans = {(node.name, port.interface): port.lan for node in state.nodes for port in node.ports}
    ends = [(port.lan, ip_interface(text).ip) for node in state.nodes for port in node.ports for text in port.addresses]
    ends += [
        (lans[pod.node, interface.master], ip_address(text))
        for pod in state.pods
        for interface in pod.interfaces
        for text in interface.addresses
    ]
    for lan in state.lans:
        addresses = [str(address) for name, address in ends if name == lan.name]
        for own in map(ip_interface, lan.gateways):
            wanted = [address for address in addresses if ip_address(address) in own.network]
            if own.version == 4 and wanted:  # noqa: PLR2004 - the family
                order = json.dumps({"interface": lan.name, "sender": str(own.ip), "wanted": wanted})
                answers |= json.loads(processes.must("asking for MACs", argv, stdin=order))
    return answers


def _place(home: Home, point: Endpoint) -> tuple[str, str]:
    """Give the file of the mount namespace that shows the endpoint's network namespace, and the file of that."""
    if point.kind == "gateway":
        return "", str(namespaces.net(home, namespaces.GATEWAY))
    place = namespaces.node(home, point.node)
    if point.kind == "node":
        return "", str(place / "net")
    return str(place / "mount"), namespaces.pod_net(point.name)
