"""`podlan status`: what podlan has on this node, and what is unfinished."""

from __future__ import annotations

import json

import click

from podlan.diagnostics import printable
from podlan.node.commands._options import root_option


@click.command()
@root_option()
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(root: str, form: str) -> None:
    """Tell what podlan has on this node, whether a run waits to be confirmed or was killed, and what is to restart.

    Reads podlan's own records only; podlan reconcile --check compares the node itself with its plan.
    """
    from podlan.node.files import Root  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.status import look  # noqa: PLC0415 - as above

    found = look(Root(root))
    if form == "json":
        click.echo(json.dumps(found.document(), indent=2, ensure_ascii=False))
        return
    for line in str(found).splitlines():
        click.echo(printable(line))
