"""A change on a node: its kind, how much it risks, what it is and what it costs. Plain data."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podlan.addressing import Range


class Kind(enum.Enum):
    """What a change is; where two risk the same, the one that stands first here is told first."""

    FRESH_POOL = "fresh-pool"
    HOST_LINK = "host-link"
    SLICE_MOVED = "slice-moved"
    SLICE_SHRUNK = "slice-shrunk"
    REMOVED = "node-removed"
    RESTART = "restart"
    POD_ROUTES = "pod-routes"
    FUTURE_PODS = "future-pods"
    SLICE_GROWN = "slice-grown"
    NEW = "node-new"
    TEXT = "text"


class Risk(enum.Enum):
    """How much a change can hurt: high can cut hosts or pods off, none is noticed by nobody."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


_KINDS = {kind: rank for rank, kind in enumerate(Kind)}
_RISKS = {risk: rank for rank, risk in enumerate(Risk)}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changes on a node.

    `what` names it, `cost` says what it does to whoever is running. `leaves` are the pod addresses that the node
    gives up, `taken` those of them that another node gets in the same step, with its name. `units` restart.
    """

    kind: Kind
    risk: Risk
    what: str
    cost: str = ""
    leaves: tuple[Range, ...] = ()
    taken: tuple[tuple[str, Range], ...] = ()
    units: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key: the riskiest first."""
        return (_RISKS[self.risk], _KINDS[self.kind], self.what)


def addresses(number: int) -> str:
    """Count addresses in words."""
    return f"{number} address{'es' * (number != 1)}"


def differing(old: dict[str, str], new: dict[str, str], most: int = 4) -> str:
    """Tell how two sets of facts differ: `key: old -> new`, `+ key: new`, `- key: old`; the first few of them."""
    parts = []
    for key in (*old, *(key for key in new if key not in old)):
        if key not in new:
            parts.append(f"- {key}{': ' * bool(old[key])}{old[key]}")
        elif key not in old:
            parts.append(f"+ {key}{': ' * bool(new[key])}{new[key]}")
        elif old[key] != new[key]:
            parts.append(f"{key}: {old[key]} -> {new[key]}")
    more = f"; {len(parts) - most} more" if len(parts) > most else ""
    return "; ".join(parts[:most]) + more
