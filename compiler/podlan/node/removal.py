"""What podlan applied earlier and the plan no longer wants: taken away, and what it had displaced given back. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.addresses import AddressDelete, AddressMetric
from podlan.node.links import LinkDelete, LinkSet
from podlan.node.observe import wanted_route
from podlan.node.operations import SysctlWrite
from podlan.node.prefixes import KERNEL, prefixes_back
from podlan.node.routes import RouteDelete, RouteReplace
from podlan.plan import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.node.observe import AddressState, LinkState, Observed, RouteState
    from podlan.node.operations import Operation
    from podlan.node.state import State
    from podlan.plan import Plan

ALIAS = "podlan"
"""How the alias of podlan's own links begins."""

_LINK_AT = 3
_SHOWN = 3  # MACs in a message


def is_own_link(link: LinkState, last: State) -> bool:
    """Tell whether podlan made, or took over, this link."""
    return link.kind in ("macvlan", "vlan") and (link.name in last.links or link.alias.startswith(ALIAS))


def hangers(link: LinkState, last: State, observed: Observed) -> list[str]:
    """Say what of others hangs on a VLAN, in any namespace, and would be lost with it."""
    if link.kind != "vlan":
        return []
    own = [one for one in observed.links.values() if one.master == link.name and is_own_link(one, last)]
    macs = [mac for mac in link.users if mac not in {link.mac, *(one.mac for one in own)}]
    found = [f"{one.name} is a child of it" for one in observed.links.values() if one.master == link.name]
    found = [one for one in found if one not in {f"{mine.name} is a child of it" for mine in own}]
    found += [f"it is a port of {link.controller}"] if link.controller else []
    found += [f"pods or others have children of it ({', '.join(macs[:_SHOWN])})"] if macs else []
    found += [
        f"it has {state.address}"
        for state in observed.addresses
        if state.link == link.name and not state.address.startswith("fe80:")
    ]
    return found


def link_of(key: str) -> str:
    """Give the link that a sysctl belongs to (net/ipv4/conf/LINK/key), '' for one of the whole namespace."""
    parts = key.split("/")
    return parts[_LINK_AT] if len(parts) > _LINK_AT + 1 and parts[2] in ("conf", "neigh") else ""


def removals(plan: Plan, last: State, observed: Observed) -> Iterator[Operation]:
    """Give back and remove, in the order that loses nothing: routes, metrics, addresses, links, flags, sysctls."""
    wanted_links = {link.name for link in plan.links}
    unwanted = [link for link in observed.links.values() if is_own_link(link, last) and link.name not in wanted_links]
    leaving = [link for link in unwanted if not hangers(link, last, observed)]
    leaving.sort(key=lambda link: link.kind == "vlan")  # after the children on it
    names = {link.name for link in leaving}
    touched = wanted_links | set(last.links) | {route.link for route in last.routes}
    yield from prefixes_back(plan, last, observed)
    # Before podlan's fallback goes, or there would be a moment without a route.
    yield from _lost_displaced(plan, last, observed)
    yield from _routes(plan, last, observed, touched - names)
    still_there = replace(observed, routes=_without_replaced(plan, observed))
    for link in leaving:
        yield from _routes_of(link, still_there, last)
    yield from _metrics(plan, last, observed)
    yield from _addresses(plan, last, observed, touched - names)
    for link in leaving:
        yield from _addresses_of(link, observed)
        yield from _delete(link, observed)
    yield from _promisc(plan, last, observed, names)
    yield from _sysctls(plan, last, observed, names)


def remove_link(link: LinkState, observed: Observed, last: State) -> Iterator[Operation]:
    """Delete a link with all that is on it, each thing by an operation that can be undone."""
    yield from _routes_of(link, observed, last)
    yield from _addresses_of(link, observed)
    yield from _delete(link, observed)


def _delete(link: LinkState, observed: Observed) -> Iterator[Operation]:
    own = ((key, value) for key, value in observed.sysctls.items() if link_of(key) == link.name)
    if link.kind == "vlan" and link.promisc:
        # Deleted with its flag on, it would leave its link promiscuous for ever (measured, Linux 6.1).
        yield LinkSet(link.name, "promisc", "off", "on")
    yield LinkDelete(link, tuple((key, value) for key, value in own if value is not None))


def _routes(plan: Plan, last: State, observed: Observed, links: Iterable[str]) -> Iterator[Operation]:
    wanted = {wanted_route(route).key for route in plan.routes}
    for route in observed.routes:
        # On another's link it may have been there before podlan planned the same.
        own = route.protocol == PROTOCOL or (route.link in last.links and any(route.fits(one) for one in last.routes))
        if own and route.link in links and route.key not in wanted:
            yield _give_back(route, last, observed)


