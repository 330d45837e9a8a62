"""Who must reach whom, read off a lab's state: by routes, by macvlan modes, and by host access. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Literal, NamedTuple

from podlan.lab import cni
from podlan.node.reach import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Network, IPv6Network

    from podlan.lab.state import LanState, NodeState, PodState, Port, State

GATEWAY = "gateway"
"""The name of the router between the LANs."""

_IPV6 = 6

Kind = Literal["link", "own", "child", "routed"]


class Pair(NamedTuple):
    """What can be tried: an echo request from one endpoint to an address of another."""

    source: Endpoint
    target: Endpoint
    address: str


@dataclass(frozen=True, slots=True)
class Path:
    """How a try goes, and whether it must succeed.

    `kind`: on one 'link'; on one between a host and its 'own' pod; from a host to a pod of its where it has no address
    but that of its macvlan 'child'; or 'routed'. `by_access`: host access alone makes it possible.
    """

    kind: Kind
    works: bool
    by_access: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """A stack's end on a LAN: which node it is on, and by which interface of that; a pod's has a macvlan mode."""

    name: str
    lan: str
    host: str = ""
    master: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class _Way:
    """A route in numbers: to first..last, by an end of one's own, with the address `source`.

    `apart`: it holds only for what leaves with an address of that end.
    """

    family: int
    first: int
    last: int
    end: _End
    source: str
    gateway: str = ""
    apart: bool = False
    is_connected: bool = False

    @property
    def size(self) -> int:
        """How many addresses it leads to, less one."""
        return self.last - self.first


def endpoints(state: State) -> list[Endpoint]:
    """Give the lab's endpoints in the order in which they are shown."""
    nodes = [Endpoint(node.name, "node", node.name, node.addresses) for node in state.nodes]
    pods = [Endpoint(pod.name, "pod", pod.node, pod.addresses) for pod in state.pods]
    gateway = [Endpoint(GATEWAY, "gateway", "", state.gateways)] if state.gateways else []
    return [*nodes, *pods, *gateway]


def pairs(state: State) -> Iterator[Pair]:
    """Give every address of the others for which an endpoint has one of the same family.

    A host without one reaches its own pods all the same, by the address of its macvlan child.
    """
    access = {node.name: {family == _IPV6 for port in node.ports for family in port.access} for node in state.nodes}
    points = endpoints(state)
    for source in points:
        families = {":" in address for address in source.addresses}
        for target in points:
            if target is not source:
                near = access[source.name] if source.kind == "node" and target.node == source.name else set()
                for address in target.addresses:
                    if (":" in address) in families | near:
                        yield Pair(source, target, address)


def by_access(state: State) -> list[Pair]:
    """Give the tries between pods and their own hosts that host access alone makes possible."""
    promise = Promise(state)
    points = {point.name: point for point in endpoints(state)}
    ends = [(points[pod.name], points[pod.node]) for pod in state.pods]
    both = [order for pod, host in ends for order in ((pod, host), (host, pod))]
    found = [Pair(source, target, address) for source, target in both for address in target.addresses]
    return [pair for pair in found if promise.path(pair).by_access]


