"""`podlan-node`, the program that holds the node's part alone."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from podlan import __version__
from podlan.diagnostics import Exit, PodlanError
from podlan.lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "reconcile": ("podlan.node.commands.reconcile:reconcile", "Make this node match its compiled directory."),
    "confirm": ("podlan.node.commands.confirm:confirm", "Keep what a waiting reconcile has changed."),
    "status": ("podlan.node.commands.status:status", "Tell what podlan has on this node, and what is unfinished."),
    "doctor": ("podlan.node.commands.doctor:doctor", "Tell what is wrong on this node, or will be; changes nothing."),
    "verify": (
        "podlan.node.commands.verify:verify",
        "Put temporary pods on the real plugins and tell whom they reach.",
    ),
    "undo": ("podlan.node.commands.undo:undo", "Take everything that podlan owns off this node again."),
}
"""Shared with `podlan`."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="podlan-node %(version)s")
def node() -> None:
    """Keep this machine as its plan says: podlan's part for nodes, without the compiler."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run podlan-node; whatever stands in the way becomes a message on stderr and an exit code."""
    try:
        code = node.main(arguments, prog_name="podlan-node", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except PodlanError as error:
        click.echo(error.told(), err=True)
        code = error.exit_code
    except BrokenPipeError:  # whoever read our output has gone
        code = Exit.FAILED
    except OSError as error:
        click.echo(f"error: {error}", err=True)
        code = Exit.ENVIRONMENT
    sys.exit(code if isinstance(code, int) else 0)


def program() -> NoReturn:
    """Be a process that does this and no more.

    No garbage is looked for, and at the end the modules are not taken apart one by one: a fifth of a run's time.
    """
    gc.disable()  # --watch, which stays, switches it on again
    try:
        main()
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError):  # closed by the caller, or nobody reads it any more
                stream.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)
