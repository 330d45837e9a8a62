"""Findings that the inventory silences, at the place they concern and with a reason; and silencings of nothing."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity, has_errors
from podlan.source import dotted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podlan.source import KeyPath, Source

_KEY = "silence"
_ELSEWHERE = ("PL6", "PL7")
"""Codes of the node and of the audit, which know no inventory."""
_CODE = re.compile(r"PL[0-9]{3}")
_SECTIONS = ("subnets", "masters", "profiles", "nodes")
_PARTS = ("cluster", "cni")


def silenced(source: Source, findings: list[Finding], codes: Collection[str]) -> list[Finding]:
    """Mark the findings that a `silence` above them names, and report every silencing that does nothing.

    A warning or note is above by its own place, or, where that is not in the inventory, by the first of its other
    places that is. Errors are never silenced. Whether a silencing has nothing to silence is known only of a site
    without errors: an error may keep a rule from speaking. `codes` are all that there are.
    """
    reasons = dict(_silencings(source))
    if not reasons:
        return findings
    used: set[tuple[KeyPath, str]] = set()
    erring: set[tuple[KeyPath, str]] = set()
    result = []
    for finding in findings:
        key = next((key for key in _above(finding) if key in reasons), None)
        if key is None:
            result.append(finding)
        elif finding.severity is Severity.ERROR:
            erring.add(key)
            result.append(finding)
        else:
            used.add(key)
            result.append(replace(finding, silenced=reasons[key]))
    for holder, code in reasons:
        if (holder, code) not in used and (told := _idle(code, codes, findings, is_error=(holder, code) in erring)):
            place = source.place((*holder, _KEY, code), key=True)
            result.append(Finding("PL801", told[0], place, Severity.WARNING, told[1]))
    return result


def _idle(code: str, codes: Collection[str], findings: list[Finding], *, is_error: bool) -> tuple[str, str] | None:
    """Say why a silencing does nothing, and what to do; None where only a site without errors could tell."""
    if code.startswith(_ELSEWHERE):
        return f"{code} is not told of an inventory", "remove it"
    if code not in codes:
        near = difflib.get_close_matches(code, codes, n=1)
        return f"there is no rule {code}", f"did you mean {near[0]}?" if near else "`podlan rule` lists all"
    if is_error:
        return f"{code} is an error, and errors are not silenced", "repair it, and remove the silencing"
    if has_errors(findings):
        return None
    at = next((next(_above(one))[0] for one in findings if one.code == code), ())
    hint = f"it is found at {dotted(at)}: silence it there or above" if at else "remove it"
    return f"{code} has nothing to silence here", hint


def _above(finding: Finding) -> Iterator[tuple[KeyPath, str]]:
    """Give where a finding may be silenced, from the nearest; the whole site comes last."""
    places = () if finding.place is None else (finding.place, *finding.also)
    path = next((place.path for place in places if place.path), ())
    for depth in range(len(path), -1, -1):
        yield path[:depth], finding.code


def _silencings(source: Source) -> Iterator[tuple[tuple[KeyPath, str], str]]:
    """Give every silencing that is written: where it stands, its code, its reason."""
    for holder in _holders(source):
        written = source.get((*holder, _KEY))
        if isinstance(written, dict):
            for code, reason in written.items():
                if isinstance(reason, str) and _CODE.fullmatch(code):  # anything else is an error of shape
                    yield (holder, code), reason


def _holders(source: Source) -> Iterator[KeyPath]:
    yield ()
    for part in _PARTS:
        yield (part,)
    for section in _SECTIONS:
        entries = source.data.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict):
                yield section, name
                yield from ((section, name, part) for part in _PARTS if part in entry)
