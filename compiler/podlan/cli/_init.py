"""`podlan init`: a site to start from."""

from __future__ import annotations

import re
import sys
from ipaddress import ip_network
from pathlib import Path

import click
from jinja2 import Environment, PackageLoader, StrictUndefined

from podlan import pipeline
from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, text

_ATTRIBUTES = "podlan.lock text eol=lf\n*.yaml text eol=lf\n"
"""One line end everywhere: the lock is compared byte for byte."""


@click.command(epilog=EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--site", help="The site's name.  [default: DIR's name]")
@click.option("--subnet", default="192.168.1.0/24", show_default=True, help="The LAN's network.")
@click.option("--gateway", help="The LAN's gateway.  [default: the first address]")
@click.option("--interface", default="eth0", show_default=True, help="The nodes' interface on the LAN.")
@click.option("--kubernetes", default="1.31", show_default=True, help="The kubelets' version.")
@click.option("--pods", default=16, show_default=True, type=click.IntRange(1, 65536), help="Pods a node.")
@click.option("--node", "nodes", metavar="NAME=ADDRESS", multiple=True, help="A node and its own address; repeat it.")
def init(
    directory: Path,
    *,
    site: str | None,
    subnet: str,
    gateway: str | None,
    interface: str,
    kubernetes: str,
    pods: int,
    nodes: tuple[str, ...],
) -> None:
    """Write a commented site into DIR, which must be new or empty, and check it.

    \b
    Example:
      podlan init site --subnet 172.16.129.0/24 --gateway 172.16.129.254 --node node-1=172.16.129.101
    """
    if directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{directory} is not empty")
    try:
        network = ip_network(subnet)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--subnet") from None
    values = {
        "site": site or re.sub(r"[^A-Za-z0-9_-]+", "-", directory.resolve().name).strip("-") or "site",
        "subnet": subnet,
        "gateway": gateway or str(network.network_address + 1),
        "default": "0.0.0.0/0" if network.version == 4 else "::/0",  # noqa: PLR2004 - IPv4
        "interface": interface,
        "kubernetes": kubernetes,
        "pods": pods,
        "nodes": [_node(node) for node in nodes],
    }
    environment = Environment(
        loader=PackageLoader("podlan.cli", "scaffold"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML: every value goes through tojson
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "site.yaml").write_text(environment.get_template("site.yaml").render(values), encoding="utf-8")
    (directory / ".gitattributes").write_text(_ATTRIBUTES, encoding="utf-8")
    checked = pipeline.check(directory)
    if checked.findings:
        click.echo(text(checked.findings, checked.source.texts), nl=False, err=True)
    click.echo(f"wrote {directory}/site.yaml and {directory}/.gitattributes; next: podlan check {directory}")
    sys.exit(Exit.FAILED if checked.failed else Exit.DONE)


def _node(text: str) -> tuple[str, str]:
    name, sign, address = text.partition("=")
    if not sign or not name or not address:
        raise click.BadParameter(f"{text!r} is not NAME=ADDRESS", param_hint="--node")
    return name, address
