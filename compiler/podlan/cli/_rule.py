"""`podlan rule`: what a code means."""

from __future__ import annotations

import json
import sys

import click

from podlan.audit import CODES as AUDIT
from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, Explanation
from podlan.node.codes import CODES as NODE
from podlan.rules import explanations as of_the_compiler


def explanations() -> dict[str, Explanation]:
    """Give what every code of every command means, sorted by code."""
    node = {code: Explanation(code, row.title, f"Do: {row.hint}") for code, row in NODE.items()}
    audit = {
        code: Explanation(code, row.why, f"{row.severity.value.capitalize()} of the audit.")
        for code, row in AUDIT.items()
    }
    return dict(sorted((of_the_compiler() | node | audit).items()))


@click.command(epilog=EXIT_CODES)
@click.argument("code", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def rule(code: str | None, form: str) -> None:
    """Say what a finding's CODE stands for: what holds, why, and the source. Without CODE, list all.

    \b
    Examples:
      podlan rule PL203
      podlan rule
    """
    known = explanations()
    if code is not None and code.upper() not in known:
        click.echo(f"error: there is no code {code}; `podlan rule` lists all", err=True)
        sys.exit(Exit.FAILED)
    chosen = list(known.values()) if code is None else [known[code.upper()]]
    if form == "json":
        click.echo(json.dumps([{"code": one.code, "title": one.title, "text": one.text} for one in chosen], indent=2))
    elif code is None:
        for one in chosen:
            click.echo(f"{one.code}  {one.title}")
    else:
        click.echo(f"{chosen[0].code}: {chosen[0].title}\n\n{chosen[0].text}")
