"""Services as a cluster has them: kube-proxy's rules on every node, pods behind them, and who gets an answer.

Each pod is a Service's one backend. Every pod asks its own Service (the packet comes back to where it came from), that
of another pod of its node, and that of a pod of another node; every node asks the Service of an own pod and that of
another node's. More would prove nothing new: a Service is rules of the asking node, and those know nodes only as own
and other.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from podlan.lab import _echo, _ping, cni, namespaces
from podlan.lab.errors import ForeignLab
from podlan.lab.promise import Pair, Promise, endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home, NodeState, PodState, State
    from podlan.lab.topology import Topology

TOOL = "nft"
PROTOCOLS = ("tcp", "udp")

_PORT, _TARGET = 80, 8080
_MOST_PORTS = 1000
_PATIENCE = 2.0
"""Seconds for an answer: a connection's second packet goes out after one, the third after three."""
_FORGOTTEN = 5.5
"""Seconds after which the kernel lets a neighbour go that is in the way of another (neigh_forced_gc: five)."""


@dataclass(frozen=True, slots=True)
class Service:
    """A ClusterIP and its port, and the one pod that answers."""

    address: str
    port: int
    pod: str
    backend: str

    @property
    def version(self) -> int:
        """The family, 4 or 6."""
        return ip_address(self.address).version


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks which Service; `expected`: whether the plan promises an answer."""

    source: str
    node: str
    service: Service
    expected: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A question by one protocol, and whether the Service's own pod answered it."""

    question: Question
    protocol: str
    reached: bool

    @property
    def by_host(self) -> bool:
        """Whether a node asks, not a pod."""
        return self.question.source == self.question.node


def install(processes: Processes, home: Home, topology: Topology, built: State) -> None:
    """Write kube-proxy's rules on the nodes, where the site has a serviceCIDR, and remember what is to be asked."""
    services = list(_services(topology, built.pods))
    if not services:
        return
    questions = list(_questions(built, services))

    def write(node: NodeState) -> None:
        asked = dict.fromkeys(one.service for one in questions if one.node == node.name)
        inside = namespaces.in_node(home, node.name, TOOL, "-f", "-")
        processes.must(f"writing kube-proxy's rules of node {node.name}", inside, stdin=rules(list(asked)))

    processes.each(write, built.nodes)
    _file(home).write_text(json.dumps([dataclasses.asdict(one) for one in questions]), encoding="utf-8")


def wanted(topology: Topology) -> bool:
    """Tell whether the site has Services."""
    return any(node.services for node in topology.nodes)


def ask(processes: Processes, home: Home, pods: Sequence[PodState]) -> list[Asked]:
    """Let everybody ask; nothing where the lab has no Services."""
    if not _file(home).exists():
        return []
    try:
        questions = [
            Question(**{**one, "service": Service(**one["service"])})
            for one in json.loads(_file(home).read_text(encoding="utf-8"))
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ForeignLab(home.name, f"services.json: {error!r}") from error
    found: list[Asked] = []
    for group in groups(questions, _ping.room()):
        if found:
            time.sleep(_FORGOTTEN)
        found += _ask(processes, home, pods, group)
    return found


def groups(questions: Sequence[Question], room: int) -> Iterator[list[Question]]:
    """Give the questions in groups that leave no more neighbours behind than the machine has room for.

    Who asks knows its host and is known to it; so it is with the host and the pod that answers.
    """
    group: list[Question] = []
    known: dict[int, set[frozenset[str]]] = {4: set(), 6: set()}
    for one in questions:
        pairs = {frozenset({one.source, one.node}), frozenset({one.node, one.service.pod})}
        if group and 2 * len(known[one.service.version] | pairs) > room:
            yield group
            group, known = [], {4: set(), 6: set()}
        group.append(one)
        known[one.service.version] |= pairs
    if group:
        yield group


def _ask(processes: Processes, home: Home, pods: Sequence[PodState], questions: Sequence[Question]) -> list[Asked]:
    tries = [(one, protocol) for one in questions for protocol in PROTOCOLS]
    answering = {one.service.pod for one in questions}
    order = {
        "servers": [
            [_place(home, pod.node, pod.name), address, _TARGET, pod.name]
            for pod in pods
            if pod.name in answering
            for address in _backends(pod)
        ],
        "tries": [
            [_place(home, one.node, one.source), protocol, one.service.address, one.service.port]
            for one, protocol in tries
        ],
        "patience": _PATIENCE,
    }
    program = [sys.executable, "-I", "-S", str(_echo.__file__)]
    answers = json.loads(processes.must("asking the Services", program, stdin=json.dumps(order)))
    return [
        Asked(one, protocol, answer == one.service.pod) for (one, protocol), answer in zip(tries, answers, strict=True)
    ]


def rules(services: Sequence[Service]) -> str:
    """Give nft's input: what kube-proxy's nftables mode writes with masqueradeAll, for these Services.

    Source: kubernetes, pkg/proxy/nftables/proxier.go; where its Service has many endpoints, here is one.
    """
    return "".join(_table(version, services) for version in (4, 6) if any(one.version == version for one in services))


def _table(version: int, services: Sequence[Service]) -> str:
    mine = [one for one in services if one.version == version]
    family, kind = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}[version]
    ways = ", ".join(
        f"{one.address} . {protocol} . {one.port} : goto service-{number}-{protocol}"
        for number, one in enumerate(mine)
        for protocol in PROTOCOLS
    )
    chains = "\n".join(
        f"""\
  chain service-{number}-{protocol} {{
    jump mark-for-masquerade
    meta l4proto {protocol} dnat to {_socket(one.backend, _TARGET)}
  }}"""
        for number, one in enumerate(mine)
        for protocol in PROTOCOLS
    )
    return f"""\
table {family} kube-proxy {{
  map service-ips {{
    type {kind} . inet_proto . inet_service : verdict
    elements = {{ {ways} }}
  }}
{chains}
  chain mark-for-masquerade {{
    mark set mark or 0x4000
  }}
  chain services {{
    {family} daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    mark and 0x4000 == 0 return
    mark set mark xor 0x4000
    masquerade fully-random
  }}
}}
"""


