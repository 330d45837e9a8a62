"""A review as text for a terminal, as JSON for programs, as Markdown for a pull request."""

from __future__ import annotations

import dataclasses
import json
from itertools import groupby
from typing import TYPE_CHECKING

from podlan.diagnostics import printable
from podlan.review.differences import Review, headline, summary
from podlan.review.model import Change, Kind, Risk, addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMENT_LIMIT = 65_535
"""Longest comment that GitHub takes, in characters; counted in bytes here, which are never fewer."""

TITLES = {
    Kind.FRESH_POOL: "host-local's pool begins anew",
    Kind.HOST_LINK: "host link touched",
    Kind.SLICE_MOVED: "slice moved",
    Kind.SLICE_SHRUNK: "slice shrunk",
    Kind.REMOVED: "node removed",
    Kind.RESTART: "restart",
    Kind.POD_ROUTES: "host routes to own pods",
    Kind.FUTURE_PODS: "future pods only",
    Kind.SLICE_GROWN: "slice grown",
    Kind.NEW: "new node",
    Kind.TEXT: "text",
}
_COLOURS = {Risk.HIGH: "\033[1;31m", Risk.MEDIUM: "\033[1;33m", Risk.LOW: "\033[1;36m", Risk.NONE: "\033[2m"}
_RESET = "\033[0m"
_NAMES = 8
_WIDTH = max(len(title) for title in TITLES.values())


def _groups(result: Review) -> Iterator[tuple[tuple[Change, ...], list[str]]]:
    """Give nodes on which exactly the same happens together, in the review's order."""
    alike: dict[tuple[Change, ...], list[str]] = {}
    for node, changes in result.changes.items():
        alike.setdefault(changes, []).append(node)
    yield from alike.items()


def as_text(result: Review, *, colour: bool = False) -> str:
    """Tell a review to people: the summary, then node by node, the riskiest first."""
    paint = _painted if colour else _plain
    lines = [headline(summary(result))]
    for changes, nodes in _groups(result):
        lines += ["", _nodes(nodes)]
        for change in changes:
            label = paint(change.risk, f"{change.risk.value:<6}")
            cost = f" ({change.cost})" if change.cost else ""
            lines.append(f"  {label}  {TITLES[change.kind]:<{_WIDTH}}  {printable(change.what + cost)}")
    return "\n".join(lines) + "\n"


def _plain(risk: Risk, text: str) -> str:
    del risk
    return text


def _painted(risk: Risk, text: str) -> str:
    return f"{_COLOURS[risk]}{text}{_RESET}"


def _nodes(nodes: list[str]) -> str:
    more = f" and {len(nodes) - _NAMES} more" if len(nodes) > _NAMES else ""
    count = f"{len(nodes)} nodes: " if len(nodes) > 1 else ""
    return printable(f"{count}{', '.join(nodes[:_NAMES])}{more}")


def as_json(result: Review) -> str:
    """Tell a review to programs; every change has every key."""
    values = {
        "old": result.old,
        "new": result.new,
        "summary": {_camel(key): value for key, value in dataclasses.asdict(summary(result)).items()},
        "nodes": [
            {"node": node, "changes": [_change(change) for change in changes]}
            for node, changes in result.changes.items()
        ],
    }
    return json.dumps(values, indent=2) + "\n"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _change(change: Change) -> dict[str, object]:
    return {
        "kind": change.kind.value,
        "risk": change.risk.value,
        "what": change.what,
        "cost": change.cost,
        "leaves": [item.text for item in change.leaves],
        "leaving": sum(item.size for item in change.leaves),
        "taken": [{"node": node, "addresses": item.text} for node, item in change.taken],
        "restarts": list(change.units),
    }


def as_markdown(result: Review, limit: int = COMMENT_LIMIT) -> str:
    """Tell a review in a comment: the summary and a table first, the nodes folded by their worst change.

    Never longer than `limit`: what does not fit is counted, and the command that shows it is named.
    """
    counts = summary(result)
    table = list(_table(result))
    head = f"### podlan: {_escaped(headline(counts))}\n" + "".join(f"{line}\n" for line in ("", *table) if table)
    command = f"podlan diff {result.old} {result.new}"
    closing = f"\nAll of it: {_code(command)}\n"
    room = limit - _size(head) - _size(closing) - _size(_omitted(len(result.changes)))
    body, left = _sections(result, room)
    return head + body + (_omitted(left) if left else "") + closing


def _omitted(number: int) -> str:
    return f"\n{number} more node{'s' * (number != 1)} do not fit here.\n"


def _table(result: Review) -> Iterator[str]:
    if not result:
        return
    yield "| risk | change | nodes | |"
    yield "|---|---|--:|---|"
    per: dict[tuple[Risk, Kind], list[tuple[str, Change]]] = {}
    for node, changes in result.changes.items():
        for change in changes:
            per.setdefault((change.risk, change.kind), []).append((node, change))
    for (risk, kind), found in sorted(per.items(), key=lambda item: item[1][0][1].order[:2]):
        nodes = len({node for node, _ in found})
        yield f"| {risk.value} | {TITLES[kind]} | {nodes} | {_remark([change for _, change in found])} |"


def _remark(changes: list[Change]) -> str:
    leaving = sum(item.size for change in changes for item in change.leaves)
    taken = sum(item.size for change in changes for _, item in change.taken)
    units = sorted({unit for change in changes for unit in change.units})
    parts = [f"{addresses(leaving)} leave"] if leaving else []
    parts += [f"{taken} go to other nodes at once"] if taken else []
    parts += [_code(unit) for unit in units]
    return ", ".join(parts)


def _sections(result: Review, room: int) -> tuple[str, int]:
    """Fold the groups by the kind of their worst change, as far as there is room; give how many nodes are left out."""
    text, left = "", 0
    is_full = False
    for kind, found in groupby(_groups(result), key=lambda group: group[0][0].kind):
        groups = list(found)
        number = sum(len(nodes) for _, nodes in groups)
        opening = f"\n<details><summary>{TITLES[kind]}: {number} node{'s' * (number != 1)}</summary>\n\n"
        closing = "\n</details>\n"
        items: list[str] = []
        size = _size(text) + _size(opening) + _size(closing)
        for changes, nodes in groups:
            item = _item(changes, nodes)
            size += _size(item)
            is_full = is_full or size > room
            if is_full:
                left += len(nodes)
            else:
                items.append(item)
        if items:
            text += opening + "".join(items) + closing
    return text, left


def _item(changes: tuple[Change, ...], nodes: list[str]) -> str:
    names = ", ".join(_code(node) for node in nodes[:_NAMES])
    more = f" and {len(nodes) - _NAMES} more" if len(nodes) > _NAMES else ""
    lines = [f"- **{names}{more}**"]
    for change in changes:
        cost = f": {_escaped(change.cost)}" if change.cost else ""
        lines.append(f"  - {change.risk.value}, {TITLES[change.kind]}: {_code(change.what)}{cost}")
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    """Quote what a compiled file says, so that it can be no markup, link or mention."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', '/')}`"


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#@" else char for char in printable(text))


def _size(text: str) -> int:
    return len(text.encode())


FORMS: dict[str, Callable[[Review], str]] = {"json": as_json, "markdown": as_markdown}
