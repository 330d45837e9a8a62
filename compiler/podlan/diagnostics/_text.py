"""Findings as text: `file:line:col`, the source line, a caret, the other places, the hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics._finding import Finding, Place, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_COLOURS = {Severity.ERROR: "\033[1;31m", Severity.WARNING: "\033[1;33m", Severity.NOTE: "\033[1;36m"}
_RESET = "\033[0m"
_EXCERPT_WIDTH = 160


def text(findings: Iterable[Finding], sources: Mapping[str, str], *, colour: bool = False, most: int = 100) -> str:
    """Print findings sorted by place, at most `most` of them, and a line that counts them.

    Silenced findings are counted only.
    `sources` maps a file's name, as in the places, to its text; a place in a file that is not there is
    shown without an excerpt.
    """
    ordered = sorted(findings, key=lambda finding: finding.sort_key)
    silenced = sum(bool(finding.silenced) for finding in ordered)
    ordered = [finding for finding in ordered if not finding.silenced]
    named = {place.file for finding in ordered[:most] for place in _places(finding)}
    lines = {name: sources[name].splitlines() for name in named & sources.keys()}
    blocks = ["\n".join(_block(finding, lines, colour=colour)) for finding in ordered[:most]]
    if len(ordered) > most:
        blocks.append(f"… and {len(ordered) - most} more")
    blocks.append(_count(ordered, silenced))
    return "\n".join(blocks) + "\n"


def _places(finding: Finding) -> Iterator[Place]:
    if finding.place is not None:
        yield finding.place
    yield from finding.also


def _block(finding: Finding, lines: Mapping[str, list[str]], *, colour: bool) -> Iterator[str]:
    where = f"{finding.place}: " if finding.place else ""
    kind = f"{finding.severity.value}[{finding.code}]"
    if colour:
        kind = f"{_COLOURS[finding.severity]}{kind}{_RESET}"
    yield f"{where}{kind}: {printable(finding.message)}"
    if finding.place is not None:
        yield from _excerpt(finding.place, lines)
    for place in finding.also:
        yield f"  {place}: {place.label}"
        yield from _excerpt(place, lines)
    if finding.hint:
        yield f"  hint: {printable(finding.hint)}"


def _excerpt(place: Place, lines: Mapping[str, list[str]]) -> Iterator[str]:
    body = lines.get(place.file, [])
    if not 1 <= place.line <= len(body):
        return
    line = body[place.line - 1]
    start = max(0, place.column - 1 - _EXCERPT_WIDTH // 2) if len(line) > _EXCERPT_WIDTH else 0
    # Tabs and control characters would move the caret, or the terminal's cursor.
    shown = printable(line[start : start + _EXCERPT_WIDTH].replace("\t", " ")).rstrip()
    indent = place.column - 1 - start
    caret = "^" * max(1, min(place.length, len(shown) - indent))
    yield f"{place.line:>6} | {shown}"
    yield f"       | {' ' * indent}{caret}"


def printable(line: str) -> str:
    """Replace what would not stay on its line, one character for one, so that columns still hold."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def _count(findings: list[Finding], silenced: int) -> str:
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    told = [f"{number} {severity.value}{'s' * (number != 1)}" for severity, number in counts.items() if number]
    return ", ".join([*told, f"{silenced} silenced"] if silenced else told)
