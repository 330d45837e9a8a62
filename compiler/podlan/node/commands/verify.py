"""`podlan verify`: temporary pods on this node's real plugins, and whom they reach."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from podlan.diagnostics import Exit, printable
from podlan.node.commands._options import root_option
from podlan.node.commands._result import remark

if TYPE_CHECKING:
    from podlan.node.trial import Trial

_EXIT_CODES = """\b
Exit codes:
  0   everything is as the plan promises
  1   it is not, or a plugin refused
  2   wrong usage
  4   the environment: privileges, I/O, a bad plan or directory, plugins that are not there
  75  not ready: a master or the node's address is missing, or podlan reconcile is at work; try again
"""


def _addresses(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(value)) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@click.command(epilog=_EXIT_CODES)
@click.argument("directory", metavar="[NODEDIR]", required=False)
@root_option("Read files, and let host-local keep its reservations, below DIR; the network is this namespace's.")
@click.option("--pods", type=click.IntRange(1, 64), default=2, show_default=True, help="Pods to attach.")
@click.option("--peer", "peers", multiple=True, callback=_addresses, help="Address of another node; may be repeated.")
@click.option(
    "--peer-pod",
    "peer_pods",
    multiple=True,
    callback=_addresses,
    help="Address of a pod on another node; may be repeated.",
)
@click.option("--hold", is_flag=True, help="Then keep the pods until Ctrl-C (or SIGTERM), for others to reach.")
@click.option(
    "--wait", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Wait for a master that is away."
)
@click.option("--format", "form", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print only what is not as planned.")
@click.pass_context
def verify(
    ctx: click.Context,
    directory: str | None,
    *,
    root: str,
    pods: int,
    peers: tuple[str, ...],
    peer_pods: tuple[str, ...],
    hold: bool,
    wait: float,
    form: str,
    quiet: bool,
) -> None:
    """Put temporary pods on this node's real plugins, and tell whom they reach, against what the plan promises.

    The pods are network namespaces of this command's own: no runtime and no kubelet sees them. They are attached as
    a runtime does it, by the CNI file that it would take, get addresses of the node's slice for some seconds, and are
    detached again, whatever happens; what a killed run leaves, the next one and podlan undo remove.

    \b
    What is tried, with pings to these addresses and to no others:
      pods and pods     here, and with --peer-pod on other nodes
      pods and hosts    their own, by each of its addresses; others with --peer
      gateways          of the pods' routes and the plan's; one that answers no ping may answer ARP
      the plan's probes, and that one MAC answers for a host's address
      what pods got     addresses of the slice, MTU, routes

    Across nodes: `--hold` on one node prints what to type on the other one. NODEDIR is by default the copy that
    reconcile made, /etc/podlan/node (below --root).

    \b
      podlan verify                                       on the node, as root
      podlan verify --peer 172.16.129.102 --peer-pod 172.16.129.128
      podlan verify --hold                                for the others to try
    """
    from podlan.node._errors import Stopped  # noqa: PLC0415 - help and usage errors come without it
    from podlan.node.copy import COPY  # noqa: PLC0415 - as above
    from podlan.node.files import Root  # noqa: PLC0415 - as above
    from podlan.node.observe import bare  # noqa: PLC0415 - as above
    from podlan.node.preflight import missing_privileges  # noqa: PLC0415 - as above
    from podlan.node.trial import Options, Stop, trial  # noqa: PLC0415 - as above

    lacking = list(missing_privileges())
    if lacking:
        raise Stopped(lacking)
    options = Options(root, pods, peers, peer_pods, wait)
    with Stop() as stop:

        def holding(result: Trial) -> None:
            with contextlib.suppress(BrokenPipeError):
                _show(result, form, quiet=quiet)
            own = [address for address in result.host if ":" not in address] or result.host
            words = [f"--peer {address}" for address in own[:1]]
            words += [f"--peer-pod {bare(address)}" for one in result.pods for address in one.addresses]
            click.echo(f"the pods stay until Ctrl-C; on another node: podlan verify {' '.join(words)}", err=True)
            stop.wait()

        result = trial(directory or Root(root).shown(COPY), options, stop, holding if hold else None)
    with contextlib.suppress(BrokenPipeError):  # whoever reads no more of it still learns how it ended
        if hold:
            remark(result.left, quiet=quiet, verbose=True)
        else:
            _show(result, form, quiet=quiet)
    ctx.exit(Exit.DONE if result.ok else Exit.FAILED)


def _show(result: Trial, form: str, *, quiet: bool) -> None:
    from podlan.node.trial.told import as_json, as_junit, as_text  # noqa: PLC0415 - as above

    if form != "text":
        click.echo({"json": as_json, "junit": as_junit}[form](result), nl=False)
        return
    remark((*result.findings, *result.left), quiet=quiet, verbose=True)
    if not quiet or not result.ok:
        click.echo("\n".join(printable(line) for line in as_text(result).splitlines()))
