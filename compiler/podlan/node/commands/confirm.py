"""`podlan confirm`: keep what a reconcile that waits has changed."""

from __future__ import annotations

import click

from podlan.diagnostics import Exit
from podlan.node.commands._options import root_option


@click.command()
@root_option()
@click.pass_context
def confirm(ctx: click.Context, root: str) -> None:
    """Keep what podlan reconcile --confirm has changed; run it from any shell, best from a new session.

    Exits with 0 if the changes stay, with 1 if nothing waits for it, be it that the time was over.
    """
    from podlan.node.confirm import accept, waiting  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.files import Root  # noqa: PLC0415 - as above
    from podlan.node.lock import is_held  # noqa: PLC0415 - as above

    place = Root(root)
    found = waiting(place)
    if found is not None and not is_held(place) and waiting(place) == found:  # unless it has just ended
        click.echo("error: the run that waited was lost; the next podlan reconcile takes it back first", err=True)
        ctx.exit(Exit.FAILED)
    if found is None or not accept(place):
        click.echo("error: no reconcile waits to be confirmed; podlan status tells what podlan has here", err=True)
        ctx.exit(Exit.FAILED)
    click.echo(f"confirmed: {found.node} keeps its network as it is now")
