"""`podlan reconcile`: make this node match its compiled directory."""

from __future__ import annotations

import contextlib
import gc
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from podlan.diagnostics import Exit
from podlan.node.commands._options import root_option
from podlan.node.commands._result import remark, show, show_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podlan.node.run import Options

_RESYNC = 300.0  # seconds

_LONGEST = 1e6  # seconds, 11 days: what is longer is a mistake, and the kernel waits for no infinite time


class Seconds(click.FloatRange):
    """A time to wait: a number, and not an infinite one."""

    def __init__(self, min: float) -> None:  # noqa: A002 - click's name
        super().__init__(min=min, max=_LONGEST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """Read it."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a time.", param, ctx)
        return seconds


_EXIT_CODES = """\b
Exit codes:
  0   done, or nothing to do (a unit that did not restart is a warning, and the next run tries it again)
  1   refused, failed or not confirmed; nothing is changed, or all is rolled back
      (plugins from a wrong archive: all else is done; after podlan confirm: the network stays)
  2   wrong usage
  3   --check: this node differs from its plan
  4   the environment: privileges, I/O, a bad plan or directory
  5   the rollback failed too; run it again
  75  not ready, another run is under way, or plugins could not be fetched (all else is done); try again (systemd does)
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("directory", metavar="[NODEDIR]", required=False)
@click.option("--dry-run", is_flag=True, help="Print what would be done, as commands for sh, and do nothing.")
@click.option("--check", is_flag=True, help="As --dry-run, and exit with 3 if there is anything to do.")
@root_option("Read and write files and podlan's state below DIR, and restart nothing; the network is this namespace's.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=Seconds(min=0),
    default=0.0,
    help="Wait so long for interfaces and addresses that the operating system has yet to bring up.",
)
@click.option("--no-restart", is_flag=True, help="Restart no unit; say which ones are to be restarted.")
@click.option(
    "--rename",
    is_flag=True,
    help="This machine is another node now: what podlan applied for the other is removed.",
)
@click.option("--watch", is_flag=True, help="Stay, and repair what drifts as soon as the kernel tells of it.")
@click.option(
    "--resync",
    metavar="SECONDS",
    type=Seconds(min=1),
    show_default=f"{_RESYNC:g}",
    help="--watch: look at all so often, at files and settings too, whose changes nobody tells.",
)
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="--watch: write figures for Prometheus, as node_exporter's textfile collector reads them (FILE.prom).",
)
@click.option(
    "--confirm",
    metavar="SECONDS",
    type=Seconds(min=1),
    help="Change the network only, then wait so long for podlan confirm, given from any shell. Without it, on Ctrl-C, "
    "or if this process dies, all is taken back; a lost session decides nothing. Files, the node's copy and restarts "
    "come after the confirmation only, so a reboot or a power cut before it is a way back, too.",
)
@click.option(
    "--undo-after",
    metavar="SECONDS",
    type=Seconds(min=5),
    default=30.0,
    show_default="30",
    help="A step that takes so long hangs: a second process, which guards each run, ends this one and takes all back, "
    "as it does at once when this one is killed.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Say what warnings are about, and who signed NODEDIR, too.")
@click.pass_context
def reconcile(
    ctx: click.Context,
    directory: str | None,
    *,
    dry_run: bool,
    check: bool,
    root: str,
    wait: float,
    no_restart: bool,
    rename: bool,
    watch: bool,
    resync: float | None,
    metrics: str | None,
    confirm: float | None,
    undo_after: float,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Make this node match NODEDIR, a node's directory of a compiled site.

    Interfaces, addresses, routes, settings and files are compared with the plan, and only what differs is
    changed, in an order that never cuts this node off; when a step or the check after the last one
    fails, or this process is killed or hangs, all is taken back. What podlan did not make stays as it
    is. A second run does nothing.

    NODEDIR is by default the copy that the first run made, /etc/podlan/node (below --root).
    Where /etc/podlan/allowed_signers is, nothing is applied that none of its keys has signed (`podlan sign`).

    \b
      podlan reconcile --dry-run output/nodes/node-1    what it would do, as ip commands
      podlan reconcile output/nodes/node-1              do it
      podlan reconcile --confirm 60 output/nodes/node-1 keep it only if podlan confirm comes within a minute
      podlan reconcile --check                          is this node still as planned?
      podlan reconcile --watch                          keep it so, until SIGTERM; SIGHUP reads the plan again
    """
    from podlan.node.copy import COPY  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.files import Root  # noqa: PLC0415 - as above
    from podlan.node.reconcile import reconcile as run  # noqa: PLC0415 - as above
    from podlan.node.run import Options  # noqa: PLC0415 - as above

    preview = dry_run or check
    path = directory or Root(root).shown(COPY)
    options = Options(
        root=root,
        wait=wait,
        preview=preview,
        restart=not no_restart,
        rename=rename,
        undo_after=undo_after,
        confirm=confirm or 0.0,
    )
    if watch:
        _watch(ctx, path, options, form=form, resync=resync, metrics=metrics, quiet=quiet, verbose=verbose)
        return
    _refuse(ctx, {"--resync": resync, "--metrics": metrics}, "needs --watch")
    _refuse(ctx, {"--confirm": confirm if preview else None}, "goes without --check and --dry-run")
    result = run(path, options)
    if verbose and result.signer:
        click.echo(f"note: {result.node} is signed by {result.signer}", err=True)
    remark(result.findings, quiet=quiet, verbose=verbose)
    with contextlib.suppress(BrokenPipeError):  # whoever reads no more of it still learns how it ended
        if form == "json":
            show_json(result, preview=preview, signer=asdict(result.signer) if result.signer else None)
        elif not quiet:
            show(result, preview=preview, nothing=f"nothing to do: {result.node} is as planned")
    if check and not result.idle:
        ctx.exit(Exit.DIFFERS)
    if not preview:
        ctx.exit(result.exit_code)


def _refuse(ctx: click.Context, options: Mapping[str, object], why: str) -> None:
    for name, given in options.items():
        if given is not None:
            raise click.UsageError(f"{name} {why}", ctx)


def _watch(
    ctx: click.Context,
    path: str,
    options: Options,
    *,
    form: str,
    resync: float | None,
    metrics: str | None,
    quiet: bool,
    verbose: bool,
) -> None:
    others = {
        "--check and --dry-run": options.preview,
        "--format json": form != "text",
        "--wait": options.wait,
        "--confirm": options.confirm,
    }
    for names, given in others.items():
        if given:
            raise click.UsageError(f"--watch goes without {names}", ctx)
    from podlan.node.keeper import Settings  # noqa: PLC0415 - only who stays pays for it
    from podlan.node.watch import watch  # noqa: PLC0415 - as above

    gc.enable()
    watch(Settings(path, options, resync or _RESYNC, metrics or "", quiet=quiet, verbose=verbose))