def _services(topology: Topology, pods: Sequence[PodState]) -> Iterator[Service]:
    networks = [ip_network(text) for node in topology.nodes for text in node.services]
    for version in (4, 6):
        network = next((network for network in networks if network.version == version), None)
        if network is None:
            continue
        room = max(1, network.num_addresses - 2)
        backends = [(pod.name, text) for pod in pods for text in _backends(pod) if ip_address(text).version == version]
        for number, (pod, backend) in enumerate(backends[: room * _MOST_PORTS]):
            port, index = divmod(number, room)
            yield Service(str(network[min(index + 1, network.num_addresses - 1)]), _PORT + port, pod, backend)


def _questions(built: State, services: Sequence[Service]) -> Iterator[Question]:
    promise = Promise(built)
    points = {point.name: point for point in endpoints(built)}
    of_pod: dict[str, list[Service]] = {}
    for service in services:
        of_pod.setdefault(service.pod, []).append(service)
    of_node: dict[str, list[PodState]] = {node.name: [] for node in built.nodes}
    for pod in built.pods:
        of_node[pod.node].append(pod)
    for place, node in enumerate(built.nodes):
        own = of_node[node.name]
        after = (*built.nodes[place + 1 :], *built.nodes[:place])
        other = next(([of_node[one.name][0]] for one in after if of_node[one.name]), [])

        def forwards(service: Service, node: NodeState = node) -> bool:
            target = points[service.pod]
            return promise.path(Pair(points[node.name], target, service.backend)).works

        for at, pod in enumerate(own):
            targets = dict.fromkeys(one.name for one in (pod, own[(at + 1) % len(own)], *other))
            for service in (service for name in targets for service in of_pod.get(name, ())):
                yield Question(pod.name, node.name, service, _sends(built, node, pod, service) and forwards(service))
        defaults = {ip_network(way.destination).version for port in node.ports for way in port.routes if way.gateway}
        for service in (service for target in (*own[:1], *other) for service in of_pod.get(target.name, ())):
            yield Question(node.name, node.name, service, service.version in defaults and forwards(service))


def _sends(built: State, node: NodeState, pod: PodState, service: Service) -> bool:
    """Tell whether the plan gives a pod a way to a Service: a route to its own host, which it can talk to."""
    first = pod.interfaces[0]
    port = next(port for port in node.ports if port.interface == first.master)
    hop = cni.hop(first.config, service.address)
    own = service.version in port.access and cni.mode(first.config) == "bridge"
    return own and bool(hop) and hop not in built.gateways


def _backends(pod: PodState) -> tuple[str, ...]:
    """Give the addresses by which the cluster knows a pod: those of its first interface."""
    return pod.interfaces[0].addresses


def _place(home: Home, node: str, name: str) -> tuple[str | None, str]:
    there = namespaces.node(home, node)
    return (None, str(there / "net")) if name == node else (str(there / "mount"), namespaces.pod_net(name))


def _socket(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _file(home: Home) -> Path:
    return home.path / "services.json"
