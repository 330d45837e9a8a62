"""`podlan lab fault`: let something go wrong in a lab, and put it right."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podlan.lab import damage, life, mending, which
from podlan.lab.inside_command import split
from podlan.lab.interrupt import interruptible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.lab.faults import Fault
    from podlan.lab.life import Lab
    from podlan.lab.state import State

_name = click.option("--name", help="Name of the lab.  [default: from SITE's path, else the only one]")


@click.group(short_help="Let something go wrong in a lab, and put it right.")
def fault() -> None:
    """Let something go wrong in a lab, to see what podlan says of it and what it repairs.

    verify tells the faults that are there; `mend` undoes them all, and `podlan lab down` removes them with the lab.

    \b
    Examples:
      podlan lab fault delete-shim node-1
      podlan lab exec node-1 -- podlan reconcile --check    tells the drift and ends with 3
      podlan lab exec node-1 -- podlan reconcile            repairs it
      podlan lab fault duplicate 172.16.129.102
      podlan lab exec node-2 -- podlan doctor               finds the other machine
      podlan lab fault cut node-3
      podlan lab verify                                     tells what no longer reaches what
      podlan lab fault mend
    """


@fault.command(short_help="Pull NODE's cable: its ports of the switch go down.")
@click.argument("words", metavar="[SITE] NODE", nargs=-1, required=True)
@_name
def cut(words: tuple[str, ...], name: str | None) -> None:
    """Pull NODE's cable: its ports of the switch go down."""
    source, node = split(words, "NODE")
    with _lab(name, source) as (lab, built):
        _tell(mending.cut(lab, built, node))


@fault.command(short_help="Delete the links through which NODE and its pods talk.")
@click.argument("words", metavar="[SITE] NODE", nargs=-1, required=True)
@_name
def delete_shim(words: tuple[str, ...], name: str | None) -> None:
    """Delete the links through which NODE and its pods talk, as an operator or a network manager may."""
    source, node = split(words, "NODE")
    with _lab(name, source) as (lab, built):
        _tell(mending.delete_shim(lab, built, node))


@fault.command(short_help="Plug in another machine that has ADDRESS.")
@click.argument("words", metavar="[SITE] ADDRESS", nargs=-1, required=True)
@_name
def duplicate(words: tuple[str, ...], name: str | None) -> None:
    """Plug another machine into the switch that has ADDRESS, which a node, a pod or the gateway may have already."""
    source, word = split(words, "ADDRESS")
    address = _address(word)
    with _lab(name, source) as (lab, built):
        _tell(mending.duplicate(lab, built, address))


@fault.command(short_help="Let a DHCP client on NODE take a lease of ADDRESS.")
@click.argument("words", metavar="[SITE] NODE", nargs=-1, required=True)
@click.argument("address")
@_name
def dhcp(words: tuple[str, ...], address: str, name: str | None) -> None:
    """Let a DHCP client on NODE's master take a lease of ADDRESS, as one that somebody left running does.

    Client and server are busybox's. The client sets up the address and, where the network has a gateway, a default
    route of metric 100. Then both end; the address stays for an hour, or until it is mended.
    """
    wanted = _address(address)
    source, node = split(words, "NODE")
    with _lab(name, source) as (lab, built):
        _tell(mending.dhcp(lab, built, node, wanted))


@fault.command(short_help="Undo every fault.")
@click.argument("source", metavar="[SITE]", required=False, type=click.Path(path_type=Path))
@_name
def mend(source: Path | None, name: str | None) -> None:
    """Undo every fault of the lab: links come up, other machines and leases go, nodes are reconciled."""
    with _lab(name, source) as (lab, _):
        mended = mending.mend(lab)
    for one in mended:
        click.echo(f"mended: {one}", err=True)
    if not mended:
        click.echo("nothing to mend", err=True)


@contextlib.contextmanager
def _lab(name: str | None, source: Path | None) -> Iterator[tuple[Lab, State]]:
    with interruptible(), life.opened(which.meant(name, source)) as lab:
        built = life.up_already(lab)
        with damage.told(lab.processes, lab.home, built):
            yield lab, built


def _tell(made: Fault) -> None:
    click.echo(f"fault: {made}", err=True)


def _address(word: str) -> str:
    try:
        return str(ip_address(word))
    except ValueError as error:
        raise click.UsageError(f"{word!r} is not an IP address.") from error
