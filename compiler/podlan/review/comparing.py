"""What changes on one node: a pure function of two forms, the riskiest change first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.review.filechanges import delivered_changes, file_changes, program_changes
from podlan.review.linkchanges import link_changes
from podlan.review.model import Change, Kind, Risk, addresses
from podlan.review.slicechanges import slice_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podlan.addressing import Range
    from podlan.review.forms import Form

COMPARISONS: tuple[Callable[[Form, Form], Iterator[Change]], ...] = (
    slice_changes,
    link_changes,
    file_changes,
    program_changes,
)


def compare(old: Form | None, new: Form | None) -> tuple[Change, ...]:
    """Tell what changes on a node; None stands for a node that is not there."""
    if old is None or new is None:
        return tuple(_whole(old, new))
    changes = [change for comparison in COMPARISONS for change in comparison(old, new)]
    changes = changes or list(delivered_changes(old, new))
    return tuple(sorted(changes, key=lambda change: change.order))


def _whole(old: Form | None, new: Form | None) -> Iterator[Change]:
    if new is not None:
        yield Change(Kind.NEW, Risk.NONE, _slices(new), "nothing runs there yet")
    elif old is not None:
        leaves = tuple(item for items in old.slices.values() for item in items)
        cost = f"{addresses(_size(leaves))} leave; what podlan did on the node stays there until somebody undoes it"
        yield Change(Kind.REMOVED, Risk.MEDIUM, _slices(old), cost, leaves)


def _slices(form: Form) -> str:
    parts = [f"{', '.join(map(str, items))} of {subnet}" for subnet, items in sorted(form.slices.items())]
    return f"slice {' and '.join(parts)}" if parts else "no slice"


def _size(items: tuple[Range, ...]) -> int:
    return sum(item.size for item in items)
