"""`podlan lab`: the group, and its up, verify, down and demo."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podlan.diagnostics import Exit, text
from podlan.lab import fault_command, inside_command, life, report
from podlan.lab._junit import junit
from podlan.lab.interrupt import interruptible
from podlan.lab.topology import topology
from podlan.lab.which import default_name, meant

if TYPE_CHECKING:
    from podlan.lab.life import Lab
    from podlan.lab.topology import Topology

DEMO = "demo-"
"""How the names of demos begin; the process number follows."""

_SHOWN = 20

_site = click.argument("source", metavar="SITE", type=click.Path(path_type=Path))
_some_site = click.argument("source", metavar="[SITE]", required=False, type=click.Path(path_type=Path))
_name = click.option("--name", help="Name of the lab.  [default: from the site's path]")
_some_name = click.option("--name", help="Name of the lab.  [default: from the site's path, else the only one]")
_pods = click.option("--pods", type=click.IntRange(min=0), default=2, show_default=True, help="Pods to attach a node.")
_plugins = click.option(
    "--plugins",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of the CNI plugins.  [default: $CNI_PATH, /usr/lib/cni, /opt/cni/bin, /usr/libexec/cni]",
)
_secured = click.option(
    "--port-security", is_flag=True, help="Let every switch port take one MAC, its node's, as some networks do."
)
_grid = click.option("--grid/--no-grid", default=None, help="Show who reaches whom, each.  [default: in small labs]")
_format = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit"]),
    default="text",
    show_default=True,
    help="json: every try; junit: a suite a row, a case a node, for CI.",
)


@click.group()
def lab() -> None:
    """Build the whole site in network namespaces on this machine, with the real CNI plugins. Needs root.

    \b
    Examples:
      podlan lab demo site                  all of it, and everything removed again
      podlan lab up site                    the same in steps: build,
      podlan lab verify                     show who reaches whom (exit 1 if not as planned),
      podlan lab down                       remove
      podlan lab shell node-1               in between: look around,
      podlan lab exec node-1 -- podlan doctor
      podlan lab fault delete-shim node-1   let something go wrong, and see what podlan says

    Where several labs are up, each but demo and up wants a site or a --name. The machine's own network and files are
    left alone; the site's lock is not written.
    """


@lab.command(short_help="Compile SITE, build it here, reconcile, attach pods.")
@_site
@_name
@_pods
@_plugins
@_secured
def up(source: Path, name: str | None, pods: int, plugins: Path | None, *, port_security: bool) -> None:
    """Compile SITE, build it here, reconcile its nodes and attach pods."""
    with interruptible(), life.opened(name or default_name(source)) as here:
        _build(here, compiled(source, here.home.output), life.Options(pods, plugins, port_security))


@lab.command(short_help="Show who reaches whom; exit 1 if not as planned.")
@_some_site
@_some_name
@_grid
@_format
def verify(source: Path | None, name: str | None, form: str, *, grid: bool | None) -> None:
    """Show who reaches whom in SITE's lab; ends with 1 if that is not what the plans promise."""
    with interruptible(), life.opened(meant(name, source)) as here:
        ok = _verify(here, form, grid=grid)
    if not ok:
        raise SystemExit(1)


@lab.command(short_help="Remove the lab of SITE.")
@_some_site
@_some_name
def down(source: Path | None, name: str | None) -> None:
    """Detach the pods of SITE's lab and remove everything of it."""
    with interruptible(), life.opened(meant(name, source)) as here:
        _remove(here)


@lab.command(short_help="All of it at once, and everything removed again.")
@_site
@_pods
@_plugins
@_secured
@_grid
@_format
def demo(source: Path, pods: int, plugins: Path | None, form: str, *, port_security: bool, grid: bool | None) -> None:
    """Compile SITE, build it, show who reaches whom, and remove everything."""
    with interruptible():
        life.sweep(DEMO)
        with life.opened(f"{DEMO}{os.getpid()}") as here:
            try:
                _build(here, compiled(source, here.home.output), life.Options(pods, plugins, port_security))
                ok = _verify(here, form, grid=grid)
            finally:
                if here.home.path.exists():
                    _remove(here)
    if not ok:
        raise SystemExit(1)


def _build(here: Lab, topology: Topology, options: life.Options) -> None:
    for note in topology.notes:
        click.echo(f"note: {note}", err=True)
    began = time.monotonic()
    built = life.up(here, topology, options)
    took = time.monotonic() - began
    click.echo(
        f"lab {here.home.name}: {len(built.nodes)} nodes reconciled, {len(built.pods)} pods, {took:.1f} s", err=True
    )
    for node in built.nodes[:_SHOWN]:
        pods = [address for pod in built.pods if pod.node == node.name for address in pod.addresses]
        click.echo(f"  {node.name}  {', '.join(node.addresses)}  pods {', '.join(pods) or 'none'}", err=True)
    if len(built.nodes) > _SHOWN:
        click.echo(f"  … and {len(built.nodes) - _SHOWN} more", err=True)


def _verify(here: Lab, form: str, *, grid: bool | None) -> bool:
    found = life.verify(here)
    match form:
        case "json":
            click.echo(report.as_json(found), nl=False)
        case "junit":
            click.echo(junit(found), nl=False)
        case _:
            click.echo(report.as_text(found, grid=grid), nl=False)
    return found.ok


def _remove(here: Lab) -> None:
    if not here.home.path.exists():
        click.echo(f"lab {here.home.name}: nothing to remove", err=True)
        return
    for refusal in life.down(here):
        click.echo(f"warning: {refusal}", err=True)
    click.echo(f"lab {here.home.name}: removed", err=True)


def compiled(source: Path, output: Path) -> Topology:
    """Compile the site into this directory and give the lab's topology of it; the site's lock stays as it is."""
    from podlan import pipeline  # noqa: PLC0415 - verify and down start three times faster without the compiler

    result = pipeline.compile_apart(source, output)
    checked = result.checked
    if checked.findings:
        click.echo(text(checked.findings, checked.source.texts), nl=False, err=True)
    if checked.failed or checked.site is None:
        raise SystemExit(Exit.FAILED)
    return topology(checked.site, output)


for _command in (inside_command.exec_, inside_command.shell, fault_command.fault, inside_command.list_):
    lab.add_command(_command)
