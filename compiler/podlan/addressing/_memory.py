"""What the lock remembers, made ready for an allocation: renames, and nodes that hold the same addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.addressing._ranges import Addresses, Range
from podlan.diagnostics import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.addressing._lock import Lock
    from podlan.addressing._wants import Decisions
    from podlan.inventory import Site


@dataclass(frozen=True, slots=True)
class Held:
    """A line of the lock that gives a node addresses: a slice or a shim."""

    range: Range
    node: str
    subnet: str
    kind: str


def renamed(lock: Lock, site: Site) -> Lock:
    """Give what a node held under its old name (`was`) to the new one, once: then the lock knows the new name."""
    known = {node for _, node in (*lock.slices, *lock.shims)}
    written = site.inventory.nodes
    names = {
        node.was: name
        for name, node in written.items()
        if node.was is not None and node.was not in written and name not in known
    }
    if not names:
        return lock
    return replace(
        lock,
        slices={(subnet, names.get(node, node)): held for (subnet, node), held in lock.slices.items()},
        shims={(subnet, names.get(node, node)): held for (subnet, node), held in lock.shims.items()},
        quarantine=frozenset((subnet, names.get(node, node), item) for subnet, node, item in lock.quarantine),
        places={
            (*key[:2], names.get(key[2], key[2]), *key[3:]) if len(key) > 2 else key: place  # noqa: PLR2004 - kind, subnet, node
            for key, place in lock.places.items()
        },
    )


def givers(lock: Lock, decisions: Decisions) -> tuple[set[tuple[str, str]], list[Finding]]:
    """Tell which (subnet, node) give up what they hold: those told to move, and losers of a conflict.

    Two nodes hold the same address after a merge of two branches that both took the next free range. Who is new
    by `decisions.base`, or stands against a node of `decisions.keep`, moves; where neither tells, it is a finding.
    """
    giving = {key for key in (*lock.slices, *lock.shims) if key[1] in decisions.move}
    findings: list[Finding] = []
    for first, second in _conflicts(lock):
        if (first.subnet, first.node) in giving or (second.subnet, second.node) in giving:
            continue
        loser = _loser(first, second, decisions)
        if loser is None:
            findings.append(_conflict(lock, first, second))
        else:
            giving.add((loser.subnet, loser.node))
    return giving, findings


def _holdings(lock: Lock) -> Iterator[Held]:
    for (subnet, node), ranges in lock.slices.items():
        for item in ranges:
            yield Held(item, node, subnet, "slice")
    for (subnet, node), item in lock.shims.items():
        yield Held(item, node, subnet, "shim")


def _conflicts(lock: Lock) -> Iterator[tuple[Held, Held]]:
    """Give every pair of nodes that hold the same address of a subnet, by one sweep."""
    active: list[Held] = []
    for held in sorted(_holdings(lock), key=lambda held: (held.subnet, held.range, held.node)):
        active = [one for one in active if one.subnet == held.subnet and one.range.overlaps(held.range)]
        for one in active:
            if one.node != held.node:
                yield one, held
        active.append(held)


def _loser(first: Held, second: Held, decisions: Decisions) -> Held | None:
    is_old = (_in_base(first, decisions.base), _in_base(second, decisions.base))
    is_kept = (first.node in decisions.keep, second.node in decisions.keep)
    for stays in (is_old, is_kept):
        if stays[0] != stays[1]:
            return second if stays[0] else first
    return None


def _in_base(held: Held, base: Lock | None) -> bool:
    if base is None:
        return False
    key = (held.subnet, held.node)
    return held.range in base.slices.get(key, ()) if held.kind == "slice" else base.shims.get(key) == held.range


def _conflict(lock: Lock, first: Held, second: Held) -> Finding:
    """Say that two nodes hold the same addresses; the line that stands later is the one pointed at."""
    spots = [(lock.places.get((held.kind, held.subnet, held.node)), held) for held in (first, second)]
    (_, early), (place, late) = sorted(spots, key=lambda spot: (spot[0] is not None, spot[0]))
    at_first = lock.places.get((early.kind, early.subnet, early.node))
    shared = early.range.shared(late.range)
    return Finding(
        "PL503",
        f"{early.node} and {late.node} both hold {shared} of {late.subnet}",
        place,
        hint=f"compile with --base REV, where REV is the branch that was first, or with --keep {early.node} "
        f"or --keep {late.node}: the other gets new addresses",
        also=(at_first.labelled(f"{early.node} holds it here"),) if at_first else (),
    )


def merged_quarantine(entries: Iterable[tuple[str, str, Range]]) -> frozenset[tuple[str, str, Range]]:
    """Join the ranges of one node that touch, so that the lock says the same thing in one way."""
    groups: dict[tuple[str, str, int], list[Range]] = {}
    for subnet, node, item in entries:
        groups.setdefault((subnet, node, item.family), []).append(item)
    return frozenset(
        (subnet, node, item) for (subnet, node, family), items in groups.items() for item in Addresses(family, items)
    )
