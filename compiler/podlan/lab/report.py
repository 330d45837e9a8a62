"""The connectivity matrix against what the plans promise: rows by the names of the how-to's results, text and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.lab.promise import endpoints
from podlan.node import reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podlan.lab.matrix import Try
    from podlan.lab.services import Asked
    from podlan.lab.state import Before, State
    from podlan.node.reach import Endpoint

_GRID = 24
"""Endpoints up to which a grid of all is shown; a larger one is hard to read."""


@dataclass(frozen=True, slots=True)
class Case:
    """A node's part of a row: how much was tried there, and what was not as promised."""

    node: str
    tried: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row(reach.Row):
    """A row, and each node's part of it."""

    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying found; `faults` are those that somebody made on purpose, `reason` is why all else may be."""

    points: tuple[Endpoint, ...]
    tries: tuple[Try, ...]
    services: tuple[Asked, ...]
    rows: tuple[Row, ...]
    faults: tuple[str, ...]
    secured: bool = False

    @property
    def surprises(self) -> tuple[str, ...]:
        """What is not as promised, a sentence each."""
        return tuple(text for row in self.rows for text in row.surprises)

    @property
    def ok(self) -> bool:
        """Whether everything is as the plans promise."""
        return all(row.ok for row in self.rows)

    @property
    def reason(self) -> str:
        """Why things are not as promised, where the lab was built so that they cannot be."""
        return _SECURED if self.secured and not self.ok else ""


def report(
    state: State,
    tries: list[Try],
    macs: dict[str, list[str]],
    services: Sequence[Asked] = (),
    faults: Sequence[str] = (),
) -> Report:
    """Compare what was found with what the plans promise."""
    found: dict[str, list[_Verdict]] = {key: [] for key in _ROWS}
    for verdict in (*_of_tries(tries), *_of_macs(state, macs), *_of_services(services)):
        found[verdict.key].append(verdict)
    rows = [_row(key, verdicts) for key, verdicts in found.items()]
    rows = [_after(state.before, row) if row.key == _WITHOUT else row for row in rows]
    shown = tuple(row for row in rows if row.tried)
    return Report(tuple(endpoints(state)), tuple(tries), tuple(services), shown, tuple(faults), state.secured)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One try of a row, where it was made, and a sentence if it did not go as promised."""

    key: str
    node: str
    reached: bool
    expected: bool
    text: str


_WITHOUT = "pod-and-own-without"
_SECURED = (
    "the switch takes one MAC a port (--port-security): what pods and shims send with theirs never leaves their node;"
    " macvlan needs ports that take as many MACs as a node has pods, and one for its shim"
)

# The first four are the how-to's results, under its own names too, and the fifth is what host access adds to them.
_ROWS = {
    "pods-apart": "pods on different hosts (跨主机容器互通)",
    "pods-together": "pods on the same host (同一宿主机的容器互通)",
    "pod-and-other": "pods and other nodes (容器和其他节点互通)",
    _WITHOUT: "pods and their own host, without host access (容器和宿主机不互通)",
    "pod-and-own": "pods and their own host, with host access (容器和宿主机互通)",
    "pod-and-own-reflected": "pods and their own host, by way of the switch (mode vepa)",
    "pods-routed": "pods in different subnets (through the gateway)",
    "hosts-routed": "hosts and others in different subnets (through the gateway)",
    "pod-and-gateway": "pods and the gateway",
    "hosts": "hosts and hosts",
    "host-and-gateway": "hosts and the gateway",
    "macs": "one MAC answers for an IPv4 address",
    "services": "pods and Services (own node, other node, itself)",
    "host-services": "hosts and Services (own node, other node)",
}


def _of_tries(tries: Iterable[Try]) -> Iterator[_Verdict]:
    for one in tries:
        text = "" if one.reached == one.path.works else reach.surprise(one)
        yield _Verdict(_kind(one), one.source.node or one.source.name, one.reached, one.path.works, text)


