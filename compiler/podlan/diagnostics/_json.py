"""Findings as JSON, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics._finding import Finding, Place


def as_json(findings: Iterable[Finding]) -> str:
    """Give `{"findings": [...]}`, sorted by place; every finding has every key."""
    ordered = sorted(findings, key=lambda finding: finding.sort_key)
    return json.dumps({"findings": [_finding(finding) for finding in ordered]}, indent=2, ensure_ascii=False) + "\n"


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": finding.message,
        "hint": finding.hint,
        "place": None if finding.place is None else _place(finding.place),
        "also": [_place(place) for place in finding.also],
        "silenced": finding.silenced,
    }


def _place(place: Place) -> dict[str, object]:
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "length": place.length,
        "label": place.label,
        "path": list(place.path),
    }
