"""What must hold before anything is changed, and what is worth knowing; one function a check, listed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from podlan.node.abilities import ALTNAMES, MACVLAN, METRICS
from podlan.node.altnames import taken
from podlan.node.codes import CODES, finding
from podlan.node.managers import managers
from podlan.node.observe import IPV6_LEAST_MTU, bare, wanted_route
from podlan.node.removal import is_own_link, link_of
from podlan.node.state import STATE
from podlan.node.vlans import vlan_findings
from podlan.plan import PROTOCOL

if TYPE_CHECKING:
    from podlan.diagnostics import Finding
    from podlan.node.files import Root
    from podlan.node.observe import Observed
    from podlan.node.state import State
    from podlan.plan import Address, Plan

Check = Callable[["Plan", "State", "Observed", "Root"], Iterator["Finding"]]

_NET_ADMIN, _NET_RAW = 12, 13
_RA = 9  # RTPROT_RA


def preflight(plan: Plan, last: State, observed: Observed, root: Root) -> list[Finding]:
    """Run all checks that need no packet on the wire."""
    return [found for check in _CHECKS for found in check(plan, last, observed, root)]


def another_node(plan: Plan, last: State) -> Iterator[Finding]:
    """Tell whether an earlier run, of this boot or not, made this machine another node."""
    if last.node and last.node != plan.node:
        yield finding("PL624", f"this machine is {last.node}, by {STATE}, and the directory is that of {plan.node}")


def missing_privileges() -> Iterator[Finding]:
    """Tell which capabilities a change needs and this process lacks."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms
        effective = next((int(line.split()[1], 16) for line in file if line.startswith("CapEff:")), 0)
    for bit, name in ((_NET_ADMIN, "CAP_NET_ADMIN"), (_NET_RAW, "CAP_NET_RAW")):
        if not effective >> bit & 1:
            yield finding("PL601", f"{name} is missing")
            return


def exit_code(findings: list[Finding]) -> int | None:
    """Give how a run ends on these findings: what only waiting can settle comes last; None when none is an error."""
    codes = [code for found in findings if (code := CODES[found.code].exit_code) is not None]
    return min(codes, key=(4, 1, 75).index) if codes else None