def _of_macs(state: State, macs: dict[str, list[str]]) -> Iterator[_Verdict]:
    owners = {address: point for point in endpoints(state) for address in point.addresses}
    for address, found in macs.items():
        single = len(found) == 1
        owner = owners[address]
        text = "" if single else f"{address} is answered by {', '.join(found) or 'nobody'}; it is {owner.name}'s"
        yield _Verdict("macs", owner.node, reached=single, expected=True, text=text)


def _of_services(services: Iterable[Asked]) -> Iterator[_Verdict]:
    for one in services:
        expected = one.question.expected
        text = "" if one.reached == expected else _unserved(one)
        key = "host-services" if one.by_host else "services"
        yield _Verdict(key, one.question.node, one.reached, expected, text)


def _kind(one: Try) -> str:
    kinds = {one.source.kind, one.target.kind}
    if "gateway" in kinds:
        return "pod-and-gateway" if "pod" in kinds else "host-and-gateway"
    if one.path.kind == "child" or one.path.by_access:
        return "pod-and-own"
    if one.path.kind == "own":
        return "pod-and-own-reflected" if one.path.works else _WITHOUT
    if one.path.kind == "routed":
        return "pods-routed" if kinds == {"pod"} else "hosts-routed"
    if kinds == {"pod"}:
        return "pods-together" if one.source.node == one.target.node else "pods-apart"
    return "hosts" if kinds == {"node"} else "pod-and-other"


def _row(key: str, verdicts: list[_Verdict]) -> Row:
    nodes: dict[str, list[_Verdict]] = {}
    for one in verdicts:
        nodes.setdefault(one.node, []).append(one)
    cases = tuple(Case(node, len(own), tuple(one.text for one in own if one.text)) for node, own in nodes.items())
    reached, promised = sum(one.reached for one in verdicts), sum(one.expected for one in verdicts)
    wrong = tuple(text for case in cases for text in case.wrong)
    return Row(key, _ROWS[key], len(verdicts), reached, promised, wrong, cases)


def _after(before: Before, row: Row) -> Row:
    """Count what was tried while the nodes had no host access, too."""
    if not before.tried:
        return row
    wrong = tuple(f"without host access {reached} was reached all the same" for reached in before.reached)
    cases = (Case("all nodes", before.tried, wrong), *row.cases)
    tried, reached = row.tried + before.tried, row.reached + len(wrong)
    return Row(row.key, row.name, tried, reached, row.expected, (*wrong, *row.surprises), cases)


def _unserved(one: Asked) -> str:
    verb = "gets an answer from" if one.reached else "gets no answer from"
    service = one.question.service
    where = f"Service {service.address} port {service.port}/{one.protocol}, which is {service.pod}"
    return f"{one.question.source} {verb} {where}" + (", which its plan does not promise" if one.reached else "")


def as_text(report: Report, *, grid: bool | None = None) -> str:
    """Give the summary, the grid (None: if it is small) and the surprises for people."""
    lines = [*reach.summary(report.rows), ""]
    if grid or (grid is None and len(report.points) <= _GRID):
        lines += [*reach.grid(report.points, report.tries), ""]
    else:
        lines += [f"no grid of {len(report.points)} names: --grid shows it, --format json has every try", ""]
    lines += reach.verdict(report.surprises)
    if report.reason:
        lines.append(report.reason)
    if report.faults:
        lines += ["faults, until 'podlan lab fault mend':", *(f"  {text}" for text in report.faults)]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    """Give everything for programs."""
    document = {
        "ok": report.ok,
        **reach.document(report.rows, report.points, report.tries),
        "services": [
            {
                "source": one.question.source,
                "target": one.question.service.pod,
                "address": one.question.service.address,
                "port": one.question.service.port,
                "protocol": one.protocol,
                "reached": one.reached,
            }
            for one in report.services
        ],
        "surprises": report.surprises,
        "faults": report.faults,
        "reason": report.reason,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