def _without_replaced(plan: Plan, observed: Observed) -> tuple[RouteState, ...]:
    """Leave out the routes whose place the plan's own have taken by now."""
    replaced = []
    for route in plan.routes:
        wanted = wanted_route(route)
        same = [one for one in observed.routes if one.key == wanted.key]
        if same and not any(one.fits(wanted) for one in same):
            replaced.append(same[0])
    return tuple(route for route in observed.routes if route not in replaced)


def _routes_of(link: LinkState, observed: Observed, last: State) -> Iterator[Operation]:
    for route in observed.routes:
        if route.link == link.name and route.protocol != KERNEL:
            yield _give_back(route, last, observed)


def _give_back(route: RouteState, last: State, observed: Observed) -> Operation:
    displaced = _displaced(route.key, last, observed)
    return RouteReplace(displaced, route) if displaced and displaced.link != route.link else RouteDelete(route)


def _displaced(key: tuple[str, int], last: State, observed: Observed) -> RouteState | None:
    for route in last.displaced:
        link = observed.links.get(route.link)
        if route.key == key and route.protocol != KERNEL and link is not None and link.up:
            return route
    return None


def _lost_displaced(plan: Plan, last: State, observed: Observed) -> Iterator[Operation]:
    """Give back a displaced route whose place is empty, because somebody deleted the link that podlan's was on."""
    wanted = {wanted_route(route).key for route in plan.routes}
    taken = {route.key for route in observed.routes}
    for route in last.displaced:
        if route.key not in wanted and route.key not in taken and _displaced(route.key, last, observed):
            yield RouteReplace(route)


def _metrics(plan: Plan, last: State, observed: Observed) -> Iterator[Operation]:
    adopted = {f"{address.link} {address.address}" for address in plan.addresses if address.adopt}
    for state in observed.addresses:
        key = f"{state.link} {state.address}"
        if key in last.metrics and key not in adopted and state.metric != last.metrics[key]:
            yield AddressMetric(state, last.metrics[key])


def _addresses(plan: Plan, last: State, observed: Observed, links: Iterable[str]) -> Iterator[Operation]:
    wanted = {(address.link, address.address) for address in plan.addresses}
    going = [
        state
        for state in observed.addresses
        if state.key not in wanted
        and state.link in links
        and (state.protocol == PROTOCOL or (state.key in last.addresses and state.link in last.links))
    ]
    for state in going:
        key = f"net/ipv4/conf/{state.link}/promote_secondaries"
        # Else the kernel deletes the other addresses of the prefix along with its first one.
        promote = _has_neighbours(state, observed, plan) and observed.sysctls.get(key) == "0"
        if promote:
            yield SysctlWrite(key, "1", "0")
        yield AddressDelete(state, _handover(observed.links.get(state.link), state, observed))
        if promote:
            yield SysctlWrite(key, "0", "1")


def _has_neighbours(state: AddressState, observed: Observed, plan: Plan) -> bool:
    if ":" in state.address:
        return False
    network = ipaddress.ip_interface(state.address).network
    others = {one.key for one in observed.addresses} | {(one.link, one.address) for one in plan.addresses}
    return any(
        link == state.link and address != state.address and ipaddress.ip_interface(address).network == network
        for link, address in others
    )


def _addresses_of(link: LinkState, observed: Observed) -> Iterator[Operation]:
    for state in observed.addresses:
        if state.link == link.name and not state.address.startswith("fe80:"):
            yield AddressDelete(state, _handover(link, state, observed))


def _handover(link: LinkState | None, state: AddressState, observed: Observed) -> str:
    if link is None or not link.master or observed.address(link.master, state.address) is None:
        return ""
    return link.master


def _promisc(plan: Plan, last: State, observed: Observed, gone: set[str]) -> Iterator[Operation]:
    managed = {link.name for link in plan.links if link.promisc is not None} | gone
    for name, before in last.promisc.items():
        state = observed.links.get(name)
        now = "on" if state is not None and state.promisc else "off"
        if name not in managed and state is not None and now != before:
            yield LinkSet(name, "promisc", before, now)


def _sysctls(plan: Plan, last: State, observed: Observed, gone: set[str]) -> Iterator[Operation]:
    for key, (before, value) in last.sysctls.items():
        # Somebody else's later value stays; what belongs to a link went with it.
        if (
            before
            and key not in plan.sysctls
            and link_of(key) not in gone
            and observed.sysctls.get(key) == value != before
        ):
            yield SysctlWrite(key, before, value)
