"""Plan, what podlan applied last, what is there → the operations, in the order that loses nothing. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.addresses import AddressAdd, AddressDelete, AddressMetric, Announce, Gate
from podlan.node.altnames import altname_changes
from podlan.node.links import LinkAdd, LinkSet
from podlan.node.observe import bare, wanted_route
from podlan.node.operations import SysctlWrite
from podlan.node.prefixes import prefixes_away
from podlan.node.removal import link_of, removals, remove_link
from podlan.node.routes import RouteReplace
from podlan.node.vlans import going_first, made_links
from podlan.plan import PROTOCOL
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.observe import AddressState, LinkState, Observed, RouteState
    from podlan.node.operations import Operation
    from podlan.node.state import State
    from podlan.plan import Address, Link, Plan


@dataclass(frozen=True, slots=True)
class Situation:
    """What every step looks at; `observed` is as it will be once the links to recreate are gone."""

    plan: Plan
    last: State
    observed: Observed
    fresh: frozenset[str]
    """Children that this run creates."""
    quiet: frozenset[str]
    """Children that the neighbours may know under another MAC, or not at all."""

    def children(self) -> Iterator[Link]:
        """Give the links that podlan makes: VLANs first, then macvlan children, which may hang on them."""
        return iter(made_links(self.plan))

    def is_child(self, name: str) -> bool:
        """Tell whether a link is one that podlan makes."""
        return any(link.name == name for link in self.children())

    def handover(self, address: Address) -> str:
        """Give the master that has the same address ('move'), '' if none has."""
        masters = {link.name: link.master for link in self.children()}
        master = masters.get(address.link, "")
        same = (one for one in self.plan.addresses if one.adopt and one.link == master)
        return master if any(one.address == address.address for one in same) else ""


def diff(plan: Plan, last: State, observed: Observed, *, unfinished: bool = False) -> tuple[Operation, ...]:
    """Give the operations that turn what is there into the plan; none when all fits.

    `unfinished`: a run before this one was killed, and may have told the neighbours nothing.
    """
    recreated = going_first(plan, last, observed)
    gone = {link.name for link in recreated}
    first = [operation for link in recreated for operation in remove_link(link, observed, last)]
    failed = [state for state in observed.addresses if _must_readd(state, plan) and state.link not in gone]
    first += [AddressDelete(state) for state in failed]
    given_back = tuple(operation.route for operation in first if isinstance(operation, RouteReplace))
    seen = _without_addresses(_without(observed, gone, given_back), failed)
    children = made_links(plan)
    situation = Situation(
        plan,
        last,
        seen,
        fresh=frozenset(link.name for link in children if link.name not in seen.links),
        quiet=frozenset(link.name for link in children if unfinished or not _is_heard(link, seen)),
    )
    steps = (
        _early_sysctls,
        _links,
        _altnames,
        _late_sysctls,
        _fallback_routes,
        _up,
        _gates,
        _addresses,
        _metrics,
        _prefixes,
        _routes,
        _promisc,
        _announcements,
    )
    middle = [operation for step in steps for operation in step(situation)]
    return (*first, *middle, *removals(plan, last, seen))


def _must_readd(state: AddressState, plan: Plan) -> bool:
    # The kernel asks once: an address that was another's then stays unused, whoever has it now.
    return state.failed and any((one.link, one.address) == state.key for one in plan.addresses if not one.adopt)


def _is_heard(link: Link, observed: Observed) -> bool:
    state = observed.links.get(link.name)
    return state is not None and state.up and link.mac in ("", state.mac)


def _without(observed: Observed, gone: set[str], given_back: tuple[RouteState, ...]) -> Observed:
    if not gone:
        return observed
    return replace(
        observed,
        links={name: link for name, link in observed.links.items() if name not in gone},
        addresses=tuple(address for address in observed.addresses if address.link not in gone),
        routes=(*(route for route in observed.routes if route.link not in gone), *given_back),
        sysctls={key: None if link_of(key) in gone else value for key, value in observed.sysctls.items()},
    )


def _without_addresses(observed: Observed, gone: list[AddressState]) -> Observed:
    if not gone:
        return observed
    sources = {bare(state.address) for state in gone}
    # Of IPv6 the kernel keeps the routes, without their source.
    return replace(
        observed,
        addresses=tuple(address for address in observed.addresses if address not in gone),
        routes=tuple(replace(route, source="") if route.source in sources else route for route in observed.routes),
    )


def _sysctls(situation: Situation, *, late: bool) -> Iterator[Operation]:
    for key, value in situation.plan.sysctls.items():
        before = situation.observed.sysctls[key]
        if key.startswith("net/ipv6/") and not situation.observed.has_ipv6:
            continue
        # What a new child brings along must be right before the child is up; the others come before all.
        if situation.is_child(link_of(key)) == late and before != " ".join(value.split()):
            yield SysctlWrite(key, value, before)


def _altnames(situation: Situation) -> Iterator[Operation]:
    return altname_changes(situation.plan, situation.last, situation.observed)


def _early_sysctls(situation: Situation) -> Iterator[Operation]:
    return _sysctls(situation, late=False)


def _late_sysctls(situation: Situation) -> Iterator[Operation]:
    return _sysctls(situation, late=True)


def _links(situation: Situation) -> Iterator[Operation]:
    lowered: list[Operation] = []
    for link in situation.children():
        state = situation.observed.links.get(link.name)
        if state is None:
            yield LinkAdd(link.name, link.master, link.mode, link.mac, link.mtu, link.vlan)
            alias = ""
        else:
            mtu = _mtu(link.name, situation)
            change = LinkSet(link.name, "mtu", str(mtu), str(state.mtu))
            # No child may have more than its master: a master goes up before them and comes down after them.
            yield from (change,) if mtu > state.mtu else ()
            lowered[:0] = (change,) if mtu < state.mtu else ()
            yield from _in_place(link, state)
            alias = state.alias
        # The kernel ignores an alias in the message that creates a link.
        if link.alias and alias != link.alias:
            yield LinkSet(link.name, "alias", link.alias, alias)
    yield from lowered


def _mtu(name: str, situation: Situation) -> int:
    """Give the MTU that a link is to have: where the plan wants none any more, its master's, which it had at first."""
    link = next((link for link in situation.children() if link.name == name), None)
    state = situation.observed.links.get(name)
    if link is not None and (link.mtu or name in situation.last.mtus):
        return link.mtu or _mtu(link.master, situation)
    return state.mtu if state is not None else 0


