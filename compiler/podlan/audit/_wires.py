"""Wires: networks whose subnets overlap are taken for one. What its nodes disagree about, and what is taken on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from podlan.audit._addresses import Span, network_text, prefix_length, to_text
from podlan.audit._remarks import Remark, Spot, quoted, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.audit._host_local import Range
    from podlan.audit._networks import Network
    from podlan.audit._remarks import JsonPath

Value = TypeVar("Value")
_SHOWN = 4
_IPV4 = 4


@dataclass(slots=True)
class _Said:
    """Who says the same: the first few nodes, and how many there are."""

    spot: Spot
    nodes: list[str] = field(default_factory=list)
    count: int = 0
    last: str = ""

    def by(self, node: str) -> None:
        """Count a node; the ranges of one node come one after the other."""
        if node != self.last:
            self.last = node
            self.count += 1
            if self.count <= _SHOWN:
                self.nodes.append(node)

    def __str__(self) -> str:
        return some(self.nodes, self.count)


class Taken(NamedTuple):
    """An address that means something already; `what` completes 'A is …'."""

    family: int
    address: int
    code: str
    what: str
    spot: Spot | None


@dataclass(slots=True)
class Wire:
    """What the nodes say about one wire; `subnet` is the one that holds all others of it."""

    subnet: Span
    subnets: dict[Span, _Said] = field(default_factory=dict)
    gateways: dict[int, _Said] = field(default_factory=dict)
    defaults: dict[int, _Said] = field(default_factory=dict)
    names: dict[str, _Said] = field(default_factory=dict)
    stores: dict[str, _Said] = field(default_factory=dict)

    def add(self, network: Network, item: Range) -> None:
        """Note what one range of one network says."""
        _say(self.subnets, item.subnet, network, (*item.path, "subnet"))
        if item.subnet.holds(*item.gateway):
            gateways = self.gateways if item.has_gateway else self.defaults
            _say(gateways, item.gateway[1], network, (*item.path, "gateway"))
        if network.is_default:
            _say(self.names, network.name, network, network.name_path)
            _say(self.stores, network.store, network, network.store_path)

    def disagreements(self) -> Iterator[Remark]:
        """Tell where the nodes differ in what they should have in common."""
        where = f"nodes of one wire ({network_text(self.subnet)}) differ in their"
        yield from _differ("PL733", f"{where} subnet", self.subnets, network_text)
        yield from _differ("PL734", f"{where} gateway", self.gateways, lambda value: to_text(self.subnet.family, value))
        yield from _differ("PL735", f"{where} network name", self.names, quoted)
        yield from _differ("PL736", f"{where} dataDir", self.stores, quoted)

    def taken(self) -> Iterator[Taken]:
        """Give the addresses that belong to no pod: gateways, and the first and last of every subnet."""
        family = self.subnet.family
        for said, default in ((self.gateways, ""), (self.defaults, ", since no gateway is given")):
            for gateway, who in said.items():
                yield Taken(family, gateway, "PL722", f"the gateway as {who} know{_s(who)} it{default}", who.spot)
        for subnet, who in self.subnets.items():
            text = network_text(subnet)
            first = "network" if family == _IPV4 else "subnet-router anycast"
            yield Taken(family, subnet.first, "PL724", f"the {first} address of {text}", who.spot)
            if family == _IPV4:
                yield Taken(family, subnet.last, "PL724", f"the broadcast address of {text}", who.spot)


def wires(networks: Iterable[Network]) -> list[Wire]:
    """Sort the networks into wires. Subnets are nested or disjoint, so a wire is a subnet that no other holds."""
    networks = list(networks)
    subnets = sorted(
        {item.subnet for network in networks for item in network.ranges},
        key=lambda subnet: (subnet.family, subnet.first, prefix_length(subnet)),
    )
    found: list[Wire] = []
    by_subnet: dict[Span, Wire] = {}
    for subnet in subnets:
        if not found or not found[-1].subnet.holds(subnet.family, subnet.first):
            found.append(Wire(subnet))
        by_subnet[subnet] = found[-1]
    for network in networks:
        for item in network.ranges:
            by_subnet[item.subnet].add(network, item)
    return found


def _say(values: dict[Value, _Said], value: Value, network: Network, path: JsonPath) -> None:
    said = values.get(value)
    if said is None:
        said = values[value] = _Said(Spot(network.file, path))
    said.by(network.node)


def _differ(code: str, message: str, values: dict[Value, _Said], text: Callable[[Value], str]) -> Iterator[Remark]:
    """Blame the value that the fewest have; the one that most have is shown beside it."""
    if len(values) < 2:  # noqa: PLR2004 - nobody to differ from
        return
    ranked = sorted(values.items(), key=lambda entry: entry[1].count)
    shown = [f"{text(value)} ({said})" for value, said in reversed(ranked[-_SHOWN:])]
    rest = f" and {len(ranked) - _SHOWN:,} more" if len(ranked) > _SHOWN else ""
    also = ((ranked[-1][1].spot, f"{text(ranked[-1][0])} here"),)
    yield Remark(code, f"{message}: {', '.join(shown)}{rest}", ranked[0][1].spot, also=also)


def _s(who: _Said) -> str:
    return "s" * (who.count == 1)
