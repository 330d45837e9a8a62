"""The connectivity matrix against what the plans promise: rows by the names of the how-to's results, text and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.lab import cni, matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.lab.matrix import Endpoint, Try
    from podlan.lab.state import State

_GRID = 64
"""Endpoints beyond which a grid no longer fits a screen."""

_MOST = 20
"""Surprises that are told one by one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the summary: of `tried`, `expected` should succeed and `reached` did; `key` is for programs."""

    key: str
    name: str
    tried: int
    reached: int
    expected: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying found."""

    points: tuple[Endpoint, ...]
    tries: tuple[Try, ...]
    rows: tuple[Row, ...]
    surprises: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as the plans promise."""
        return not self.surprises


def report(state: State, tries: list[Try], macs: dict[str, list[str]]) -> Report:
    """Compare what was found with what the plans promise."""
    promised = _promise(state)
    expected = {one: promised(one) for one in tries}
    rows = [_row(kind, name, tries, expected) for kind, name in _ROWS.items()]
    surprises = [_surprise(one) for one in tries if one.reached != expected[one]]
    if macs:
        single = sum(len(found) == 1 for found in macs.values())
        rows.append(
            Row("macs", "one MAC answers for a host's IPv4 address", len(macs), single, len(macs), single == len(macs))
        )
        surprises += [
            f"{address} is answered by {', '.join(found) or 'nobody'}"
            for address, found in macs.items()
            if len(found) != 1
        ]
    return Report(
        tuple(matrix.endpoints(state)), tuple(tries), tuple(row for row in rows if row.tried), tuple(surprises)
    )


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


def _kind(source: Endpoint, target: Endpoint) -> str:
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


def _promise(state: State) -> Callable[[Try], bool]:
    access = {node.name: node.access for node in state.nodes}
    bridged = {pod.name: cni.mode(pod.config) == "bridge" for pod in state.pods}

    def promised(one: Try) -> bool:
        ends = [point.name for point in (one.source, one.target) if point.kind == "pod"]
        match _kind(one.source, one.target):
            case "pods-together":  # the other modes keep a master's children apart
                return all(bridged[pod] for pod in ends)
            case "pod-and-own":
                family = 6 if ":" in one.address else 4
                return family in access[one.source.node] and all(bridged[pod] for pod in ends)
            case _:
                return True

    return promised


def _row(kind: str, name: str, tries: list[Try], expected: dict[Try, bool]) -> Row:
    mine = [one for one in tries if _kind(one.source, one.target) == kind]
    promised = sum(expected[one] for one in mine)
    if kind == "pod-and-own":
        # The how-to's fourth result is that they do not; with host access they do.
        name += ")" if 0 < promised < len(mine) else "互通)" if promised else "不互通)"
    reached = sum(one.reached for one in mine)
    return Row(kind, name, len(mine), reached, promised, all(one.reached == expected[one] for one in mine))


def _surprise(one: Try) -> str:
    verb = "reaches" if one.reached else "does not reach"
    target = f"{one.target.name} at {one.address}"
    return f"{one.source.name} {verb} {target}" + (", which its plan does not promise" if one.reached else "")


def as_text(report: Report) -> str:
    """Give the summary, the grid and the surprises for people."""
    lines = [*_summary(report.rows), ""]
    if len(report.points) <= _GRID:
        lines += [*_grid(report), ""]
    else:
        lines += [f"no grid of {len(report.points)} names here: --format json has every try", ""]
    if report.ok:
        lines.append("everything is as the plans promise")
    else:
        lines.append("not as the plans promise:")
        lines += [f"  {text}" for text in report.surprises[:_MOST]]
        if len(report.surprises) > _MOST:
            lines.append(f"  … and {len(report.surprises) - _MOST} more")
    return "\n".join(lines) + "\n"


def _summary(rows: Iterable[Row]) -> Iterator[str]:
    yield f"{'reached':>11} {'expected':>8}  verdict"
    for row in rows:
        yield f"{f'{row.reached}/{row.tried}':>11} {row.expected:>8}  {'ok' if row.ok else 'WRONG':<7}  {row.name}"


def _grid(report: Report) -> Iterator[str]:
    cells: dict[tuple[Endpoint, Endpoint], list[Try]] = {}
    for one in report.tries:
        cells.setdefault((one.source, one.target), []).append(one)
    width = max(len(point.name) for point in report.points)
    digits = len(str(len(report.points)))
    yield " " * (digits + width + 3) + " ".join(f"{number:>{digits}}" for number in range(1, len(report.points) + 1))
    for number, source in enumerate(report.points, 1):
        marks = (_mark(cells.get((source, target), [])) for target in report.points)
        yield f" {number:>{digits}} {source.name:<{width}} " + " ".join(f"{mark:>{digits}}" for mark in marks)
    yield "row reaches column: + yes, x no, 4 or 6 by that family only"


def _mark(tries: list[Try]) -> str:
    if not tries:
        return "·"
    reached = [one for one in tries if one.reached]
    if len(reached) == len(tries):
        return "+"
    families = {":" in one.address for one in reached}
    return {frozenset({True}): "6", frozenset({False}): "4"}.get(frozenset(families), "x")


def as_json(report: Report) -> str:
    """Give everything for programs."""
    document = {
        "ok": report.ok,
        "rows": [
            {
                "key": row.key,
                "name": row.name,
                "tried": row.tried,
                "reached": row.reached,
                "expected": row.expected,
                "ok": row.ok,
            }
            for row in report.rows
        ],
        "endpoints": [
            {"name": point.name, "kind": point.kind, "node": point.node, "addresses": point.addresses}
            for point in report.points
        ],
        "tries": [
            {"source": one.source.name, "target": one.target.name, "address": one.address, "reached": one.reached}
            for one in report.tries
        ],
        "surprises": report.surprises,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