def _in_place(link: Link, state: LinkState) -> Iterator[Operation]:
    if link.kind == "macvlan" and state.mode != link.mode:
        yield LinkSet(link.name, "mode", link.mode, state.mode)
    if link.mac and state.mac != link.mac:
        yield LinkSet(link.name, "mac", link.mac, state.mac)


def _fallback_routes(situation: Situation) -> Iterator[Operation]:
    return _route_changes(situation, through_children=False)


def _routes(situation: Situation) -> Iterator[Operation]:
    return _route_changes(situation, through_children=True)


def _route_changes(situation: Situation, *, through_children: bool) -> Iterator[Operation]:
    for route in situation.plan.routes:
        if situation.is_child(route.link) != through_children:
            continue
        wanted = wanted_route(route)
        same = [one for one in situation.observed.routes if one.key == wanted.key]
        if not any(one.fits(wanted) for one in same):
            yield RouteReplace(wanted, same[0] if same else None)


def _up(situation: Situation) -> Iterator[Operation]:
    for link in situation.children():
        state = situation.observed.links.get(link.name)
        if state is None or not state.up:
            yield LinkSet(link.name, "up", "up", "down")


def _gates(situation: Situation) -> Iterator[Operation]:
    moved = {address.link: master for address in situation.plan.addresses if (master := situation.handover(address))}
    for probe in situation.plan.probes:
        # The first of a link's is the gateway, and one that answers says all there is to know.
        master = moved.pop(probe.link, "")
        if master and probe.link in situation.quiet:
            yield Gate(probe.link, master, probe.address, probe.timeout)


def _addresses(situation: Situation) -> Iterator[Operation]:
    for address in situation.plan.addresses:
        if not address.adopt and situation.observed.address(address.link, address.address) is None:
            protocol = PROTOCOL if situation.observed.abilities.protocols else 0
            yield AddressAdd(address.link, address.address, address.metric, situation.handover(address), protocol)


def _metrics(situation: Situation) -> Iterator[Operation]:
    for address in situation.plan.addresses:
        state = situation.observed.address(address.link, address.address)
        # Without a prefix route of its own an address has no metric that matters.
        if state is not None and state.prefix_route and state.metric != address.metric:
            yield AddressMetric(state, address.metric)


def _prefixes(situation: Situation) -> Iterator[Operation]:
    return prefixes_away(situation.plan, situation.observed)


def _promisc(situation: Situation) -> Iterator[Operation]:
    for link in situation.plan.links:
        state = situation.observed.links.get(link.name)
        is_on = state is not None and state.promisc
        if link.promisc is not None and is_on != link.promisc:
            yield LinkSet(link.name, "promisc", *(("on", "off") if link.promisc else ("off", "on")))


def _announcements(situation: Situation) -> Iterator[Operation]:
    for address in situation.plan.addresses:
        is_there = situation.observed.address(address.link, address.address) is not None
        if address.announce and (not is_there or address.link in situation.quiet):
            yield Announce(address.link, address.address)
