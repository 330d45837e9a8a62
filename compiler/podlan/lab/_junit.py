"""The connectivity matrix as JUnit XML: a suite a row, and in it a case a node.

A case for every pair would be 64,000 of them for 256 addresses, of which CI systems show none well; a case for every
row would not say where to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from podlan.diagnostics import printable

if TYPE_CHECKING:
    from podlan.lab.report import Case, Report, Row

_MOST = 50
"""Sentences in a failure."""

# A file of no suites looks like tests that did not run.
_NOTHING = """\
  <testsuite name="podlan.lab" tests="1" failures="0" errors="0" skipped="0">
    <testcase classname="podlan.lab" name="nobody to reach"/>
  </testsuite>
"""


def junit(report: Report) -> str:
    """Give the report for CI systems that show test results; a fault that was made stands in every failure."""
    suites = "".join(_suite(row, report.faults) for row in report.rows) or _NOTHING
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{suites}</testsuites>\n'


def _suite(row: Row, faults: tuple[str, ...]) -> str:
    failures = sum(bool(case.wrong) for case in row.cases)
    cases = "".join(_case(row, case, faults) for case in row.cases)
    name = quoteattr(printable(row.name))
    counts = f'tests="{len(row.cases)}" failures="{failures}" errors="0" skipped="0"'
    return f"  <testsuite name={name} {counts}>\n{cases}  </testsuite>\n"


def _case(row: Row, case: Case, faults: tuple[str, ...]) -> str:
    name = quoteattr(printable(f"{case.node}: {row.name}"))
    head = f'    <testcase classname="podlan.lab.{row.key}" name={name}'
    if not case.wrong:
        return f"{head}/>\n"
    more = [f"… and {len(case.wrong) - _MOST} more"] if len(case.wrong) > _MOST else []
    lines = [*case.wrong[:_MOST], *more, *(f"fault: {fault}" for fault in faults)]
    message = quoteattr(f"{len(case.wrong)} of {case.tried} not as the plans promise")
    text = escape("\n".join(printable(line) for line in lines))
    return f'{head}>\n      <failure type="{row.key}" message={message}>{text}</failure>\n    </testcase>\n'
