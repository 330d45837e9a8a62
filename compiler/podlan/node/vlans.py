"""Links that podlan makes: which have to go before others come, and what hangs on a VLAN and would go with it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.observe import IPV6_LEAST_MTU
from podlan.node.removal import hangers, is_own_link, link_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.observe import LinkState, Observed
    from podlan.node.state import State
    from podlan.plan import Link, Plan


def made_links(plan: Plan) -> tuple[Link, ...]:
    """Give the links that podlan makes: VLANs first, since macvlan children may hang on them."""
    return tuple(link for kind in ("vlan", "macvlan") for link in plan.links if link.kind == kind)


def adopting(plan: Plan, last: State, observed: Observed) -> Plan:
    """Give the plan in which a VLAN that fits, and that others made, is a master: used, and never changed.

    It keeps its number, by which it is known; whoever made it decides about its IPv6 addresses.
    """
    links = tuple(_adopted(link, last, observed) for link in plan.links)
    theirs = {link.name for link, before in zip(links, plan.links, strict=True) if link != before}
    if not theirs:
        return plan
    sysctls = {
        key: value
        for key, value in plan.sysctls.items()
        if link_of(key) not in theirs or not key.startswith("net/ipv6/")
    }
    return replace(plan, links=links, sysctls=sysctls)


def _adopted(link: Link, last: State, observed: Observed) -> Link:
    state = observed.links.get(link.name)
    if link.kind != "vlan" or state is None or is_own_link(state, last) or not _is_that_vlan(link, state):
        return link
    return replace(link, kind="master", master="", alias="")


def _is_that_vlan(link: Link, state: LinkState) -> bool:
    return (state.kind, state.master, state.vlan) == ("vlan", link.master, link.vlan)


def going_first(plan: Plan, last: State, observed: Observed) -> tuple[LinkState, ...]:
    """Give the links that must go before others come: what cannot be changed in place, with the children on it.

    That is, too, what podlan made under an earlier name: the kernel has each VLAN of a link once, and no two children
    of a master with one MAC.
    """
    gone = {link.name for link in made_links(plan) if _must_recreate(link, observed)}
    gone |= {
        other.name for link in made_links(plan) for other in _namesakes(link, observed) if is_own_link(other, last)
    }
    gone |= {other.name for link in plan.links for other in _twins(link, plan, observed) if is_own_link(other, last)}
    children = [link for link in observed.links.values() if link.kind == "macvlan" and is_own_link(link, last)]
    first = [link for link in children if link.name in gone or link.master in gone]
    return (*first, *(link for name, link in observed.links.items() if name in gone and link not in first))


def _must_recreate(link: Link, observed: Observed) -> bool:
    state = observed.links.get(link.name)
    if state is None:
        return False
    if link.kind == "vlan":
        return not _is_that_vlan(link, state)
    # The kernel changes modes in place, but not to or from passthru; an MTU too small for IPv6 ends its settings.
    return (
        state.master != link.master
        or (state.mode != link.mode and "passthru" in (state.mode, link.mode))
        or 0 < link.mtu < IPV6_LEAST_MTU <= state.mtu
    )


def _namesakes(link: Link, observed: Observed) -> Iterator[LinkState]:
    """Give VLANs of another name that have this one's number and link."""
    if link.kind == "vlan" and link.name not in observed.links:
        yield from (state for state in observed.links.values() if _is_that_vlan(link, state))


def _twins(link: Link, plan: Plan, observed: Observed) -> Iterator[LinkState]:
    """Give the children that leave and keep this one from coming up, or from having its MAC."""
    state = observed.links.get(link.name)
    if link.kind != "macvlan" or not link.mac or (state is not None and state.up and state.mac == link.mac):
        return
    wanted = {one.name for one in plan.links}
    for other in observed.links.values():
        if (other.kind, other.master, other.mac) == ("macvlan", link.master, link.mac) and other.name not in wanted:
            yield other


def kept(plan: Plan, last: State, observed: Observed) -> tuple[str, ...]:
    """Give the VLANs of podlan's that the plan no longer has and that stay, since others hang on them."""
    wanted = {link.name for link in plan.links}
    going = {link.name for link in going_first(plan, last, observed)}
    return tuple(
        link.name
        for link in observed.links.values()
        if link.kind == "vlan"
        and link.name not in wanted | going
        and is_own_link(link, last)
        and hangers(link, last, observed)
    )


def vlan_findings(plan: Plan, last: State, observed: Observed) -> Iterator[Finding]:
    """Tell what keeps a VLAN from being made, made anew, or removed."""
    for link in plan.links:
        if link.kind == "vlan":
            yield from _in_the_way(link, last, observed)
        elif link.vlan:
            yield finding("PL654", f"{link.name}, VLAN {link.vlan}, is there, and others made it")
    for name in kept(plan, last, observed):
        users = ", ".join(hangers(observed.links[name], last, observed))
        yield finding("PL653", f"{name} is no longer in the plan, and stays: {users}")


def _in_the_way(link: Link, last: State, observed: Observed) -> Iterator[Finding]:
    what = f"VLAN {link.vlan} of {link.master}"
    state = observed.links.get(link.name)
    owner = observed.owners.get(link.name, "")
    if state is None and owner:
        yield finding("PL608", f"{link.name} is an altname of {owner}")
    others = list(_namesakes(link, observed))
    if state is not None and not _is_that_vlan(link, state):
        if not is_own_link(state, last):
            is_ = f"VLAN {state.vlan} of {state.master}" if state.vlan else f"no VLAN ({state.kind or 'a device'})"
            yield finding("PL608", f"{link.name} exists, and is {is_}, not {what}")
            return
        others.append(state)
    for other in others:
        if not is_own_link(other, last):
            yield finding("PL651", f"{what} is there already, as {other.name}")
        elif users := hangers(other, last, observed):
            now = f"VLAN {other.vlan} of {other.master}" if other is state else other.name
            yield finding("PL652", f"{now} would have to go for {link.name}, {what}: {', '.join(users)}")
