"""`podlan diff`, `explain` and `show`."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, as_json, text

if TYPE_CHECKING:
    from podlan import pipeline
    from podlan.diagnostics import Finding

# A run reads, prints and ends; collecting garbage in between costs a third of it and finds nothing.
gc.disable()

_site = click.argument("site", type=click.Path(exists=True, path_type=Path))
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)


@click.command(epilog=EXIT_CODES)
@click.argument("old")
@click.argument("new")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="How to print; markdown fits a pull request's comment.",
)
def diff(old: str, new: str, form: str) -> None:
    r"""Tell what changes on which node from OLD to NEW, and what it costs; exit 3 if anything does.

    OLD and NEW are sites, which are compiled in memory, outputs, or either in a git revision, as REV:PATH.

    \b
    Examples:
      podlan diff main:site site                    what this branch changes
      podlan diff main:site site --format markdown  the same as a comment for its pull request
      podlan diff output /tmp/output
    """
    from podlan.review import differences, sides, telling  # noqa: PLC0415 - the other commands need none of it

    try:
        result = differences.review(sides.load(old), sides.load(new))
    except sides.SiteHasErrors as error:
        if form != "json":
            click.echo(f"error: {error}", err=True)
        _refuse(error.findings, error.texts, form)
    if form == "text":
        click.echo(telling.as_text(result, colour=_colour()), nl=False, color=True)
    else:
        click.echo(telling.FORMS[form](result), nl=False)
    sys.exit(Exit.DIFFERS if result else Exit.DONE)


@click.command(epilog=EXIT_CODES)
@_site
@click.argument("path")
@_format
def explain(site: Path, path: str, form: str) -> None:
    r"""Tell where a value of SITE comes from, or whose an address is and why.

    PATH is written as in findings, names with dots or dashes quoted. What applies to a node can be asked at the
    node, wherever it is written.

    \b
    Examples:
      podlan explain site 'nodes["node-2"].ranges'
      podlan explain site 'nodes["node-2"].cluster.kubernetes'
      podlan explain site masters.uplink.podsPerNode
      podlan explain site 172.16.129.120
    """
    from podlan.review import explaining  # noqa: PLC0415 - the other commands need none of it

    answer = explaining.explain(_checked(site, form), path)
    click.echo(explaining.as_json(answer) if form == "json" else explaining.as_text(answer), nl=False)


@click.command(epilog=EXIT_CODES)
@_site
@click.option("--map", "draw", is_flag=True, help="Draw each subnet, one cell an address or a block of them.")
@_format
def show(site: Path, *, draw: bool, form: str) -> None:
    """Show SITE's subnets, how full they are, and every node's slice."""
    from podlan.review import showing  # noqa: PLC0415 - the other commands need none of it

    checked = _checked(site, form)
    if form == "json":
        click.echo(showing.as_json(checked, draw=draw), nl=False)
    else:
        click.echo(showing.as_text(checked, draw=draw, colour=_colour()), nl=False, color=True)


def _checked(site: Path, form: str) -> pipeline.Checked:
    from podlan import pipeline  # noqa: PLC0415 - two outputs are compared without pydantic

    checked = pipeline.check(site)
    if checked.failed or checked.allocation is None:
        _refuse(checked.findings, checked.source.texts, form)
    return checked


def _refuse(findings: list[Finding], texts: dict[str, str], form: str) -> NoReturn:
    """End on a site that is wrong, with everything that is."""
    if form == "json":
        click.echo(as_json(findings), nl=False)
    else:
        colour = os.isatty(2) and "NO_COLOR" not in os.environ
        click.echo(text(findings, texts, colour=colour), nl=False, err=True, color=True)
    sys.exit(Exit.FAILED)


def _colour() -> bool:
    return os.isatty(1) and "NO_COLOR" not in os.environ
