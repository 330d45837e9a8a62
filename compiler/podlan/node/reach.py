"""Who reaches whom, against what plans promise: rows by the names of the how-to's results, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_GRID = 64
"""Endpoints beyond which a grid no longer fits a screen."""

_MOST = 20
"""Surprises that are told one by one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A network stack, and its addresses."""

    name: str
    kind: Literal["node", "pod", "gateway"]
    node: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Try:
    """An echo request from one endpoint to an address of another, and whether it was answered."""

    source: Endpoint
    target: Endpoint
    address: str
    reached: bool


Promise: TypeAlias = Callable[[Try], bool | None]
"""Tells whether a try is to succeed; None where the network decides that, and no plan."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary: of `tried`, `expected` should succeed and `reached` did; `key` is for programs.

    `surprises` tell what is not as promised.
    """

    key: str
    name: str
    tried: int
    reached: int
    expected: int
    surprises: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all of it is as promised."""
        return not self.surprises


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying found."""

    points: tuple[Endpoint, ...]
    tries: tuple[Try, ...]
    rows: tuple[Row, ...]

    @property
    def surprises(self) -> tuple[str, ...]:
        """What is not as the plans promise."""
        return tuple(text for row in self.rows for text in row.surprises)

    @property
    def ok(self) -> bool:
        """Whether everything is as the plans promise."""
        return not self.surprises


# The first four are the how-to's results, under its own names too.
_ROWS = {
    "pods-apart": "pods on different hosts (跨主机容器互通)",
    "pods-together": "pods on the same host (同一宿主机的容器互通)",
    "pod-and-other": "pods and other nodes (容器和其他节点互通)",
    "pod-and-own": "pods and their own host (容器和宿主机",
    "pod-and-gateway": "pods and the gateway",
    "hosts": "hosts and hosts",
    "host-and-gateway": "hosts and the gateway",
}


def report(points: Iterable[Endpoint], tries: Sequence[Try], promised: Promise, further: Iterable[Row] = ()) -> Report:
    """Compare what was found with what is promised; `further` rows come last."""
    expected = {one: promised(one) for one in tries}
    rows = [*(_row(key, name, expected) for key, name in _ROWS.items()), *further]
    return Report(tuple(points), tuple(tries), tuple(row for row in rows if row.tried))


def kind(source: Endpoint, target: Endpoint) -> str:
    """Give the key of the row in which two endpoints stand."""
    match sorted((source.kind, target.kind)):
        case ["pod", "pod"]:
            return "pods-together" if source.node == target.node else "pods-apart"
        case ["node", "pod"]:
            return "pod-and-own" if source.node == target.node else "pod-and-other"
        case ["gateway", "pod"]:
            return "pod-and-gateway"
        case ["node", "node"]:
            return "hosts"
        case _:
            return "host-and-gateway"


def _row(key: str, name: str, expected: dict[Try, bool | None]) -> Row:
    mine = {one: wanted for one, wanted in expected.items() if kind(one.source, one.target) == key}
    promised = sum(wanted is True for wanted in mine.values())
    open_ended = sum(wanted is None for wanted in mine.values())
    if key == "pod-and-own":
        # The how-to's fourth result is that they do not; with host access they do.
        name += ")" if 0 < promised < len(mine) or open_ended else "互通)" if promised else "不互通)"
    if open_ended:
        name += ", as the network decides"
    surprises = (surprise(one) for one, wanted in mine.items() if wanted is not None and one.reached != wanted)
    return Row(key, name, len(mine), sum(one.reached for one in mine), promised, tuple(surprises))


def surprise(one: Try) -> str:
    """Tell of a try that did not go as promised."""
    verb = "reaches" if one.reached else "does not reach"
    # Another node's endpoint may be known by its address alone.
    target = one.address if one.target.name == one.address else f"{one.target.name} at {one.address}"
    return f"{one.source.name} {verb} {target}" + (", which its plan does not promise" if one.reached else "")


def as_text(report: Report) -> str:
    """Give the summary, the grid and the surprises for people."""
    lines = [*summary(report.rows), ""]
    if len(report.points) <= _GRID:
        lines += [*grid(report.points, report.tries), ""]
    else:
        lines += [f"no grid of {len(report.points)} names here: --format json has every try", ""]
    return "\n".join([*lines, *verdict(report.surprises)]) + "\n"


def summary(rows: Iterable[Row]) -> Iterator[str]:
    """Give a table of rows."""
    yield f"{'reached':>11} {'expected':>8}  verdict"
    for row in rows:
        yield f"{f'{row.reached}/{row.tried}':>11} {row.expected:>8}  {'ok' if row.ok else 'WRONG':<7}  {row.name}"


def verdict(surprises: Sequence[str]) -> Iterator[str]:
    """Tell what is not as promised, as far as somebody would read it."""
    if not surprises:
        yield "everything is as the plans promise"
        return
    yield "not as the plans promise:"
    yield from (f"  {text}" for text in surprises[:_MOST])
    if len(surprises) > _MOST:
        yield f"  … and {len(surprises) - _MOST} more"


def grid(points: Sequence[Endpoint], tries: Iterable[Try]) -> Iterator[str]:
    """Draw who reaches whom."""
    cells: dict[tuple[Endpoint, Endpoint], list[Try]] = {}
    for one in tries:
        cells.setdefault((one.source, one.target), []).append(one)
    asking = {source for source, _ in cells}
    width = max((len(point.name) for point in points), default=0)
    digits = len(str(len(points)))
    yield " " * (digits + width + 3) + " ".join(f"{number:>{digits}}" for number in range(1, len(points) + 1))
    for number, source in enumerate(points, 1):
        if source not in asking:  # it is another machine's: only asked
            yield f" {number:>{digits}} {source.name}"
            continue
        marks = (_mark(cells.get((source, target), [])) for target in points)
        yield f" {number:>{digits}} {source.name:<{width}} " + " ".join(f"{mark:>{digits}}" for mark in marks)
    yield "row reaches column: + yes, x no, ~ some of its addresses, 4 or 6 those of that family"


def _mark(tries: list[Try]) -> str:
    if not tries:
        return "·"
    reached = [one for one in tries if one.reached]
    if len(reached) == len(tries):
        return "+"
    if not reached:
        return "x"
    # Addresses of one family only, and all of those.
    families = {":" in one.address for one in reached}
    if len(families) > 1 or any((":" in one.address) in families for one in tries if not one.reached):
        return "~"
    return "6" if families == {True} else "4"


def as_json(report: Report, **more: object) -> str:
    """Give everything for programs; `more` is what only one command has to say."""
    found = document(report.rows, report.points, report.tries)
    everything = {**more, "ok": report.ok, **found, "surprises": report.surprises}
    return json.dumps(everything, indent=2, ensure_ascii=False) + "\n"


def document(rows: Iterable[Row], points: Iterable[Endpoint], tries: Iterable[Try]) -> dict[str, Any]:
    """Give rows and tries as JSON holds them."""
    return {
        "rows": [
            {
                "key": row.key,
                "name": row.name,
                "tried": row.tried,
                "reached": row.reached,
                "expected": row.expected,
                "ok": row.ok,
            }
            for row in rows
        ],
        "endpoints": [
            {"name": point.name, "kind": point.kind, "node": point.node, "addresses": point.addresses}
            for point in points
        ],
        "tries": [
            {"source": one.source.name, "target": one.target.name, "address": one.address, "reached": one.reached}
            for one in tries
        ],
    }
