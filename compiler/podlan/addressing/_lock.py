"""The lock: the committed file that remembers every slice. One fact a line, sorted bytewise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.addressing._ranges import Range
from podlan.diagnostics import Finding, Place, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_HEADER = "podlan.lock"
_MARK = re.compile(r"(<{7}|={7}|>{7}|\|{7})( |$)")


@dataclass(frozen=True, slots=True)
class Lock:
    """What was decided before: per (subnet, node) the slice and the shim address, and who is quarantined.

    `places` tells where each slice and shim stands in the file, for messages; it does not take part in comparison.
    """

    meta: dict[str, str] = field(default_factory=dict)
    slices: dict[tuple[str, str], tuple[Range, ...]] = field(default_factory=dict)
    shims: dict[tuple[str, str], Range] = field(default_factory=dict)
    quarantine: frozenset[tuple[str, str, Range]] = frozenset()
    places: dict[tuple[str, ...], Place] = field(default_factory=dict, compare=False)

    def text(self) -> str:
        """Write the lock's file."""
        return f"{_HEADER} {VERSION}\n" + "".join(f"{line}\n" for line in sorted(self._lines(), key=str.encode))

    def _lines(self) -> Iterator[str]:
        for key, value in self.meta.items():
            yield f"meta {key} {value}"
        for (subnet, node), ranges in self.slices.items():
            yield f"slice {subnet} {node} {','.join(item.text for item in ranges)}"
        for (subnet, node), address in self.shims.items():
            yield f"shim {subnet} {node} {address}"
        for subnet, node, item in self.quarantine:
            yield f"quarantine {subnet} {node} {item.text}"


def read_lock(file: str, text: str) -> tuple[Lock, list[Finding]]:
    """Read a lock's text; with an error among the findings the lock must not be used.

    A lock with the marks of an unresolved merge is read as the union of both sides: every line is a fact that
    somebody decided, and where two contradict each other the allocation says so.
    """
    lines = list(enumerate(text.splitlines(), 1))
    marks = [number for number, line in lines if _MARK.match(line)]
    findings = [_merged(file, marks)] if marks else []
    facts = _union(lines) if marks else lines
    if not facts or facts[0][1].split() != [_HEADER, str(VERSION)]:
        return Lock(), [*findings, _bad_header(file, facts[0][1] if facts else "")]
    reader = _Reader(file)
    for number, line in facts[1:]:
        reader.read(number, line)
    lock = Lock(reader.meta, reader.slices, reader.shims, frozenset(reader.quarantine), reader.places)
    return lock, [*findings, *reader.findings]


def _union(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Take the lines of both sides once; what diff3 shows of the common ancestor is neither side's."""
    kept: dict[str, int] = {}
    is_ancestor = False
    for number, line in lines:
        if _MARK.match(line):
            is_ancestor = line.startswith("|")
        elif not is_ancestor:
            kept.setdefault(line, number)
    return [(number, line) for line, number in kept.items()]


def _merged(file: str, marks: list[int]) -> Finding:
    return Finding(
        "PL502",
        "the lock holds the marks of a merge: both sides are read, and compile writes it anew",
        Place(file, marks[0], 1, 7),
        Severity.NOTE,
    )


def _bad_header(file: str, line: str) -> Finding:
    words = line.split()
    if len(words) == 2 and words[0] == _HEADER and words[1].isdigit():  # noqa: PLR2004 - name and version
        message = f"the lock is of version {words[1]}; this podlan reads version {VERSION}"
        return Finding("PL501", message, Place(file, 1, 1), hint="use a podlan that is at least as new as the lock")
    message = f"the lock does not begin with `{_HEADER} {VERSION}`"
    return Finding("PL501", message, Place(file, 1, 1), hint="restore it from version control: it says who has what")


class _Reader:
    """Reads the lock's lines one by one."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.meta: dict[str, str] = {}
        self.slices: dict[tuple[str, str], tuple[Range, ...]] = {}
        self.shims: dict[tuple[str, str], Range] = {}
        self.quarantine: set[tuple[str, str, Range]] = set()
        self.places: dict[tuple[str, ...], Place] = {}
        self.findings: list[Finding] = []

    def read(self, number: int, line: str) -> None:
        place = Place(self.file, number, 1, max(1, len(line)))
        words = line.split(" ")
        try:
            key = self._take(words)
        except ValueError:
            message = f"the lock does not understand this line: {line[:80]!r}"
            hint = "restore the line from version control, or delete it if no pod of that node is alive"
            self.findings.append(Finding("PL501", message, place, hint=hint))
            return
        if key in self.places and key[0] != "quarantine":
            message = f"the lock says twice what it keeps for {' '.join(key[1:])}"
            first = self.places[key].labelled("first said here")
            self.findings.append(Finding("PL501", message, place, hint="keep the line that is true", also=(first,)))
        self.places.setdefault(key, place)

    def _take(self, words: list[str]) -> tuple[str, ...]:
        match words:
            case ["meta", name, value]:
                self.meta[name] = value
                return ("meta", name)
            case ["slice", subnet, node, ranges]:
                self.slices[(subnet, node)] = tuple(Range.parse(item) for item in ranges.split(","))
                return ("slice", subnet, node)
            case ["shim", subnet, node, address]:
                self.shims[(subnet, node)] = Range.parse(address)
                return ("shim", subnet, node)
            case ["quarantine", subnet, node, item]:
                self.quarantine.add((subnet, node, Range.parse(item)))
                return ("quarantine", subnet, node, item)
            case _:
                raise ValueError(words)
