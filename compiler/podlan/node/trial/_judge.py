"""What is asked of whom, what the plan promises of it, and what pods must have got."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, NamedTuple

from podlan.node import chain
from podlan.node.observe import bare
from podlan.node.reach import Endpoint, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podlan.node.observe import Observed
    from podlan.node.reach import Report
    from podlan.node.trial._hosted import Attached
    from podlan.node.trial._networks import Net
    from podlan.plan import Plan, Probe

_ELSEWHERE = "elsewhere"
"""The node of what lies beyond this one."""


class Question(NamedTuple):
    """An address that one endpoint asks; `asker` is None for the host, `promised` None where the network decides."""

    source: Endpoint
    asker: Attached | None
    target: Endpoint
    address: str
    promised: bool | None


@dataclass(frozen=True, slots=True)
class Scene:
    """One network, those who have interfaces there, and what each of them sees of its own network."""

    net: Net
    host: Endpoint
    pods: tuple[tuple[Endpoint, Attached], ...]
    gateway: Endpoint
    others: tuple[Endpoint, ...]
    see: Observed
    seen: tuple[Observed, ...]

    @property
    def points(self) -> tuple[Endpoint, ...]:
        """Give all endpoints, in the order in which they are shown."""
        found = (self.host, *(point for point, _ in self.pods), self.gateway, *self.others)
        return tuple(point for point in found if point.addresses)

    def is_near(self, address: str) -> bool:
        """Tell whether an address is in one of the host's own networks there."""
        links = {self.net.master, *(name for name, link in self.see.links.items() if link.master == self.net.master)}
        wanted = ip_address(address)
        return any(wanted in ip_interface(one.address).network for one in self.see.addresses if one.link in links)


def scene(
    plan: Plan,
    nets: Sequence[Net],
    net: Net,
    attached: Iterable[tuple[Attached, Observed]],
    see: Observed,
    others: Sequence[Endpoint],
) -> Scene:
    """Put a network's endpoints together; `others` are beyond this node, and asked about on the first network."""
    mine = [(one, seen) for one, seen in attached if one.net is net]
    is_first = net is nets[0]
    name = plan.node if is_first else f"{plan.node} {net.master}"
    masters = {link.name: link.master if link.kind == "macvlan" else link.name for link in plan.links}
    gateways = [
        *(route.gateway for one, seen in mine for route in seen.routes if route.link == one.net.interface),
        *(route.gateway for route in plan.routes if masters.get(route.link) == net.master),
    ]
    # A link-local one is what a router has announced, to everybody on the LAN; no plan names it.
    ways = dict.fromkeys(
        address for address in gateways if address and address not in net.host and not address.startswith("fe80:")
    )
    return Scene(
        net,
        Endpoint(name, "node", plan.node, net.host),
        tuple((Endpoint(one.name, "pod", plan.node, tuple(map(bare, one.addresses))), one) for one, _ in mine),
        Endpoint("gateway" if is_first else f"gateway {net.master}", "gateway", "", tuple(ways)),
        tuple(others) if is_first else (),
        see,
        tuple(seen for _, seen in mine),
    )


def beyond(peers: Iterable[str], pods: Iterable[str]) -> tuple[Endpoint, ...]:
    """Give what the operator names on other nodes: the nodes' addresses, and their pods'."""
    nodes = (Endpoint(address, "node", f"{_ELSEWHERE} {address}", (address,)) for address in peers)
    return (*nodes, *(Endpoint(address, "pod", _ELSEWHERE, (address,)) for address in pods))


def questions(here: Scene) -> Iterator[Question]:
    """Give what is to be asked on a network: whoever has an address of a family asks all of it."""
    pods = [point for point, _ in here.pods]
    for source, asker in [(here.host, None), *here.pods]:
        families = {":" in address for address in source.addresses}
        targets = [here.host, *pods, here.gateway, *here.others]
        for target in targets:
            for address in target.addresses if target is not source else ():
                if (":" in address) not in families or (
                    asker is None and target is here.gateway and not here.is_near(address)
                ):
                    continue
                yield Question(source, asker, target, address, _promised(here, source, target, address))


