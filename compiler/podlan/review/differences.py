"""Two sides compared: what changes on every node, who gets what another gives up, and how many nodes each concerns."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from podlan.addressing import Range, natural
from podlan.review.comparing import compare
from podlan.review.forms import Form, form
from podlan.review.model import Change, Kind, Risk, addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.review.sides import Side

Changes = dict[str, tuple[Change, ...]]
_GIVING_UP = (Kind.SLICE_MOVED, Kind.SLICE_SHRUNK)
_TAKERS = 3


@dataclass(frozen=True, slots=True)
class Review:
    """What differs between two sides: the changed nodes, the riskiest first, each with its changes in that order."""

    old: str
    new: str
    same: int
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changes)


def review(old: Side, new: Side) -> Review:
    """Compare two sides. Raises BadOutput and BadPlan for what cannot be read."""
    names = sorted(old.nodes.keys() | new.nodes.keys())
    differing: list[str] = []
    before: dict[str, Form] = {}
    after: dict[str, Form] = {}
    for name in names:
        files = (old.nodes.get(name), new.nodes.get(name))
        if files[0] != files[1]:
            differing.append(name)
            before |= {name: form(name, files[0])} if files[0] is not None else {}
            after |= {name: form(name, files[1])} if files[1] is not None else {}
    renamed = _renamed(before, after)
    changes = {
        name: compare(before.get(renamed.get(name, name)), after.get(name))
        for name in differing
        if name not in renamed.values()
    }
    for name, was in renamed.items():
        changes[name] = (*changes[name], Change(Kind.TEXT, Risk.NONE, f"renamed: it was {was}"))
    changes = _with_takers(changes, after)
    ordered = sorted(changes, key=lambda name: (changes[name][0].order[:2], natural(name)))
    return Review(old.name, new.name, len(names) - len(differing), {name: changes[name] for name in ordered})


def _renamed(before: Mapping[str, Form], after: Mapping[str, Form]) -> dict[str, str]:
    """Find nodes that are there under another name: with the same pods' addresses, and the same of their own."""
    gone = {_identity(one): name for name, one in before.items() if name not in after and one.slices}
    new = {name: gone[_identity(one)] for name, one in after.items() if name not in before and _identity(one) in gone}
    return {name: was for name, was in new.items() if list(new.values()).count(was) == 1}


def _identity(one: Form) -> tuple[object, ...]:
    return (tuple(sorted(one.slices.items())), one.plan.addresses, one.plan.identity)


def _with_takers(changes: Changes, after: Mapping[str, Form]) -> Changes:
    """Name the nodes that get at once what another gives up: pods of both would have the same address."""
    held = sorted((item, name) for name, form in after.items() for items in form.slices.values() for item in items)
    return {
        name: tuple(sorted(_taken(name, items, held), key=lambda change: change.order))
        for name, items in changes.items()
    }


def _taken(node: str, changes: tuple[Change, ...], held: list[tuple[Range, str]]) -> Iterator[Change]:
    for change in changes:
        takers = tuple((name, item) for gone in change.leaves for name, item in _holders(gone, held) if name != node)
        if not takers:
            yield change
            continue
        count = sum(item.size for _, item in takers)
        names = sorted({name for name, _ in takers}, key=natural)
        shown = ", ".join(names[:_TAKERS]) + (f" and {len(names) - _TAKERS} more" if len(names) > _TAKERS else "")
        go = "goes" if count == 1 else "go"
        cost = f"{change.cost}; {count} of them {go} to {shown} at once: drain this node first"
        yield replace(change, risk=Risk.HIGH, cost=cost, taken=takers)


def _holders(gone: Range, held: list[tuple[Range, str]]) -> Iterator[tuple[str, Range]]:
    """Find who holds addresses of a range; slices of one side never overlap, so few lie around it."""
    index = bisect_right(held, (Range(gone.family, gone.first, 1 << 128), "")) - 1
    for item, name in held[max(0, index) :]:
        if item.family > gone.family or (item.family == gone.family and item.first > gone.last):
            break
        if item.overlaps(gone):
            yield name, item.shared(gone)


@dataclass(frozen=True, slots=True)
class Summary:
    """How many nodes each kind of change concerns; one node may count in several but the last two."""

    changed: int
    same: int
    new: int
    removed: int
    moved: int
    leaving: int
    leaving_with_nodes: int
    taken: int
    grown: int
    fresh_pool: int
    host_link: int
    restarts: int
    future_pods_only: int
    text_only: int


def summary(result: Review) -> Summary:
    """Count the nodes of a review by what happens to them."""
    kinds = [{change.kind for change in changes} for changes in result.changes.values()]
    flat = [change for changes in result.changes.values() for change in changes]

    def count(*wanted: Kind) -> int:
        return sum(bool(found.intersection(wanted)) for found in kinds)

    def leaving(*wanted: Kind) -> int:
        return sum(item.size for change in flat if change.kind in wanted for item in change.leaves)

    def only(kind: Kind) -> int:
        return sum(kind in found and found <= {kind, Kind.TEXT} for found in kinds)

    return Summary(
        changed=len(kinds),
        same=result.same,
        new=count(Kind.NEW),
        removed=count(Kind.REMOVED),
        moved=count(*_GIVING_UP),
        leaving=leaving(*_GIVING_UP),
        leaving_with_nodes=leaving(Kind.REMOVED),
        taken=sum(item.size for change in flat for _, item in change.taken),
        grown=count(Kind.SLICE_GROWN),
        fresh_pool=count(Kind.FRESH_POOL),
        host_link=count(Kind.HOST_LINK),
        restarts=count(Kind.RESTART),
        future_pods_only=only(Kind.FUTURE_PODS),
        text_only=only(Kind.TEXT),
    )


def headline(counts: Summary) -> str:
    """Say a summary in one line: `3 nodes change: 1 new, 1 host link touched; 9 stay as they are`."""
    with_nodes = f" ({addresses(counts.leaving_with_nodes)} leave)" if counts.leaving_with_nodes else ""
    parts = [
        (counts.new, "new"),
        (counts.removed, f"removed{with_nodes}"),
        (counts.moved, f"with slices moved ({addresses(counts.leaving)} leave)"),
        (counts.grown, "with slices grown"),
        (counts.fresh_pool, "with a pool begun anew"),
        (counts.host_link, "host link touched"),
        (counts.restarts, f"restart{'s' * (counts.restarts != 1)}"),
        (counts.future_pods_only, "future pods only"),
        (counts.text_only, "text only"),
    ]
    told = ", ".join(f"{number} {what}" for number, what in parts if number)
    stay = f"{counts.same} stay{'s' * (counts.same == 1)} as {'it is' if counts.same == 1 else 'they are'}"
    if not counts.changed:
        return f"no difference: {stay}" if counts.same else "no difference: no nodes on either side"
    verb = "s" if counts.changed == 1 else ""
    return f"{counts.changed} node{'s' * (counts.changed != 1)} change{verb}: {told}; {stay}"