def _kernel(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    can = observed.abilities
    lacking = []
    if not can.macvlan and any(link.kind == "macvlan" for link in plan.links):
        lacking.append((MACVLAN, "macvlan"))
    if not can.altnames and (names := [altname for link in plan.links for altname in link.altnames]):
        lacking.append((ALTNAMES, f"second names of links, such as {names[0]}"))
    if not can.metrics and any(address.metric for address in plan.addresses):  # of IPv6: for IPv4 routes stand in
        lacking.append((METRICS, "metrics of addresses"))
    for (major, minor), what in lacking:
        yield finding("PL602", f"Linux {can.release} has no {what}: that came with {major}.{minor}")


def _masters(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    routed = {route.link for route in plan.routes} | {address.link for address in plan.addresses if address.adopt}
    tagged = {link.master for link in plan.links if link.kind == "vlan"}  # no VLAN goes up before its link
    made = {link.name for link in plan.links if link.kind != "master"}
    parents = {link.master for link in plan.links if link.kind == "macvlan"}
    own = [link.name for link in plan.links if link.kind == "master"]
    for name in dict.fromkeys([*own, *sorted((parents | tagged) - made)]):
        state = observed.links.get(name)
        if state is None:
            yield finding("PL603", f"there is no interface {name}")
            continue
        if not state.up:
            yield finding("PL605" if name in routed | tagged else "PL620", f"{name} is down")
        if state.controller and name in parents:
            yield finding("PL606", f"{name} is a port of {state.controller}, so it can have no macvlan child")
        elif state.controller and name in tagged:
            yield finding("PL606", f"{name} is a port of {state.controller}: frames of a VLAN are to come by that")
        if os.path.isdir(f"/sys/class/net/{name}/wireless"):  # noqa: PTH112 - pathlib costs 10 ms
            yield finding("PL613", f"{name} is wireless")


def _children(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del root
    wanted = {link.name: link for link in plan.links if link.kind == "macvlan"}
    for link in wanted.values():
        state = observed.links.get(link.name)
        owner = observed.owners.get(link.name, "")
        if state is None and owner:
            yield finding("PL608", f"{link.name} is an altname of {owner}")
        elif state is None:
            for other in observed.links.values():
                if other.master == link.master and other.mode == "passthru" and not is_own_link(other, last):
                    yield finding("PL607", f"{other.name} has {link.master} for itself (mode passthru)")
        elif state.kind != "macvlan":
            yield finding("PL608", f"{link.name} exists and is no macvlan ({state.kind or 'a device'})")
        elif state.master != link.master and not is_own_link(state, last):
            yield finding("PL608", f"{link.name} exists and is a child of {state.master or 'another namespace'}")


def _vlans(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del root
    return vlan_findings(plan, last, observed)


def _mtus(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    for link in plan.links:
        state = observed.links.get(link.name)
        parent = observed.links.get(link.master)
        if link.kind == "vlan" and parent is not None and parent.mtu < link.mtu:
            yield finding("PL650", f"{link.name} is to have an MTU of {link.mtu}, and {link.master} has {parent.mtu}")
        if link.kind == "master" and state is not None and state.mtu < link.mtu:
            yield finding("PL650", f"pods' MTU is {link.mtu}, and {link.name}, which carries them, has {state.mtu}")


def _altnames(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del root
    for link, altname, owner in taken(plan, last, observed):
        whose = "the name of another interface" if altname == owner else f"an altname of {owner}"
        yield finding("PL630", f"{altname}, which the plan gives to {link}, is {whose}")


def _identity(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    masters = [link.name for link in plan.links if link.kind == "master" and link.name in observed.links]
    if not masters:
        return
    there = [bare(state.address) for state in observed.addresses if state.link in masters]
    others = [address for address in there if not address.startswith("fe80:")]
    instead = f" (but {', '.join(others)})" if others else ""
    for address in plan.identity:
        if address not in there:
            have = f"{masters[0]} does not have" if len(masters) == 1 else f"none of {', '.join(masters)} has"
            yield finding("PL623", f"{have} {address}{instead}: is this machine {plan.node}?")


def _adopted(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    for address in plan.addresses:
        if not address.adopt or address.link not in observed.links:
            continue
        state = observed.address(address.link, address.address)
        if state is None and bare(address.address) in plan.identity and not _has(address, observed):
            continue  # PL623 tells it
        if state is None:
            yield finding("PL604", f"{address.link} does not have {address.address}{_instead(address.link, observed)}")
        elif not state.prefix_route and address.metric:
            yield finding("PL615", f"{address.address} on {address.link}: others manage its prefix route")


def _detection(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    """Tell of addresses that the kernel does not use (RFC 4862, 5.4); podlan's own that failed are repaired."""
    del last, root
    masters = {link.name for link in plan.links if link.kind == "master"}
    own = {(address.link, address.address) for address in plan.addresses if not address.adopt}
    for state in observed.addresses:
        is_nodes = state.link in masters and bare(state.address) in plan.identity
        if is_nodes and state.failed:
            yield finding("PL656", f"another machine has {bare(state.address)}, so {state.link} does not use it")
        elif state.tentative and (is_nodes or state.key in own) and observed.links[state.link].running:
            yield finding("PL657", f"{bare(state.address)} on {state.link} is tentative")


def _has(address: Address, observed: Observed) -> bool:
    same = bare(address.address)
    return any(state.link == address.link and bare(state.address) == same for state in observed.addresses)


def _instead(link: str, observed: Observed) -> str:
    others = [
        state.address for state in observed.addresses if state.link == link and not state.address.startswith("fe80:")
    ]
    return f" (but {', '.join(others)})" if others else ""


def _routes(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del root
    children = {link.name for link in plan.links if link.kind == "macvlan"}
    for route in plan.routes:
        wanted = wanted_route(route)
        same = [one for one in observed.routes if one.key == wanted.key]
        if not same or any(one.fits(wanted) for one in same):
            continue
        other = same[0]
        if other.protocol == PROTOCOL or any(other.fits(one) for one in last.routes):
            continue
        where = f"the route to {other.destination} (metric {other.metric}) via {other.gateway or other.link}"
        if not route.replaces and other.link not in children:
            yield finding("PL609", f"{where} is not podlan's")
        elif not other.plain or not other.link or other.protocol == _RA:
            yield finding("PL610", f"{where} has more than one next hop, a lifetime, or the like")


def _ipv6(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    if observed.has_ipv6:
        return
    if any(":" in address.address for address in plan.addresses) or any(
        ":" in route.destination for route in plan.routes
    ):
        yield finding("PL621", "the plan has IPv6 addresses or routes, the kernel has no IPv6")
    elif any(key.startswith("net/ipv6/") for key in plan.sysctls):
        yield finding("PL614", "the kernel has no IPv6")


def _sysctls(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, root
    for key in plan.sysctls:
        link = link_of(key)
        comes_with_link = link not in (*observed.links, "", "all", "default")
        state = observed.links.get(link)
        is_small = state is not None and state.mtu < IPV6_LEAST_MTU  # its IPv6 comes back with the MTU
        off = key.startswith("net/ipv6/") and (is_small or not observed.has_ipv6)
        if observed.sysctls[key] is None and not comes_with_link and not off:
            yield finding("PL618", f"there is no /proc/sys/{key}")


def _needs(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    del last, observed
    for file in plan.files:
        for program in file.needs:
            if not os.access(root.shown(program), os.X_OK):
                yield finding("PL622", f"{root.shown(file.path)} calls {root.shown(program)}, which is not there")


_CHECKS: tuple[Check, ...] = (
    _kernel,
    _masters,
    _identity,
    _children,
    _vlans,
    _mtus,
    _altnames,
    _adopted,
    _detection,
    _routes,
    _ipv6,
    _sysctls,
    _needs,
    managers,
)
