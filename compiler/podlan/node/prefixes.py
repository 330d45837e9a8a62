"""An address on two links where addresses have no metric, as before Linux 4.18: routes of podlan's own stand in.

There every address brings a prefix route of metric 0, and of two the older one wins: the master's. So the master gets
a second, worse one of podlan's, and then the kernel's own one goes: the child's is left as the best, and no moment is
without a route. Nothing of it needs noprefixroute, which such kernels take for IPv4 and ignore.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.routes import route_message, route_text
from podlan.plan import Route
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node._kernel import Kernel
    from podlan.node.abilities import Abilities
    from podlan.node.observe import Observed, RouteState
    from podlan.node.state import State
    from podlan.plan import Plan

KERNEL = 2  # RTPROT_KERNEL: routes that come and go with their address


@dataclass(frozen=True, slots=True)
class PrefixAway:
    """Delete the prefix route that the kernel gave a link for its address; another link has one that stays."""

    route: RouteState

    def do(self, kernel: Kernel) -> None:
        """Delete it."""
        _away(kernel, self.route)

    def undo(self, kernel: Kernel) -> None:
        """Leave it behind the other link's, which goes on to be the one that is used."""
        _back(kernel, self.route)

    def __str__(self) -> str:
        return f"ip route delete {route_text(self.route)}"


@dataclass(frozen=True, slots=True)
class PrefixBack:
    """Give a link the prefix route again that the kernel had given it."""

    route: RouteState

    def do(self, kernel: Kernel) -> None:
        """Add it behind the other link's."""
        _back(kernel, self.route)

    def undo(self, kernel: Kernel) -> None:
        """Leave it deleted."""
        _away(kernel, self.route)

    def __str__(self) -> str:
        return f"ip route append {route_text(self.route)}"


def _away(kernel: Kernel, route: RouteState) -> None:
    with contextlib.suppress(ProcessLookupError):  # it is gone
        _send(kernel, "del", route)


def _back(kernel: Kernel, route: RouteState) -> None:
    with contextlib.suppress(FileExistsError):  # the kernel adds it by itself when the link was down
        _send(kernel, "append", route)


def _send(kernel: Kernel, command: str, route: RouteState) -> None:
    if kernel.find_link(route.link) is not None:  # else it went with the link
        kernel.route(command, **route_message(kernel, route))


def fitted(plan: Plan, can: Abilities) -> Plan:
    """Give the plan as a kernel can have it: without metrics of IPv4 addresses, with routes in their place."""
    if can.metrics or not any(address.metric and ":" not in address.address for address in plan.addresses):
        return plan
    routes = [
        Route(address.link, _network(address.address), source=address.address.partition("/")[0], metric=address.metric)
        for address in plan.addresses
        if address.adopt and address.metric and ":" not in address.address
    ]
    addresses = [address if ":" in address.address else replace(address, metric=0) for address in plan.addresses]
    return replace(plan, addresses=tuple(addresses), routes=(*routes, *plan.routes))


def prefixes_away(plan: Plan, observed: Observed) -> Iterator[PrefixAway]:
    """Give the operations that take the kernel's prefix routes from masters whose address the child has, too."""
    if observed.abilities.metrics:
        return
    shared = shared_prefixes(plan)
    for route in observed.routes:
        if route.protocol == KERNEL and not route.metric and (route.link, route.destination) in shared:
            yield PrefixAway(route)


def prefixes_back(plan: Plan, last: State, observed: Observed) -> Iterator[PrefixBack]:
    """Give back the prefix routes that podlan took and that the plan does not want away any more."""
    shared = shared_prefixes(plan)
    for route in last.displaced:
        link = observed.links.get(route.link)
        if route.protocol != KERNEL or link is None or not link.up or (route.link, route.destination) in shared:
            continue
        length = route.destination.partition("/")[2]
        has_address = observed.address(route.link, f"{route.source}/{length}") is not None
        if has_address and not any(one.key == route.key and one.link == route.link for one in observed.routes):
            yield PrefixBack(route)


def shared_prefixes(plan: Plan) -> set[tuple[str, str]]:
    """Give master and network of every IPv4 address that is on a child, too."""
    masters = {link.name: link.master for link in plan.links if link.kind == "macvlan"}
    moved = {(masters.get(address.link, ""), address.address) for address in plan.addresses if not address.adopt}
    return {
        (address.link, _network(address.address))
        for address in plan.addresses
        if address.adopt and ":" not in address.address and (address.link, address.address) in moved
    }


def _network(address: str) -> str:
    return str(ipaddress.ip_interface(address).network)
