"""`podlan undo`: take everything that podlan owns off this node."""

from __future__ import annotations

import contextlib

import click

from podlan.node.commands._options import root_option
from podlan.node.commands._result import remark, show, show_json

_MOMENT = 1.0  # seconds; who only asks whether a run is under way holds the lock, too

_EXIT_CODES = """\b
Exit codes:
  0   done, or nothing to undo (a unit that did not restart is a warning, and the next run tries it again)
  1   refused or failed; nothing is changed, or all is rolled back
  2   wrong usage
  4   the environment: privileges, I/O, a state that cannot be read
  5   the rollback failed too; run it again
  75  another run is under way; try again
"""


@click.command(epilog=_EXIT_CODES)
@click.option("--dry-run", is_flag=True, help="Print what would be done, as commands for sh, and do nothing.")
@root_option(
    "Undo files below DIR, by podlan's state there, and stop or restart nothing; the network is this namespace's."
)
@click.option(
    "--interrupted",
    is_flag=True,
    help="Take back a run that was killed together with the process that guards it, and do no more; for units.",
)
@click.option("--no-restart", is_flag=True, help="Restart no unit; say which ones are to be restarted.")
@click.option("--plugins", is_flag=True, help="Remove the CNI plugins too that podlan installed and nobody changed.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Say what warnings are about, too.")
@click.pass_context
def undo(
    ctx: click.Context,
    *,
    dry_run: bool,
    root: str,
    interrupted: bool,
    no_restart: bool,
    plugins: bool,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Take everything that podlan owns off this node, and give back what it had displaced.

    There is no question before it. Pods lose their network configuration: those that run keep their addresses, but
    this node, its kubelet included, no longer reaches them through podlan's shim; no new pod starts, and the node
    becomes NotReady, until there is another CNI file.

    \b
    It undoes, in this order:
      units     podlan's own are stopped
      network   routes, addresses, children, metrics, altnames, promisc and sysctls are as before; no packet is lost
      files     podlan's own are removed; flags and blocks go from the files of others; what others changed stays
      copy      /etc/podlan/node, so that no boot applies it again
      units     those that had read the files are restarted, such as the kubelet
      state     /var/lib/podlan, at the very end: a run that was killed is finished by the next one

    When a step fails, all is taken back. CNI plugins stay, unless --plugins is given, and so does this program. A
    `podlan reconcile --watch` that is no unit of podlan's must be ended first.

    \b
      podlan undo --dry-run    what it would do, as commands
      podlan undo              do it
      podlan reconcile DIR     and back again
    """
    if interrupted:
        others = {
            "--dry-run": dry_run,
            "--no-restart": no_restart,
            "--plugins": plugins,
            "--format json": form != "text",
        }
        for name, given in others.items():
            if given:
                raise click.UsageError(f"--interrupted goes without {name}", ctx)
        _take_back(root, quiet=quiet)
        return
    from podlan.node.run import Options  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.undo import undo as run  # noqa: PLC0415 - as above

    result = run(Options(root=root, preview=dry_run, restart=not no_restart), plugins=plugins)
    remark(result.findings, quiet=quiet, verbose=verbose)
    with contextlib.suppress(BrokenPipeError):  # whoever reads no more of it still learns how it ended
        if form == "json":
            show_json(result, preview=dry_run)
        elif not quiet:
            later = "then" if dry_run else "the next run tries again"
            show(result, preview=dry_run, nothing="nothing to undo: podlan owns nothing here", later=later)
    if not dry_run:
        ctx.exit(result.exit_code)


def _take_back(root: str, *, quiet: bool) -> None:
    from podlan.node._errors import Busy, RollbackFailed  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.files import Root  # noqa: PLC0415 - as above
    from podlan.node.journal import take_back_interrupted  # noqa: PLC0415 - as above
    from podlan.node.lock import turn  # noqa: PLC0415 - as above
    from podlan.node.unfinished import is_open  # noqa: PLC0415 - as above

    place = Root(root)
    if not is_open(place):
        return
    try:
        with turn(place, _MOMENT):
            found = take_back_interrupted(place)
    except Busy:
        return  # who holds the lock lives, and ends what it has begun
    if found is None:
        return
    if found.problem:
        raise RollbackFailed("a run that was killed", "it could not be taken back", [found.problem])
    if quiet:
        return
    click.echo(
        "a run was killed after its changes were confirmed: they stay"
        if found.confirmed
        else f"a run that was killed is taken back, operations: {found.undone}"
    )
