"""A subnet drawn in the terminal: one cell an address, or one a block where there are many; never more than fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.addressing import Range, to_text
from podlan.review.land import Land, Piece, Use

if TYPE_CHECKING:
    from collections.abc import Iterator

CELLS = 2048
"""Most cells of a map: 32 lines of 64, which fits a screen."""

_SYMBOLS = {
    Use.NETWORK: "x",
    Use.BROADCAST: "x",
    Use.ANYCAST: "x",
    Use.WITHHELD: "x",
    Use.GATEWAY: "G",
    Use.NODE: "N",
    Use.SHIM: "s",
    Use.QUARANTINE: "q",
    Use.RESERVED: "r",
    Use.DHCP: "d",
    Use.ROUTER: "G",
    Use.SERVER: "D",
    Use.FREE_SHIM: ":",
    Use.FREE: ".",
    Use.OUTSIDE: "-",
}
_SLICES = "#="
"""Neighbouring slices alternate where a cell is an address, so that one sees where each ends."""
_LEGEND = {
    "#": "slice",
    "=": "the next slice",
    "s": "shim",
    ".": "free",
    ":": "free, for shims only",
    "q": "quarantined",
    "r": "reserved",
    "d": "given away by DHCP",
    "N": "a node's own",
    "G": "gateway",
    "D": "DNS server",
    "x": "unusable",
    "-": "outside the pool",
    "9": "1 to 9: tenths of a block in use",
}
_COLOURS = {
    "#": "36",
    "=": "34",
    "s": "35",
    ".": "32",
    ":": "32",
    "q": "33",
    "r": "33",
    "d": "33",
    "N": "31",
    "G": "31",
    "D": "31",
    "x": "31",
}
_UNUSED = frozenset({Use.FREE, Use.FREE_SHIM, Use.OUTSIDE})
_TENTHS = 10
_LEGEND_ITEMS = 9  # what fits a line


@dataclass(frozen=True, slots=True)
class Map:
    """A drawn subnet: `rows` hold a symbol for every `block` addresses, the first row begins at `first`."""

    family: int
    first: int
    block: int
    columns: int
    rows: tuple[str, ...]


def draw(land: Land) -> Map:
    """Draw a subnet; of a large one its pool only."""
    extent = _extent(land)
    block = 1
    first = extent.first
    while (extent.last - first) // block >= CELLS:
        block *= 2
        first = extent.first & -block
    count = (extent.last - first) // block + 1
    cells = _cells(land, Range(extent.family, first, first + count * block - 1), block)
    columns = _columns(count, extent.family)
    rows = tuple(cells[start : start + columns] for start in range(0, count, columns))
    return Map(extent.family, first, block, columns, rows)


def _extent(land: Land) -> Range:
    network = land.ground.network
    if network.size <= CELLS:
        return network
    pool = land.ground.pool
    return Range(network.family, min(item.first for item in pool), max(item.last for item in pool))


def _columns(count: int, family: int) -> int:
    if count <= 64:  # noqa: PLR2004 - a few lines of 16
        return 16
    return 64 if count > 256 and family == 4 else 32  # noqa: PLR2004 - v6 addresses take the width themselves


def _cells(land: Land, extent: Range, block: int) -> str:
    """Give a symbol a cell: that of its only use, or how many tenths of it are in use."""
    count = extent.size // block
    symbols = [""] * count
    used = [0] * count
    for piece, symbol in _drawn(land, block):
        if not piece.range.overlaps(extent):
            continue
        part = piece.range.shared(extent)
        for cell in range((part.first - extent.first) // block, (part.last - extent.first) // block + 1):
            begin = extent.first + cell * block
            if not symbols[cell]:
                symbols[cell] = symbol
            elif symbols[cell] != symbol:
                symbols[cell] = "mixed"
            if piece.use not in _UNUSED:
                used[cell] += min(part.last, begin + block - 1) - max(part.first, begin) + 1
    return "".join(_cell(symbol, share, block) for symbol, share in zip(symbols, used, strict=True))


def _cell(symbol: str, used: int, block: int) -> str:
    if symbol != "mixed":
        return symbol or " "
    return str(min(9, max(1, -(-used * _TENTHS // block)))) if used else "."


def _drawn(land: Land, block: int) -> Iterator[tuple[Piece, str]]:
    turn, owner = 0 if block > 1 else 1, ""
    for piece in land.pieces:
        if piece.use is Use.SLICE:
            if piece.owner != owner and block == 1:
                turn, owner = 1 - turn, piece.owner
            yield piece, _SLICES[turn]
        else:
            yield piece, _SYMBOLS[piece.use]


def as_lines(land: Land, *, colour: bool = False) -> Iterator[str]:
    """Give a map with its scale and a legend of the symbols in it."""
    drawn = draw(land)
    unit = "address" if drawn.block == 1 else f"block of {drawn.block}"
    yield f"{land.ground.name} {land.ground.subnet.cidr}, one cell an {unit}".replace("an block", "a block")
    labels = [
        to_text(drawn.family, drawn.first + index * drawn.columns * drawn.block) for index in range(len(drawn.rows))
    ]
    width = max(map(len, labels))
    for label, row in zip(labels, drawn.rows, strict=True):
        yield f"  {label:<{width}}  {_painted(row) if colour else row.rstrip()}"
    present = set("".join(drawn.rows))
    present |= {"9"} if present & set("12345678") else set()
    legend = [f"{symbol} {text}" if symbol != "9" else text for symbol, text in _LEGEND.items() if symbol in present]
    yield from (
        f"  {'  '.join(legend[start : start + _LEGEND_ITEMS])}" for start in range(0, len(legend), _LEGEND_ITEMS)
    )


def _painted(row: str) -> str:
    return "".join(f"\033[{_COLOURS[char]}m{char}\033[0m" if char in _COLOURS else char for char in row)
