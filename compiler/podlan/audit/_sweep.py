"""One walk over all ranges in the order of their addresses: who is there more than once, and what lies inside."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Generic, TypeVar

from podlan.audit._addresses import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Owner = TypeVar("Owner", bound=Hashable)
Claim = TypeVar("Claim")
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Held(Generic[Owner, Claim]):
    """Addresses and who holds them: the first few claims, each of another owner, and how many owners there are.

    `is_point`: it answers a point that was asked for.
    """

    span: Span
    claims: tuple[Claim, ...]
    owners: int
    is_point: bool = False


def sweep(
    claims: Iterable[tuple[Span, Owner, Claim]], points: Iterable[tuple[int, int]] = ()
) -> Iterator[Held[Owner, Claim]]:
    """Give every stretch of addresses with two owners or more, and every point (family, address) with one or more.

    What ten thousand owners share takes no more
    steps than they have ranges. A stretch ends where its owners change, not where a range of an owner meets the next.
    """
    edges: list[tuple[int, int, int, tuple[Owner, Claim] | None]] = []
    for span, owner, claim in claims:
        edges.append((span.family, span.first, _START, (owner, claim)))
        edges.append((span.family, span.last + 1, _END, (owner, claim)))
    edges += [(family, address, _POINT, None) for family, address in set(points)]
    edges.sort(key=lambda edge: edge[:3])
    walk: _Walk[Owner, Claim] = _Walk()
    for (family, position), group in groupby(edges, key=lambda edge: edge[:2]):
        yield from walk.step(family, position, [(kind, who) for _, _, kind, who in group])


_END, _START, _POINT = range(3)


class _Walk(Generic[Owner, Claim]):
    """The owners of the address that the walk has reached, in the order in which they began."""

    def __init__(self) -> None:
        self.counts: dict[Owner, int] = {}
        self.claims: dict[Owner, Claim] = {}
        self.since = 0

    def step(
        self, family: int, position: int, edges: list[tuple[int, tuple[Owner, Claim] | None]]
    ) -> Iterator[Held[Owner, Claim]]:
        changes: dict[Owner, int] = {}
        for kind, who in edges:
            if who is not None:
                changes[who[0]] = changes.get(who[0], 0) + (1 if kind == _START else -1)
        changed = {owner for owner, by in changes.items() if self._changes(owner, by)}
        if changed:
            if len(self.counts) > 1:
                yield self._held(Span(family, self.since, position - 1))
            self.since = position
        for owner, by in changes.items():
            count = self.counts.get(owner, 0) + by
            if count:
                self.counts[owner] = count
            else:
                self.counts.pop(owner, None)
                self.claims.pop(owner, None)
        for kind, who in edges:
            if kind == _START and who is not None and who[0] in self.counts:
                self.claims[who[0]] = who[1]
        if self.counts and any(kind == _POINT for kind, _ in edges):
            yield self._held(Span(family, position, position), is_point=True)

    def _changes(self, owner: Owner, by: int) -> bool:
        before = self.counts.get(owner, 0)
        return (before > 0) != (before + by > 0)

    def _held(self, span: Span, *, is_point: bool = False) -> Held[Owner, Claim]:
        return Held(span, tuple(islice(self.claims.values(), _SHOWN)), len(self.counts), is_point)