def _promised(here: Scene, source: Endpoint, target: Endpoint, address: str) -> bool | None:
    mode = chain.mode(here.net.planned)
    ends = {source.kind, target.kind}
    if source.node != target.node or "gateway" in ends:
        return True
    if ends == {"pod"}:
        return {"bridge": True, "vepa": None}.get(mode, False)  # vepa: what the switch sends back
    version = 6 if ":" in address else 4
    if mode == "bridge" and version in here.net.access:
        return True
    if mode == "vepa":
        return None
    # A pod asks its host directly only where both are of one network; else there are routers, which may lead round.
    pod, other = (source, target) if source.kind == "pod" else (target, source)
    own = next(one for point, one in here.pods if point is pod)
    hosts = [one for one in other.addresses if (":" in one) is (version == 6)]  # noqa: PLR2004 - the family
    networks = [ip_interface(one).network for one in own.addresses]
    near = any(ip_address(one) in network for one in hosts for network in networks)
    return False if near else None


def got(plan: Plan, scenes: Sequence[Scene], wanted: int) -> Iterator[Row]:
    """Compare what pods got with what the plan wants them to have."""
    there = sum(len(here.pods) for here in scenes)
    refused = [f"{wanted - there} of {wanted} attachments are refused: see the finding"] * (wanted - there)
    yield Row("attached", "pods attached by the node's plugins", wanted, there, wanted, tuple(refused[:1]))
    yield checked("addresses", "pods' addresses are of the node's slice", _addresses(scenes))
    yield checked("mtu", "pods' MTU is as planned", _mtus(scenes))
    yield checked("routes", "pods' routes are those of the plan", _routes(scenes))
    yield checked("promisc", "masters are promiscuous, or not, as planned", _promisc(plan, scenes))


def checked(key: str, name: str, checks: Iterable[str]) -> Row:
    """Make a row of checks, each of which is what is wrong, '' if nothing is."""
    found = list(checks)
    wrong = tuple(filter(None, found))
    return Row(key, name, len(found), len(found) - len(wrong), len(found), wrong)


def _addresses(scenes: Iterable[Scene]) -> Iterator[str]:
    for here in scenes:
        known = here.net.known
        for _, one in here.pods:
            for address in map(bare, one.addresses) if known is not None and known.ranges else ():
                is_in = known is not None and known.has(ip_address(address))
                yield "" if is_in else f"{one.name} was given {address}, which is not of this node's slice"


def _mtus(scenes: Iterable[Scene]) -> Iterator[str]:
    for here in scenes:
        wanted = chain.macvlan(here.net.planned).get("mtu") or here.net.mtu
        for (_, one), seen in zip(here.pods, here.seen, strict=True):
            link = seen.links.get(one.net.interface)
            has = link.mtu if link is not None else 0
            yield "" if has == wanted else f"{one.name} has an MTU of {has}, planned is {wanted}"


def _routes(scenes: Iterable[Scene]) -> Iterator[str]:
    for here in scenes:
        known, planned = here.net.known, here.net.planned
        # sbr moves routes to tables of their own.
        if known is None or any(plugin.get("type") == "sbr" for plugin in chain.plugins(planned)):
            continue
        gateways = {one.gateway.version: str(one.gateway) for one in known.ranges}
        routes = (chain.macvlan(planned).get("ipam") or {}).get("routes") or ()
        for (_, one), seen in zip(here.pods, here.seen, strict=True):
            there = {(route.destination, route.gateway) for route in seen.routes}
            for route in routes:
                way = route.get("gw") or gateways.get(6 if ":" in route["dst"] else 4, "")
                if (route["dst"], way) not in there:
                    yield f"{one.name} has no route to {route['dst']} via {way}"
                else:
                    yield ""


def _promisc(plan: Plan, scenes: Iterable[Scene]) -> Iterator[str]:
    masters = {here.net.master: here.see.links.get(here.net.master) for here in scenes}
    for link in plan.links:
        state = masters.get(link.name)
        if link.promisc is not None and state is not None:
            be = "is" if state.promisc else "is not"
            yield "" if state.promisc == link.promisc else f"{link.name} {be} promiscuous, against the plan"


def probes(plan: Plan, answered: Sequence[Probe]) -> Row:
    """Make the row of the plan's probes."""
    checks = (
        "" if one in answered else f"{one.address} does not answer on {one.link}, which the plan probes"
        for one in plan.probes
    )
    return checked("probes", "the plan's own probes", checks)


def is_shut_in(report: Report) -> bool:
    """Tell whether pods reach nobody beyond their host where the host itself does."""
    beyond_it = [one for one in report.tries if one.target.node != one.source.node]
    from_pods = [one.reached for one in beyond_it if one.source.kind == "pod"]
    from_host = [one.reached for one in beyond_it if one.source.kind == "node"]
    return bool(from_pods) and not any(from_pods) and any(from_host)
