"""`podlan show`: subnets and slices as tables, as maps, and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podlan.addressing import to_text
from podlan.diagnostics import printable
from podlan.review import figures, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.addressing import Allocation
    from podlan.inventory import Site
    from podlan.pipeline import Checked

_LARGE = 10**9
_SUBNETS = ("subnet", "cidr", "pool", "used", "slices", "shims", "reserved", "quarantined", "other", "free", "waste")
_SLICES = ("node", "subnet", "slice", "size", "pods", "waste", "from", "shim")
_TEXT = frozenset({"subnet", "cidr", "node", "slice", "from", "shim"})


def _ready(checked: Checked) -> tuple[Site, Allocation]:
    if checked.site is None or checked.allocation is None:
        raise AssertionError("a site with errors is not shown; the command prints its findings")
    return checked.site, checked.allocation


def as_text(checked: Checked, *, draw: bool = False, colour: bool = False) -> str:
    """Show a site to people: a table of subnets, maps if asked for, a table of slices."""
    site, allocation = _ready(checked)
    cut = figures.slices(checked, site, allocation)
    found = figures.subnets(site, allocation, cut)
    lines = [*_table(_SUBNETS, [_subnet_row(item) for item, _ in found])]
    lines += [
        f"{item.outside} addresses of slices lie outside the pool of {item.name}" for item, _ in found if item.outside
    ]
    for _, land in found if draw else ():
        lines += ["", *mapping.as_lines(land, colour=colour)]
    if cut:
        lines += ["", *_table(_SLICES, [_slice_row(item) for item in cut])]
    return "".join(f"{line}\n" for line in lines)


def _subnet_row(item: figures.SubnetFigures) -> tuple[str, ...]:
    numbers = (item.slices, item.shims, item.reserved, item.quarantined, item.other, item.free, item.waste)
    return (item.name, item.cidr, _number(item.size), f"{item.utilisation:.0%}", *map(_number, numbers))


def _number(number: int) -> str:
    """Write a number; an IPv6 subnet's would fill the line."""
    return str(number) if number < _LARGE else f"{number:.1e}"


def _slice_row(item: figures.SliceFigures) -> tuple[str, ...]:
    pods = str(item.pods) if item.pods else "-"
    shim = to_text(item.shim.family, item.shim.first) if item.shim else "-"
    ranges = ",".join(map(str, item.ranges))
    return (item.node, item.subnet, ranges, str(item.size), pods, str(item.waste), item.source, shim)


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        cells = [
            cell.ljust(width) if name in _TEXT else cell.rjust(width)
            for name, cell, width in zip(names, row, widths, strict=True)
        ]
        yield printable("  ".join(cells).rstrip())


def as_json(checked: Checked, *, draw: bool = False) -> str:
    """Show a site to programs."""
    site, allocation = _ready(checked)
    cut = figures.slices(checked, site, allocation)
    found = figures.subnets(site, allocation, cut)
    values = {
        "site": site.name,
        "subnets": [
            {**figures.as_values(item, land), **({"map": _map(mapping.draw(land))} if draw else {})}
            for item, land in found
        ],
        "slices": [_slice_values(item) for item in cut],
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _slice_values(item: figures.SliceFigures) -> dict[str, object]:
    return {
        "node": item.node,
        "subnet": item.subnet,
        "ranges": [part.text for part in item.ranges],
        "size": item.size,
        "pods": item.pods,
        "waste": item.waste,
        "from": item.source,
        "shim": to_text(item.shim.family, item.shim.first) if item.shim else None,
    }


def _map(drawn: mapping.Map) -> dict[str, object]:
    first = to_text(drawn.family, drawn.first)
    return {"first": first, "block": drawn.block, "columns": drawn.columns, "rows": list(drawn.rows)}
