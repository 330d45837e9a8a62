"""The command line: thin, and lazily loaded, so that --help costs no more than click."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from podlan import __version__
from podlan.diagnostics import Exit, PodlanError
from podlan.lazy import LazyGroup
from podlan.node.command import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "init": ("podlan.cli._init:init", "Write a commented site to start from."),
    "check": ("podlan.cli._compile:check", "Validate a site; writes nothing."),
    "compile": ("podlan.cli._compile:compile_", "Validate, allocate, lock and render a site."),
    "release": ("podlan.cli._compile:release", "End the quarantine of addresses that nodes gave up."),
    "diff": ("podlan.cli._review:diff", "Tell what changes on which node, and what it costs."),
    "explain": ("podlan.cli._review:explain", "Tell where a value or an address comes from."),
    "show": ("podlan.cli._review:show", "Show the subnets, how full they are, and every slice."),
    "audit": ("podlan.cli._audit:audit_", "Prove from finished CNI files that no address is handed out twice."),
    "rule": ("podlan.cli._rule:rule", "Say what a finding's code stands for."),
    "sign": ("podlan.cli._sign:sign", "Sign compiled nodes for machines that ask for it."),
    **COMMANDS,
    "lab": ("podlan.lab.command:lab", "Run a site in network namespaces, with the real CNI plugins."),
}

EXIT_CODES = """\b
Exit codes:
  0   done, or nothing to do
  1   findings, or failed with nothing changed or all rolled back
  2   wrong usage
  3   differs: stale output, drift, --locked would change the lock
  4   the environment: I/O, privileges, a bad plan
  5   the rollback failed too
  75  not ready or busy; try again
"""


@click.group(
    cls=LazyGroup,
    table=_COMMANDS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="podlan %(version)s")
def cli() -> None:
    """Compile a site inventory into the macvlan CNI set-up of every node, and make nodes match it.

    \b
    A site's way:
      podlan check site                      what is wrong, file:line:col
      podlan compile site -o output          the nodes' files and podlan.lock, both to be committed
      podlan reconcile output/nodes/node-1   on node-1, as root; again at every boot
      podlan lab demo site                   all of it in namespaces on this machine
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; whatever stands in the way becomes one line on stderr and an exit code."""
    try:
        code = cli.main(arguments, prog_name="podlan", standalone_mode=False)
    except click.ClickException as error:
        with contextlib.suppress(OSError):  # the exit code tells it, too
            error.show()
        code = error.exit_code
    except click.Abort:
        code = 128 + 2  # as a shell reports SIGINT
    except PodlanError as error:
        _say(error.told())
        code = error.exit_code
    except BrokenPipeError:
        code = Exit.FAILED
    except OSError as error:
        _say(f"error: {told(error)}")
        code = Exit.ENVIRONMENT
    _let_go()
    sys.exit(code if isinstance(code, int) else Exit.DONE)


def program() -> NoReturn:
    """Be a process that does this and no more: at its end a site of 10,000 nodes is not taken apart piece by piece."""
    try:
        main()
    except SystemExit as end:
        _let_go()  # of what click ended itself, such as a completion
        os._exit(end.code if isinstance(end.code, int) else Exit.DONE)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # as above
        click.echo(text, err=True)


def _let_go() -> None:
    """Drop what cannot be written: Python would complain of it once more at exit, and end with a code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError):  # closed by the caller
            continue
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def told(error: OSError) -> str:
    """Tell what the operating system refused."""
    return f"{error.filename or 'the operating system'}: {error.strerror or error}"
