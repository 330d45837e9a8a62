"""`podlan lab`: up, verify, down, demo."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from podlan.diagnostics import Exit, text
from podlan.lab import life, report
from podlan.lab.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from podlan.lab.life import Lab
    from podlan.lab.topology import Topology

DEMO = "demo-"
"""How the names of demos begin; the process number follows."""

_SHOWN = 20

_site = click.argument("source", metavar="SITE", type=click.Path(path_type=Path))
_name = click.option("--name", help="Name of the lab.  [default: from the site's path]")
_pods = click.option("--pods", type=click.IntRange(min=0), default=2, show_default=True, help="Pods to attach a node.")
_plugins = click.option(
    "--plugins",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of the CNI plugins.  [default: $CNI_PATH, /usr/lib/cni, /opt/cni/bin, /usr/libexec/cni]",
)
_format = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group()
def lab() -> None:
    """Build the whole site in network namespaces on this machine, with the real CNI plugins. Needs root.

    \b
    Examples:
      podlan lab demo site      all of it, and everything removed again
      podlan lab up site        the same in steps: build,
      podlan lab verify site    show who reaches whom (exit 1 if not as planned),
      podlan lab down site      remove

    The machine's own network and files are left alone; the site's lock is not written.
    """


@lab.command(short_help="Compile SITE, build it here, reconcile, attach pods.")
@_site
@_name
@_pods
@_plugins
def up(source: Path, name: str | None, pods: int, plugins: Path | None) -> None:
    """Compile SITE, build it here, reconcile its nodes and attach pods."""
    with _interruptible(), life.opened(name or default_name(source)) as here:
        _build(here, compiled(source, here.home.output), life.Options(pods, plugins))


@lab.command(short_help="Show who reaches whom; exit 1 if not as planned.")
@_site
@_name
@_format
def verify(source: Path, name: str | None, form: str) -> None:
    """Show who reaches whom in SITE's lab; ends with 1 if that is not what the plans promise."""
    with _interruptible(), life.opened(name or default_name(source)) as here:
        ok = _verify(here, form)
    if not ok:
        raise SystemExit(1)


@lab.command(short_help="Remove the lab of SITE.")
@_site
@_name
def down(source: Path, name: str | None) -> None:
    """Detach the pods of SITE's lab and remove everything of it."""
    with _interruptible(), life.opened(name or default_name(source)) as here:
        _remove(here)


@lab.command(short_help="All of it at once, and everything removed again.")
@_site
@_pods
@_plugins
@_format
def demo(source: Path, pods: int, plugins: Path | None, form: str) -> None:
    """Compile SITE, build it, show who reaches whom, and remove everything."""
    with _interruptible():
        life.sweep(DEMO)
        with life.opened(f"{DEMO}{os.getpid()}") as here:
            try:
                _build(here, compiled(source, here.home.output), life.Options(pods, plugins))
                ok = _verify(here, form)
            finally:
                if here.home.path.exists():
                    _remove(here)
    if not ok:
        raise SystemExit(1)


def default_name(source: Path) -> str:
    """Give a name that one site's path always has and another's has not."""
    path = source.resolve()
    words = re.sub(r"[^A-Za-z0-9]+", "-", path.name).strip("-")[:24] or "site"
    return f"{words}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _build(here: Lab, topology: Topology, options: life.Options) -> None:
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


def _verify(here: Lab, form: str) -> bool:
    found = life.verify(here)
    click.echo(report.as_json(found) if form == "json" else report.as_text(found), nl=False)
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


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the signals that end a command into an orderly end; what comes after the first is ignored."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int, _: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, end) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
