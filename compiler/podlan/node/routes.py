"""Operations on routes of the main table: put one in place, and delete one."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from podlan.node.observe import LINK, RouteState
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel


_ONLINK = 4  # RTNH_F_ONLINK
_GONE = (errno.ESRCH, errno.ENODEV)  # the route itself, or the link that it was on


@dataclass(frozen=True, slots=True)
class RouteReplace:
    """Add a route, or swap it for the one with its destination and metric, in one step of the kernel."""

    route: RouteState
    before: RouteState | None = None

    def do(self, kernel: Kernel) -> None:
        """Put it there."""
        _route(kernel, "replace" if self.before else "add", self.route)

    def undo(self, kernel: Kernel) -> None:
        """Put the one there that was there, if any."""
        if self.before:
            _route(kernel, "replace", self.before)
            return
        try:
            _route(kernel, "del", self.route)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def __str__(self) -> str:
        return f"ip {_family(self.route)}route {'replace' if self.before else 'add'} {route_text(self.route)}"


@dataclass(frozen=True, slots=True)
class RouteDelete:
    """Delete a route of podlan's."""

    route: RouteState

    def do(self, kernel: Kernel) -> None:
        """Delete it."""
        _route(kernel, "del", self.route)

    def undo(self, kernel: Kernel) -> None:
        """Add it as it was."""
        _route(kernel, "replace", self.route)

    def __str__(self) -> str:
        return f"ip {_family(self.route)}route delete {route_text(self.route)}"


def _family(route: RouteState) -> str:
    return "-6 " if ":" in route.destination else ""


def _route(kernel: Kernel, command: str, route: RouteState) -> None:
    kernel.route(command, **route_message(kernel, route))


def route_message(kernel: Kernel, route: RouteState) -> dict[str, object]:
    """Give a route as a message has it."""
    attributes: dict[str, object] = {
        "family": route.family,
        "dst": route.destination,
        "oif": kernel.index(route.link),
        "proto": route.protocol,
        "scope": route.scope,
    }
    if route.gateway:
        attributes["gateway"] = route.gateway
    if route.source:
        attributes["prefsrc"] = route.source
    if route.metric:
        attributes["priority"] = route.metric
    if route.onlink:
        attributes["flags"] = _ONLINK
    if route.metrics:
        attributes["metrics"] = {"attrs": [list(pair) for pair in route.metrics]}
    return attributes


def route_text(route: RouteState) -> str:
    """Give a route as `ip` writes it."""
    words = ["default" if route.destination.endswith("/0") else route.destination]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", route.link, "proto", str(route.protocol)]
    words += ["scope", "link"] if route.scope == LINK else []
    words += ["src", route.source] if route.source else []
    words += ["metric", str(route.metric)] if route.metric else []
    words += ["onlink"] if route.onlink else []
    return " ".join(words)
