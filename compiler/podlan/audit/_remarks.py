"""Remarks: findings that know a path inside a JSON file, and become places only when they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from podlan.audit._codes import CODES
from podlan.audit._positions import Positions
from podlan.diagnostics import Finding, Place, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

JsonPath = tuple[str | int, ...]
_SHOWN = 3
_LONGEST = 80


class Spot(NamedTuple):
    """A key or value in a JSON file; `key` to mean the key itself. A `line` stands for itself, in any file."""

    file: str
    path: JsonPath = ()
    key: bool = False
    line: int = 0
    column: int = 1


@dataclass(frozen=True, slots=True)
class Remark:
    """A finding whose places are still paths: most files have none, so positions are looked up afterwards."""

    code: str
    message: str
    spot: Spot | None = None
    hint: str = ""
    also: tuple[tuple[Spot, str], ...] = ()


def placed(remarks: Iterable[Remark], text_of: Callable[[str], str]) -> list[Finding]:
    """Turn remarks into findings; every file that one speaks of is read once more."""
    remarks = list(remarks)
    wanted: dict[str, set[Spot]] = {}
    for remark in remarks:
        for spot in ([remark.spot] if remark.spot else []) + [spot for spot, _ in remark.also]:
            wanted.setdefault(spot.file, set()).add(spot)
    places = {spot: place for file, spots in wanted.items() for spot, place in _places(file, spots, text_of)}
    return [
        Finding(
            remark.code,
            printable(remark.message),
            places[remark.spot] if remark.spot else None,
            CODES[remark.code].severity,
            remark.hint,
            tuple(places[spot].labelled(label) for spot, label in remark.also),
        )
        for remark in remarks
    ]


def _places(file: str, spots: set[Spot], text_of: Callable[[str], str]) -> Iterable[tuple[Spot, Place]]:
    positions: Positions | None = None
    for spot in spots:
        line, column, length = spot.line, spot.column, 1
        if not spot.line:
            positions = positions or Positions(text_of(file))
            line, column, length = positions.of(spot.path, key=spot.key)
        yield spot, Place(printable(file), line, column, length)


def some(names: Iterable[str], total: int = 0) -> str:
    """Name a few of many: `a, b and c`, or `a, b, c and 7 others`."""
    shown = []
    count = 0
    for name in names:
        count += 1
        if count <= _SHOWN:
            shown.append(name)
    count = max(count, total)
    if count > len(shown):
        return f"{', '.join(shown)} and {count - len(shown):,} other{'s' * (count - len(shown) != 1)}"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def quoted(value: object) -> str:
    """Show a value of somebody's file on one line of bounded length."""
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
