"""`podlan lab exec`, `shell` and `list`: from outside into a lab."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from podlan.lab import inside, state, which
from podlan.lab.errors import ForeignLab
from podlan.lab.state import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

_name = click.option("--name", help="Name of the lab.  [default: from SITE's path, else the only one]")
_REST = "podlan.lab.rest"


class Rest(click.Command):
    """A command whose words after `--` are another command's, untouched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put aside what follows the first `--`."""
        own = args
        if "--" in args:
            at = args.index("--")
            own, ctx.meta[_REST] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, own)


def split(words: Sequence[str], wanted: str) -> tuple[Path | None, str]:
    """Take [SITE] and one word more off a command's arguments."""
    *site, word = words
    if len(site) > 1:
        raise click.UsageError(f"too many words before --: give [SITE] {wanted}.")
    return (Path(site[0]) if site else None), word


@click.command(cls=Rest, name="exec", short_help="Run a command on a node or in a pod of a lab.")
@click.argument("words", metavar="[SITE] PLACE -- COMMAND...", nargs=-1, required=True)
@_name
@click.pass_context
def exec_(ctx: click.Context, words: tuple[str, ...], name: str | None) -> NoReturn:
    """Run COMMAND in PLACE: NODE, NODE/POD, gateway or switch; `podlan lab list -v` names them all.

    It has this terminal, gets its keys and signals, and its exit code is this command's (127: there is no such
    program, 126: it cannot be run). podlan and the machine's programs are there; files can be written only where
    a node has its own, and pods have their node's.

    \b
    Examples:
      podlan lab exec node-1 -- podlan reconcile --check
      podlan lab exec node-1/pod-1 -- ping -c1 172.16.129.101
      podlan lab exec --name site-1b2c3d4e gateway -- ip neighbour
      podlan lab exec site node-1 -- sh -c 'ip address; ip route'
    """
    command = ctx.meta.get(_REST)
    if not command:
        raise click.UsageError("what to run comes after --, as in: podlan lab exec node-1 -- ip address")
    source, place = split(words, "PLACE")
    inside.become(Home(which.meant(name, source)), place, command)


@click.command(short_help="Open a shell on a node or in a pod of a lab.")
@click.argument("words", metavar="[SITE] PLACE", nargs=-1, required=True)
@_name
def shell(words: tuple[str, ...], name: str | None) -> NoReturn:
    """Open a shell in PLACE: NODE, NODE/POD, gateway or switch. `exit` comes back.

    It is $SHELL, or sh where a node has none of it, without your own settings, so that its prompt says where it is.

    \b
    Examples:
      podlan lab shell node-1
      podlan lab shell site node-1/pod-1
    """
    source, place = split(words, "PLACE")
    home = Home(which.meant(name, source))
    argv, settings = inside.shell(home, place)
    inside.become(home, place, argv, settings)


@click.command(name="list", short_help="List the labs of this machine.")
@click.option("-v", "--verbose", is_flag=True, help="Name each lab's places, too.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_(form: str, *, verbose: bool) -> None:
    """List the labs of this machine: their names, what is in them, and how they are."""
    labs = [_listed(home) for home in which.here()]
    if form == "json":
        click.echo(json.dumps([{"name": one.name, "condition": one.condition, "places": one.places} for one in labs]))
        return
    if not labs:
        click.echo("no lab is up here; build one with 'podlan lab up SITE'", err=True)
    for one in labs:
        click.echo(f"{one.name}  {one.condition}")
        for place in one.places if verbose else ():
            click.echo(f"  {place}")


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    condition: str
    places: tuple[str, ...]


def _listed(home: Home) -> _Listed:
    try:
        built = state.load(home)
    except ForeignLab as strange:
        return _Listed(home.name, str(strange), ())
    if built is None:
        return _Listed(home.name, "not up: it is being built or removed, or that was interrupted", ())
    return _Listed(home.name, f"{len(built.nodes)} nodes, {len(built.pods)} pods", inside.places(home))
