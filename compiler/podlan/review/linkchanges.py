"""What touches the node's own links: children, addresses, routes and kernel parameters.

Which of it is done in place and which by deleting and creating is the node's own doing: podlan.node.diff.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from podlan.addressing import Range
from podlan.review.model import Change, Kind, Risk, differing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.plan import Address, Link, Plan, Route
    from podlan.review.forms import Form

_CUT = "host and own pods are apart until it is back"
_CUT_MOVE = "the node's own address is on it: a mistake here cuts the node off"
_CUT_VLAN = "the node refuses it while pods are on it: drain the node first"
_SHIM = "connections between the host and its own pods break; the LAN's path stays"


def link_changes(old: Form, new: Form) -> Iterator[Change]:
    """Compare what one node has on its links."""
    yield from _links(old.plan, new.plan)
    yield from _addresses(old.plan, new.plan)
    yield from _routes(old, new)
    changed = differing(old.plan.sysctls, new.plan.sysctls)
    if changed:
        cost = "the kernel answers or forwards differently from that moment on"
        yield Change(Kind.HOST_LINK, Risk.MEDIUM, f"sysctls: {changed}", cost)


def _links(old: Plan, new: Plan) -> Iterator[Change]:
    before = {link.name: link for link in old.links}
    after = {link.name: link for link in new.links}
    cost = _CUT_MOVE if _is_moved(old) or _is_moved(new) else _CUT
    for name in (*before, *(name for name in after if name not in before)):
        was, now = before.get(name), after.get(name)
        if was is None or now is None:
            link, verb = (was, "no longer used") if now is None else (now, "used from now on")
            if link is not None and link.kind != "master":
                verb = "deleted" if now is None else "created"
            yield Change(Kind.HOST_LINK, Risk.HIGH, f"link {name} is {verb}", cost)
        elif was != now:
            yield from _link(was, now, cost)


def _link(was: Link, now: Link, cost: str) -> Iterator[Change]:
    name = now.name
    if (was.kind, was.master, was.vlan) != (now.kind, now.master, now.vlan):
        cost = _CUT_VLAN if "vlan" in (was.kind, now.kind) else cost
        yield Change(Kind.HOST_LINK, Risk.HIGH, f"link {name} is recreated: {_on(was)} -> {_on(now)}", cost)
        return
    if was.mode != now.mode:
        passthru = "passthru" in (was.mode, now.mode)
        how, risk = ("is recreated", Risk.HIGH) if passthru else ("changes in place", Risk.MEDIUM)
        yield Change(Kind.HOST_LINK, risk, f"link {name} {how}: mode {was.mode} -> {now.mode}", cost)
    if was.mac != now.mac:
        neighbours = "neighbours learn the new MAC by gratuitous ARP"
        yield Change(
            Kind.HOST_LINK, Risk.MEDIUM, f"link {name} changes in place: MAC {was.mac} -> {now.mac}", neighbours
        )
    if was.promisc != now.promisc:
        states = {None: "left alone", True: "on", False: "off"}
        text = f"link {name} changes in place: promisc {states[was.promisc]} -> {states[now.promisc]}"
        yield Change(Kind.HOST_LINK, Risk.LOW, text, "set while everything runs")
    if was.mtu != now.mtu and now.kind != "master":
        sizes = [str(mtu) if mtu else "its master's" for mtu in (was.mtu, now.mtu)]
        text = f"link {name} changes in place: MTU {sizes[0]} -> {sizes[1]}"
        yield Change(Kind.HOST_LINK, Risk.LOW, text, "what the host sends to its own pods is cut to that size")
    yield from _altnames(was, now)
    if was.alias != now.alias:
        yield Change(Kind.TEXT, Risk.NONE, f"link {name}: alias '{was.alias}' -> '{now.alias}'")


def _altnames(was: Link, now: Link) -> Iterator[Change]:
    name = now.name
    for altname in now.altnames:
        if altname not in was.altnames:
            yield Change(
                Kind.HOST_LINK, Risk.LOW, f"link {name} gets the altname {altname}", "set while everything runs"
            )
    for altname in was.altnames:
        if altname not in now.altnames:
            cost = "a CNI file that names the interface by it finds none: its pods are not made"
            yield Change(Kind.HOST_LINK, Risk.MEDIUM, f"link {name} loses the altname {altname}", cost)


def _on(link: Link) -> str:
    kind = f"vlan {link.vlan}" if link.vlan else link.kind
    return f"{kind} on {link.master}" if link.master else kind


def _is_moved(plan: Plan) -> bool:
    """Tell whether the node's own address stands on a child (host access 'move')."""
    return any(address.adopt for address in plan.addresses)


def _addresses(old: Plan, new: Plan) -> Iterator[Change]:
    before = {(item.link, item.address): item for item in old.addresses}
    after = {(item.link, item.address): item for item in new.addresses}
    for key in (*before, *(key for key in after if key not in before)):
        was, now = before.get(key), after.get(key)
        if was == now:
            continue
        item = was or now
        if item is None:
            continue
        moved = any(one.adopt and one.address == item.address for one in (*old.addresses, *new.addresses))
        cost = "the address by which the node is reached is on it" if moved else _SHIM
        yield Change(
            Kind.HOST_LINK,
            Risk.HIGH if moved else Risk.MEDIUM,
            f"address {item.address} on {item.link} {_verb(was, now)}",
            cost,
        )


def _verb(was: Address | None, now: Address | None) -> str:
    if was is None:
        return "is expected from now on" if now is not None and now.adopt else "is added"
    if now is None:
        return "is no longer watched" if was.adopt else "is removed"
    return f"gets the metric {now.metric} (was {was.metric})" if was.metric != now.metric else "changes its owner"


def _routes(old: Form, new: Form) -> Iterator[Change]:
    """Routes to the own slice follow the slice; any other is the host's way to somebody else."""
    own = [item for form in (old, new) for items in form.slices.values() for item in items]
    before, after = set(old.plan.routes), set(new.plan.routes)
    gone = [route for route in old.plan.routes if route not in after]
    come = [route for route in new.plan.routes if route not in before]
    follow = [route for route in (*gone, *come) if _is_own(route, own)]
    if follow:
        parts = [f"-{route.destination}" for route in gone if route in follow]
        parts += [f"+{route.destination}" for route in come if route in follow]
        what = f"{', '.join(parts[:8])}" + (
            f" and {len(parts) - 8} more" if len(parts) > 8 else ""  # noqa: PLR2004 - what fits a line
        )
        yield Change(Kind.POD_ROUTES, Risk.LOW, what, "on podlan's own link; nothing else of the host is touched")
    for sign, routes in (("removed", gone), ("added", come)):
        for route in routes:
            if route not in follow:
                gateway = f" via {route.gateway}" if route.gateway else ""
                metric = f" metric {route.metric}" if route.metric else ""
                what = f"route {route.destination}{gateway} dev {route.link}{metric} is {sign}"
                yield Change(Kind.HOST_LINK, Risk.HIGH, what, "it is the host's own way to others")


def _is_own(route: Route, own: list[Range]) -> bool:
    network = Range.of_network(ip_network(route.destination, strict=False))
    return not route.gateway and any(item.contains(network) for item in own)
