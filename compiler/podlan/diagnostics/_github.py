"""Findings as workflow commands, which GitHub shows beside the lines of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics._finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics._finding import Finding

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def github(findings: Iterable[Finding]) -> str:
    """Give one `::error file=...::message` a finding that is not silenced; every place is within one line."""
    ordered = sorted((one for one in findings if not one.silenced), key=lambda finding: finding.sort_key)
    return "".join(f"{_command(finding)}\n" for finding in ordered)


def _command(finding: Finding) -> str:
    properties = {"title": finding.code}
    place = finding.place
    if place is not None:
        properties |= {
            "file": place.file,
            "line": str(place.line),
            "col": str(place.column),
            "endColumn": str(place.column + place.length),
        }
    shown = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    lines = [finding.message, *(f"{other}: {other.label}" for other in finding.also)]
    if finding.hint:
        lines.append(f"hint: {finding.hint}")
    text = "\n".join(lines)
    return f"::{_LEVELS[finding.severity]} {shown}::{_data(text)}"


def _data(text: str) -> str:
    """Escape as the runner's toolkit does (actions/toolkit, core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
