"""`podlan doctor`: what is wrong on this node, or will be."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import click

from podlan.diagnostics import Exit, Severity, has_errors
from podlan.node.commands._options import root_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics import Finding

_FORMATS = ["text", "json", "sarif", "github", "junit"]
_SHOWN = 1 << 16  # bytes of a file, for the line that a finding shows

_EXIT_CODES = """\b
Exit codes:
  0   nothing worse than warnings and notes
  1   findings of severity error
  2   wrong usage
  4   the environment: privileges, I/O, a bad plan or directory
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("directory", metavar="[NODEDIR]", required=False)
@root_option("Read files, podlan's state and the runtime's below DIR; the network is this namespace's.")
@click.option("--no-wire", is_flag=True, help="Send no packet: do not ask the LAN who else has this node's addresses.")
@click.option("--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True, help="How to print.")
@click.option("--max", "most", type=click.IntRange(1), default=100, show_default=True, help="Findings to print (text).")
@click.option("-q", "--quiet", is_flag=True, help="Leave out notes.")
@click.pass_context
def doctor(
    ctx: click.Context, directory: str | None, *, root: str, no_wire: bool, form: str, most: int, quiet: bool
) -> None:
    """Tell what is wrong on this node, or will be. It looks only: nothing is changed, nothing is written.

    \b
    What it looks at:
      drift         files and the network, compared with the plan as reconcile does
      reservations  host-local's, compared with the pods that live: leaked, outside the slice, in a forgotten
                    store, missing; with the command that frees each safely
      the wire      who else answers for this node's addresses (ARP probes, neighbour solicitations), and
                    whether the switch lets a second MAC address through
      CNI           others' files that win, the runtime's configuration, which plugins are installed
      the kernel    settings that are none of the plan's and work against pods, now or at the next boot
      the kubelet   flags that the next upgrade ends on
      leftovers     of runs that were interrupted

    It takes some seconds, most of them on the wire, and ends also where a plugin hangs or nobody answers. What
    it cannot tell it says it cannot tell. `podlan rule CODE` explains a finding.

    NODEDIR is by default the copy that reconcile made, /etc/podlan/node (below --root).

    \b
      podlan doctor                                     all of it, on the node, as root
      podlan doctor --no-wire --format json             for a monitoring agent
    """
    from podlan.node._errors import Stopped  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.copy import COPY  # noqa: PLC0415 - as above
    from podlan.node.doctor import examine  # noqa: PLC0415 - as above
    from podlan.node.files import Root  # noqa: PLC0415 - as above
    from podlan.node.preflight import missing_privileges  # noqa: PLC0415 - as above

    lacking = list(missing_privileges())
    if lacking:
        raise Stopped(lacking)
    found = examine(directory or Root(root).shown(COPY), root, ask=not no_wire)
    if quiet:
        found = tuple(one for one in found if one.severity is not Severity.NOTE)
    with contextlib.suppress(BrokenPipeError):  # whoever reads no more of it still learns how it ended
        _print(found, form, most)
    ctx.exit(Exit.FAILED if has_errors(found) else Exit.DONE)


def _print(found: tuple[Finding, ...], form: str, most: int) -> None:
    from podlan import __version__  # noqa: PLC0415 - as above
    from podlan.diagnostics.printers import PRINTERS, Setting  # noqa: PLC0415 - as above
    from podlan.node.codes import explanations  # noqa: PLC0415 - as above

    if form == "text" and not found:
        click.echo("nothing to report")
        return
    left = 0
    if form == "text" and len(found) > most:
        # The worst are shown where not all are: a note must not crowd out an error.
        order = list(Severity)
        found, left = tuple(sorted(found, key=lambda one: order.index(one.severity))[:most]), len(found) - most
    colour = os.isatty(1) and "NO_COLOR" not in os.environ
    setting = Setting(_sources(found), explanations(), __version__, colour=colour, most=most)
    click.echo(PRINTERS[form](found, setting), nl=False, color=colour)
    if left:
        click.echo(f"… and {left} more; --max {len(found) + left} shows all")


def _sources(found: Iterable[Finding]) -> dict[str, str]:
    """Read the files in which findings show a span."""
    places = {one.place.file for one in found if one.place is not None and one.place.length > 1}
    return {name: text for name in places if (text := _text(name))}


def _text(name: str) -> str:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            return file.read(_SHOWN).decode(errors="replace")
    except OSError:
        return ""
