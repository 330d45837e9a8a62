"""What a run did, or in a preview would do, in words or as JSON; remarks go to stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from podlan.diagnostics import Severity, as_json, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics import Finding
    from podlan.node.run import Result


def remark(findings: Iterable[Finding], *, quiet: bool, verbose: bool) -> None:
    """Say what was found; `quiet` leaves errors only, `verbose` says what to do about each."""
    for found in findings:
        if not quiet or found.severity is Severity.ERROR:
            hint = f"; {found.hint}" if verbose and found.hint else ""
            click.echo(f"{found.severity.value}[{found.code}]: {printable(found.message)}{hint}", err=True)


def show(result: Result, *, preview: bool, nothing: str, later: str = "the next run tries again") -> None:
    """Print the operations in order; `nothing` is said where there are none, `later` of commands that are left.

    A preview's lines are for sh to run: what is not a command is a comment.
    """
    for line in result.operations:
        click.echo(line if preview else f"+ {line}")
    for line in result.restarted:
        click.echo(f"+ {line}")
    for line in result.by_hand:
        click.echo(f"to do by hand: {line}")
    for line in result.pending:
        click.echo(f"# {later}: {line}")
    if result.idle:
        click.echo(f"{'# ' if preview else ''}{nothing}")


def show_json(result: Result, *, preview: bool, **more: object) -> None:
    """Print all of it as one document; `more` is what only one command has to say of a node."""
    document = {
        "node": result.node,
        **more,
        "changed": result.changed and not preview,
        "differs": preview and not result.idle,
        "operations": list(result.operations),
        "restarted": list(result.restarted),
        "byHand": list(result.by_hand),
        "pending": list(result.pending),
        **json.loads(as_json(result.findings)),
    }
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
