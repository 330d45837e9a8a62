"""The lock: the committed file that remembers every slice. One fact a line, sorted bytewise."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from podlan.addressing._ranges import Range
from podlan.diagnostics import Finding, Place, Severity
from podlan.source import FINDINGS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_HEADER = "podlan.lock"
_MARK = re.compile(r"(<{7}|={7}|>{7}|\|{7})( |$)")


class Quarantined(NamedTuple):
    """What a node gave up: a slice, or a shim's address. It belongs to nobody else until a person releases it.

    In the file a shim is a single address and a slice is written as ranges, also where it is one address.
    """

    subnet: str
    node: str
    kind: Literal["slice", "shim"]
    ranges: tuple[Range, ...]

    @property
    def size(self) -> int:
        """Count the addresses."""
        return sum(item.size for item in self.ranges)

    @property
    def text(self) -> str:
        """Write the ranges as the lock's line does."""
        return str(self.ranges[0]) if self.kind == "shim" else ",".join(item.text for item in self.ranges)

    @property
    def line(self) -> str:
        """Write the lock's line."""
        return f"quarantine {self.subnet} {self.node} {self.text}"


NETWORK = "network."
"""Before a subnet's name in `meta`: the secondary network in which its addresses are given."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What was decided before: per (subnet, node) the slice and the shim address, and what is quarantined.

    `places` tells where each slice and shim stands in the file, for messages; it does not take part in comparison.
    """

    meta: dict[str, str] = field(default_factory=dict)
    slices: dict[tuple[str, str], tuple[Range, ...]] = field(default_factory=dict)
    shims: dict[tuple[str, str], Range] = field(default_factory=dict)
    quarantine: frozenset[Quarantined] = frozenset()
    places: dict[tuple[str, ...], Place] = field(default_factory=dict, compare=False)

    def text(self) -> str:
        """Write the lock's file. Text in the order of its characters is bytewise in order, too: so UTF-8 is made."""
        return f"{_HEADER} {VERSION}\n" + "".join(f"{line}\n" for line in sorted(self._lines()))

    def _lines(self) -> Iterator[str]:
        for key, value in self.meta.items():
            yield f"meta {key} {value}"
        for (subnet, node), ranges in self.slices.items():
            yield f"slice {subnet} {node} {','.join(item.text for item in ranges)}"
        for (subnet, node), address in self.shims.items():
            yield f"shim {subnet} {node} {address}"
        yield from (entry.line for entry in self.quarantine)


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
        if len(reader.findings) >= FINDINGS_LIMIT:
            message = f"the lock is not read any further, since {FINDINGS_LIMIT:,} lines are wrong up to here"
            reader.findings.append(Finding("PL016", message, Place(file, number, 1)))
            break
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


def _ranges(text: str) -> tuple[Range, ...]:
    """Read the ranges of a slice: of one family, in order, without a common address."""
    ranges = tuple(Range.parse(item) for item in text.split(","))
    if any(one.family != other.family or one.last >= other.first for one, other in pairwise(ranges)):
        raise ValueError(text)
    return ranges


def _single(text: str) -> Range:
    item = Range.parse(text)
    if item.size != 1:
        raise ValueError(text)
    return item


class _Reader:
    """Reads the lock's lines one by one."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.meta: dict[str, str] = {}
        self.slices: dict[tuple[str, str], tuple[Range, ...]] = {}
        self.shims: dict[tuple[str, str], Range] = {}
        self.quarantine: set[Quarantined] = set()
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
                self.slices[(subnet, node)] = _ranges(ranges)
                return ("slice", subnet, node)
            case ["shim", subnet, node, address]:
                self.shims[(subnet, node)] = _single(address)
                return ("shim", subnet, node)
            case ["quarantine", subnet, node, item]:
                if "-" in item:
                    entry = Quarantined(subnet, node, "slice", _ranges(item))
                else:
                    entry = Quarantined(subnet, node, "shim", (_single(item),))
                self.quarantine.add(entry)
                return ("quarantine", subnet, node, entry.text)
            case _:
                raise ValueError(words)
