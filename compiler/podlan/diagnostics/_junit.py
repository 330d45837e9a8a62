"""Findings as JUnit XML, for CI systems that show test results."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from podlan.diagnostics._finding import Severity
from podlan.diagnostics._text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics._finding import Finding


def junit(findings: Iterable[Finding]) -> str:
    """Give a test case a finding: errors are failures, silenced ones skipped, the rest passes with its text as output.

    Without any finding there is one case, which passes: a suite of none looks like a suite that did not run.
    """
    ordered = sorted(findings, key=lambda finding: finding.sort_key)
    cases = [_case(finding) for finding in ordered] or ['    <testcase classname="podlan" name="no findings"/>\n']
    skipped = sum(bool(finding.silenced) for finding in ordered)
    failures = sum(finding.severity is Severity.ERROR for finding in ordered)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<testsuites>\n"
        f'  <testsuite name="podlan" tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}">\n'
        f"{''.join(cases)}  </testsuite>\n</testsuites>\n"
    )


def _case(finding: Finding) -> str:
    place = str(finding.place) if finding.place else "podlan"
    name = quoteattr(printable(f"{finding.code} {finding.message}"))
    lines = [f"{place}: {finding.severity.value}[{finding.code}]: {finding.message}"]
    lines += [f"{other}: {other.label}" for other in finding.also]
    if finding.hint:
        lines.append(f"hint: {finding.hint}")
    text = escape("\n".join(printable(line) for line in lines))
    head = f"    <testcase classname={quoteattr(printable(place))} name={name}>"
    if finding.severity is Severity.ERROR:
        kind = f"type={quoteattr(finding.code)} message={quoteattr(printable(finding.message))}"
        return f"{head}\n      <failure {kind}>{text}</failure>\n    </testcase>\n"
    if finding.silenced:
        return f"{head}\n      <skipped message={quoteattr(printable(finding.silenced))}/>\n    </testcase>\n"
    return f"{head}\n      <system-out>{text}</system-out>\n    </testcase>\n"
