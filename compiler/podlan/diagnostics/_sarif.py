"""Findings as SARIF 2.1.0, the format that code hosts and editors read (OASIS, docs.oasis-open.org/sarif)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podlan.diagnostics._explanation import Explanation
    from podlan.diagnostics._finding import Finding, Place

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Iterable[Finding], explanations: Mapping[str, Explanation], version: str) -> str:
    """Give one run of podlan as a SARIF log; every code that occurs is described by its explanation."""
    ordered = sorted(findings, key=lambda finding: finding.sort_key)
    codes = sorted({finding.code for finding in ordered})
    driver = {
        "name": "podlan",
        "semanticVersion": version,
        "rules": [_rule(code, explanations.get(code)) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        # Columns here count characters, as people and editors do; SARIF's own default is UTF-16 units.
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in ordered],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str, explanation: Explanation | None) -> dict[str, Any]:
    if explanation is None:
        return {"id": code}
    return {
        "id": code,
        "shortDescription": {"text": explanation.title},
        "fullDescription": {"text": explanation.parts.get("What", explanation.title)},
        "help": {"text": explanation.plain(), "markdown": explanation.markdown()},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    hint = f" ({finding.hint})" if finding.hint else ""
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity.value,
        "message": {"text": f"{finding.message}{hint}"},
    }
    if finding.place is not None:
        result["locations"] = [_location(finding.place)]
    if finding.silenced:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.silenced}]
    if finding.also:
        result["relatedLocations"] = [
            {"id": number, **_location(place), "message": {"text": place.label or "see also"}}
            for number, place in enumerate(finding.also, 1)
        ]
    return result


def _location(place: Place) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(place.file)},
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.column + place.length,
            },
        }
    }