class Promise:
    """What the plans, the pods' routes and the LANs promise."""

    def __init__(self, state: State) -> None:
        """Read the state."""
        self._ports = {(node.name, port.interface): port for node in state.nodes for port in node.ports}
        self._hosts = {node.name: node.name for node in state.nodes} | {pod.name: pod.node for pod in state.pods}
        self._networks = [ip_interface(address).network for lan in state.lans for address in lan.gateways]
        self._ways: dict[str, list[_Way]] = {
            **{node.name: list(_of_node(node)) for node in state.nodes},
            **{pod.name: list(_of_pod(pod, self._ports)) for pod in state.pods},
            GATEWAY: list(_of_gateway(state.lans)),
        }
        self._ends = {way.source: way.end for ways in self._ways.values() for way in ways if way.source}
        self._taken = {(end.host, end.master) for end in self._ends.values() if end.mode == "passthru"}
        self._numbers: dict[str, tuple[int, int]] = {}

    def path(self, pair: Pair) -> Path:
        """Tell how a request goes, and whether its answer must come."""
        source, target, address = pair.source.name, pair.target.name, pair.address
        way, end = self._way(source, address), self._ends[address]
        kind: Kind = "routed"
        if any(one.is_connected for one in self._matching(source, address)):
            kind = "own" if self._is_own(source, target, end) else "link"
        elif way is not None and not way.gateway:
            kind = "child"
        if way is None or not way.source or not self._goes(way, target, address):
            return Path(kind, works=False)
        back = self._way(target, way.source, address)
        if back is None or not self._goes(back, source, way.source):
            return Path(kind, works=False)
        port = self._ports.get((self._hosts.get(source, ""), way.end.master))
        by_access = kind == "own" and port is not None and self._number(address)[0] in port.access
        return Path(kind, works=True, by_access=by_access)

    def _is_own(self, source: str, target: str, end: _End) -> bool:
        host = self._hosts.get(source)
        return host is not None and host == self._hosts.get(target) and (host in {source, target}) and bool(end.master)

    def _goes(self, way: _Way, target: str, address: str) -> bool:
        """Tell whether what leaves so arrives at an address of the target."""
        end = self._ends[address]
        if (way.end.host, way.end.master) in self._taken and not way.end.mode:
            return False
        if not way.gateway:
            return self._is_carried(way.end, end, address)
        hop = self._ends.get(way.gateway)
        if hop is None:
            return False
        if hop.name != GATEWAY:
            return hop.name == target and self._is_carried(way.end, hop, address)
        if target == GATEWAY:
            return True
        onward = self._way(GATEWAY, address)
        # The gateway leaves neighbours to each other.
        here = [net for net in self._networks if _covers(net, way.source) and _covers(net, address)]
        return onward is not None and not here and self._is_carried(onward.end, end, address)

    def _is_carried(self, one: _End, other: _End, address: str) -> bool:
        """Tell whether frames get from one end to another."""
        if one.lan != other.lan or any((end.host, end.master) in self._taken and not end.mode for end in (one, other)):
            return False
        if one.host != other.host or not one.host:
            return True
        port = self._ports[one.host, one.master]
        modes = {end.mode for end in (one, other)} - {""}
        if modes == {"vepa"}:
            return port.reflects
        if one.mode and other.mode:
            return modes == {"bridge"}
        return modes == {"bridge"} and self._number(address)[0] in port.access

    def _way(self, name: str, address: str, source: str = "") -> _Way | None:
        """Give the narrowest route to an address, of several the last: a plugin puts the later in front.

        A neighbour is to be reached straight, whatever a route to its whole network says: that would be a mistake.
        """
        ways = list(self._matching(name, address))
        # Rules by source come first, and what their table has counts, however wide.
        apart = [way for way in ways if way.apart and source and self._ends[source] == way.end]
        best = None
        for way in apart or (way for way in ways if not way.apart):
            if best is None or way.size < best.size or (way.size == best.size and not best.is_connected):
                best = way
        return best

    def _matching(self, name: str, address: str) -> Iterator[_Way]:
        family, number = self._number(address)
        return (way for way in self._ways[name] if way.family == family and way.first <= number <= way.last)

    def _number(self, address: str) -> tuple[int, int]:
        found = self._numbers.get(address)
        if found is None:
            parsed = ip_address(address)
            found = self._numbers[address] = parsed.version, int(parsed)
        return found


def _of_node(node: NodeState) -> Iterator[_Way]:
    for port in node.ports:
        end = _End(node.name, port.lan, node.name, port.interface)
        yield from _connected(end, port.addresses)
        for way in port.routes:
            yield _way(end, way.destination, way.gateway, way.source or _beside(port.addresses, way.gateway))


def _of_pod(pod: PodState, ports: dict[tuple[str, str], Port]) -> Iterator[_Way]:
    for interface in pod.interfaces:
        port = ports[pod.node, interface.master]
        end = _End(pod.name, port.lan, pod.node, interface.master, cni.mode(interface.config))
        addresses = cni.interfaces(interface.result)
        apart = cni.is_apart(interface.config)
        yield from _connected(end, addresses, apart=apart)
        for destination, gateway in cni.routes(interface.result):
            yield _way(end, destination, gateway, _beside(addresses, gateway), apart=apart)


def _of_gateway(lans: Iterable[LanState]) -> Iterator[_Way]:
    for lan in lans:
        yield from _connected(_End(GATEWAY, lan.name), lan.gateways)


def _connected(end: _End, addresses: Iterable[str], *, apart: bool = False) -> Iterator[_Way]:
    for address in addresses:
        own = ip_interface(address)
        yield replace(_way(end, str(own.network), "", str(own.ip), apart=apart), is_connected=True)


def _way(end: _End, destination: str, gateway: str, source: str, *, apart: bool = False) -> _Way:
    network = ip_network(destination, strict=False)
    return _Way(network.version, int(network[0]), int(network[-1]), end, source, gateway, apart=apart)


def _beside(addresses: Iterable[str], gateway: str) -> str:
    """Give the one of these addresses, with prefix length, in whose network a gateway is."""
    found = (ip_interface(address) for address in addresses)
    return next((str(one.ip) for one in found if gateway and ip_address(gateway) in one.network), "")


def _covers(network: IPv4Network | IPv6Network, address: str) -> bool:
    return ip_address(address) in network
