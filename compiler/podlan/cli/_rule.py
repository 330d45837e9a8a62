"""`podlan rule`: what a code means."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from podlan.audit import CODES as AUDIT
from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, Explanation, Severity
from podlan.node.codes import explanations as of_the_node
from podlan.rules import explanations as of_the_compiler

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUPS = {
    "PL0": "Reading the files",
    "PL1": "The shape of an inventory",
    "PL2": "Addresses",
    "PL3": "References and combinations",
    "PL4": "Versions and settings",
    "PL5": "The lock",
    "PL6": "On the node",
    "PL7": "The audit",
    "PL8": "Silencing",
}
"""The codes' kinds, by how they begin."""
_A = {Severity.ERROR: "An error", Severity.WARNING: "A warning", Severity.NOTE: "A note"}
_WIDEST = 100
_ALIKE = 0.6
_KIND = len(next(iter(GROUPS)))
_PARTS = ("What", "Why", "Source", "Example", "Instead", "Do")


def explanations() -> dict[str, Explanation]:
    """Give what every code of every command means, sorted by code."""
    audit = {
        code: Explanation(code, row.title, f"{_A[row.severity]} of the audit.\nWhy: {row.why}.\nDo: {row.repair}.")
        for code, row in AUDIT.items()
    }
    return dict(sorted((of_the_compiler() | of_the_node() | audit).items()))


def grouped(known: dict[str, Explanation]) -> dict[str, list[Explanation]]:
    """Give the explanations by the names of their groups."""
    return {name: [one for code, one in known.items() if code.startswith(key)] for key, name in GROUPS.items()}


@click.command(epilog=EXIT_CODES)
@click.argument("code", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def rule(code: str | None, form: str) -> None:
    """Say what a finding's CODE stands for: what holds, why, an example and its repair. Without CODE, list all.

    \b
    Examples:
      podlan rule PL203
      podlan rule
    """
    known = explanations()
    if code is not None and code.upper() not in known:
        near = _nearest(code.upper(), known)
        way = f"did you mean {near}?" if near else "`podlan rule` lists all"
        click.echo(f"error: there is no code {code}; {way}", err=True)
        sys.exit(Exit.FAILED)
    chosen = list(known.values()) if code is None else [known[code.upper()]]
    colour = False if "NO_COLOR" in os.environ else None  # None: on a terminal only
    if form == "json":
        click.echo(json.dumps([_as_values(one) for one in chosen], indent=2, ensure_ascii=False))
    elif code is None:
        lists = ("\n".join((_bold(name), *map(_line, ones))) for name, ones in grouped(known).items())
        click.echo("\n\n".join(lists), color=colour)
    else:
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        click.echo(f"{_bold(f'{chosen[0].code}: {chosen[0].title}')}\n\n{chosen[0].plain(width)}", color=colour)


def _nearest(asked: str, known: Iterable[str]) -> str:
    """Give the code that looks most like what was asked for; of several, the one that begins alike. '' if none does."""
    likeness = {
        code: (difflib.SequenceMatcher(None, asked, code).ratio(), code[:_KIND] == asked[:_KIND]) for code in known
    }
    best = max(likeness, key=likeness.__getitem__)
    return best if likeness[best][0] >= _ALIKE else ""


def _bold(text: str) -> str:
    return click.style(text, bold=True)


def _line(explanation: Explanation) -> str:
    return f"  {explanation.code}  {explanation.title}"


def _as_values(explanation: Explanation) -> dict[str, str]:
    parts = explanation.parts
    values = {name.lower(): textwrap.dedent(parts.get(name, "")) for name in _PARTS}
    return {"code": explanation.code, "title": explanation.title, **values}
