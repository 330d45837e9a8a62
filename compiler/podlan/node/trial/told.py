"""What a trial found, for people, for programs, and for CI systems that show test results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from podlan.diagnostics import Severity, printable
from podlan.diagnostics import as_json as findings_as_json
from podlan.node import reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.trial._run import Trial


def as_text(trial: Trial) -> str:
    """Give the pods with their addresses, and the table of who reaches whom."""
    width = max((len(one.name) for one in trial.pods), default=0)
    pods = "".join(f"  {one.name:<{width}}  {', '.join(one.addresses) or 'no address'}\n" for one in trial.pods)
    return f"{trial.node}: pods by {trial.file}\n{pods}{reach.as_text(trial.report)}"


def as_json(trial: Trial) -> str:
    """Give everything; `ok` is what the exit code says, too."""
    pods = [{"name": one.name, "addresses": one.addresses, "mtu": one.mtu} for one in trial.pods]
    findings = json.loads(findings_as_json((*trial.findings, *trial.left)))
    document = {"node": trial.node, "file": trial.file, "pods": pods, **json.loads(reach.as_json(trial.report))}
    return json.dumps({**document, "ok": trial.ok, **findings}, indent=2, ensure_ascii=False) + "\n"


def as_junit(trial: Trial) -> str:
    """Give a test case a row, and one a finding that is an error."""
    cases = list(_cases(trial))
    failures = sum("<failure" in case for case in cases)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<testsuites>\n"
        f'  <testsuite name={quoteattr(f"podlan verify {trial.node}")} tests="{len(cases)}" failures="{failures}" '
        'errors="0" skipped="0">\n'
        f"{''.join(cases)}  </testsuite>\n</testsuites>\n"
    )


def _cases(trial: Trial) -> Iterator[str]:
    for row in trial.report.rows:
        yield _case(trial, f"{row.key}: {row.name}", "\n".join(row.surprises))
    for found in (*trial.findings, *trial.left):
        if found.severity is Severity.ERROR:
            yield _case(trial, f"{found.code} {found.message}", found.hint or found.message)


def _case(trial: Trial, name: str, failure: str) -> str:
    head = f"    <testcase classname={quoteattr(printable(trial.node))} name={quoteattr(printable(name))}"
    if not failure:
        return f"{head}/>\n"
    first, *_ = lines = [printable(line) for line in failure.splitlines()]
    return (
        f"{head}>\n      <failure message={quoteattr(first)}>{escape(chr(10).join(lines))}</failure>\n    </testcase>\n"
    )
