"""`podlan explain`: the answer for a path or an address, and its two printers."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from podlan.diagnostics import printable
from podlan.review import schema
from podlan.review.answer import Answer, Step
from podlan.review.layers import NodeValues, default_step, shown
from podlan.review.provenance import node_named
from podlan.review.whose import whose
from podlan.review.writing import NoSuchPath, entries, nearest, parse
from podlan.source import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Place
    from podlan.inventory import Site
    from podlan.pipeline import Checked
    from podlan.source import KeyPath


def explain(checked: Checked, text: str) -> Answer:
    """Answer for a path or an address of a site without errors. Raises NotAPath and NoSuchPath."""
    site, allocation = checked.site, checked.allocation
    if site is None or allocation is None:
        raise AssertionError("a site with errors has no answers; the command prints its findings")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        path = parse(text)
    else:
        return whose(checked, site, allocation, address)
    if path[0] == "nodes" and len(path) > 1:
        node = node_named(site, str(path[1]))
        if node is None:
            names = [item.name for item in site.nodes]
            raise NoSuchPath(f"there is no node {path[1]}", nearest(path[1], names))
        return NodeValues(checked, site, allocation, node).answer(path[2:])
    return _of_site(site, path)


def _of_site(site: Site, path: KeyPath) -> Answer:
    """Answer for what the site, a subnet, a master or a profile says itself."""
    spot = schema.ROOT
    for depth, step in enumerate(path):
        here = path[:depth]
        value = site.source.get(here)
        below = spot.below(step)
        names = value if spot.is_named and isinstance(value, dict) else spot.keys
        if below is None or (spot.is_named and step not in names):
            where = f" at {dotted(here)}" if here else ""
            raise NoSuchPath(f"there is no {step}{where}", nearest(step, map(str, names)))
        if isinstance(step, int) and not site.source.has(path[: depth + 1]):
            count = len(value) if isinstance(value, list) else 0
            raise NoSuchPath(f"there is no {dotted(path[: depth + 1])}: {entries(count)}", "")
        spot = below
    subject = dotted(path)
    if site.source.has(path):
        who = f"profile {path[1]}" if path[0] == "profiles" and len(path) > 1 else "site"
        return Answer(subject, site.source.get(path), (Step(who, "written here", site.place(path)),))
    if path[0] == "profiles" and len(path) > 1:
        return Answer(subject, None, (Step("default", f"profile {path[1]} leaves it as it is"),))
    return Answer(subject, schema.plain(spot.default), (default_step(path, spot),))


def as_text(answer: Answer) -> str:
    """Tell an answer to people."""
    if answer.parts:
        return "".join(f"{line}\n" for part in answer.parts for line in _summed(part))
    head = f"{answer.subject}: {answer.verdict}" if answer.verdict else f"{answer.subject} = {shown(answer.value)}"
    return "".join(f"{printable(line)}\n" for line in (head, *_lines(answer.steps)))


def _lines(steps: tuple[Step, ...]) -> Iterator[str]:
    who = max((len(step.source) for step in steps), default=0)
    where = max((len(_where(step.place)) for step in steps), default=0)
    for step in steps:
        yield f"  {step.source:<{who}}  {_where(step.place):<{where}}{'  ' * bool(where)}{step.text}"


def _summed(part: Answer) -> Iterator[str]:
    """Tell a section's value on one line, with what decides it."""
    first = next(iter(part.steps), None)
    origin = f"  # {first.source} {_where(first.place)}".rstrip() if first else ""
    yield printable(f"{part.subject} = {shown(part.value)}{origin}")


def _where(place: Place | None) -> str:
    return str(place) if place else ""


def as_json(answer: Answer) -> str:
    """Tell an answer to programs."""
    return json.dumps(_values(answer), indent=2, ensure_ascii=False) + "\n"


def _values(answer: Answer) -> dict[str, Any]:
    values: dict[str, Any] = {
        "subject": answer.subject,
        "value": answer.value,
        "verdict": answer.verdict,
        "steps": [{"source": step.source, "text": step.text, "place": _place(step.place)} for step in answer.steps],
    }
    if answer.parts:
        values["parts"] = [_values(part) for part in answer.parts]
    return values


def _place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"file": place.file, "line": place.line, "column": place.column, "length": place.length}
