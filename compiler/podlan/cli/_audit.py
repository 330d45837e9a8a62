"""`podlan audit`."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podlan.audit import CODES, Report, audit, parse_network, read_nodes_file, read_own
from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, Severity, as_json, text

if TYPE_CHECKING:
    from podlan.audit import Own, Span
    from podlan.diagnostics import Finding

# A run builds one tree and ends; collecting garbage in between finds nothing.
gc.disable()

_ORDER = list(Severity)


_HELP = """\
Prove that no two nodes hand out the same address, from their finished CNI files alone.

PATH is a file, or a directory of .conf, .conflist and .json files, searched recursively: podlan's output, or
files gathered from nodes as they are today. They are read as host-local reads them; nothing of podlan's own
allocation takes part. Found are also gateways, network, broadcast and nodes' own addresses inside ranges, keys
that plugins ignore, and nodes that differ in name, subnet or gateway.

\b
Which node a file belongs to:
  nodes/web-1/plan.json, rootfs/...    podlan's output: node web-1, its own addresses from plan.json
  web-1/etc/cni/net.d/05-x.conf        what stands before (etc/)cni/net.d: node web-1
  web-1/05-x.conf, web-2/05-x.conf     numbered files of one name in several directories: the directory
  web-1.conf, web-2.conf               else every file is a node of its own
Of several files of a node a runtime uses the first in lexical order, and so does the audit (it says so).
Files in multus/net.d are networks side by side.

Networks whose subnets overlap are taken for one wire, so audit separate LANs that use the same subnet in
separate runs. Networks with ipMasq are the node's own.

Of the outputs of several sites each is audited by itself, one at a time. Then their subnets are compared: sites are
taken to be routed to each other, and so must not overlap; --apart and --shared say where it is otherwise.

\b
Examples:
  podlan audit output                               in CI, after podlan compile
  podlan audit outputs --apart lab                  all sites, of which lab is an island
  podlan audit gathered --nodes addresses.txt       what the nodes have today
"""


def _own(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Own]:
    del context, parameter
    found = []
    for value in values:
        node, _, address = value.partition("=")
        try:
            found.append(read_own(node, address))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not NODE=ADDRESS") from None
    return found


def _lans(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Span]:
    del context, parameter
    found = []
    for value in values:
        try:
            found.append(parse_network(value)[0])
        except ValueError:
            raise click.BadParameter(f"{value!r} is no network such as 10.0.0.0/24") from None
    return found


def _list_codes(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's own
    del parameter
    if value:
        for code, row in CODES.items():
            click.echo(f"{code}  {row.severity.value:<7}  {row.why}")
        context.exit()


@click.command("audit", help=_HELP, epilog=EXIT_CODES)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option(
    "--node-address",
    "own",
    metavar="NODE=ADDRESS",
    multiple=True,
    callback=_own,
    help="An address of a node itself, which no pod must get; repeatable.",
)
@click.option(
    "--nodes",
    "nodes",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="The same from a file: lines of NODE ADDRESS.",
)
@click.option(
    "--apart", metavar="SITE", multiple=True, help="A site that no route connects with the others; repeatable."
)
@click.option(
    "--shared",
    metavar="CIDR",
    multiple=True,
    callback=_lans,
    help="A LAN that several sites are on: there no address may be handed out by two of them; repeatable.",
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print."
)
@click.option("--max", "most", type=click.IntRange(1), default=100, show_default=True, help="Findings to print.")
@click.option("--codes", is_flag=True, is_eager=True, expose_value=False, callback=_list_codes, help="List the codes.")
def audit_(
    paths: tuple[str, ...],
    own: list[Own],
    nodes: str | None,
    apart: tuple[str, ...],
    shared: list[Span],
    form: str,
    most: int,
) -> None:
    """Prove from finished CNI files that no address is handed out twice."""
    listed, remarks = read_nodes_file(nodes) if nodes else ([], [])
    report = audit(paths, [*own, *listed], remarks, shared=shared, apart=apart)
    if form == "json":
        click.echo(json.dumps(_as_values(report), indent=2, ensure_ascii=False))
    else:
        _print(report, most)
    sys.exit(Exit.FAILED if report.failed else Exit.DONE)


def _print(report: Report, most: int) -> None:
    # The worst are shown where not all are: a note must not crowd out an error.
    shown = sorted(report.findings, key=lambda finding: (_ORDER.index(finding.severity), finding.sort_key))[:most]
    if shown:
        colour = os.isatty(1) and "NO_COLOR" not in os.environ
        body = text(shown, _sources(shown), colour=colour, most=most)
        if len(report.findings) > most:
            counts = Counter(finding.severity.value for finding in report.findings)
            total = ", ".join(_count(counts[kind.value], kind.value) for kind in _ORDER if counts[kind.value])
            body = (
                f"{body.rstrip().rpartition(chr(10))[0]}\n… and {len(report.findings) - most:,} more: {total} in all\n"
            )
        click.echo(body, nl=False, color=colour)
    sites = f"{_count(report.outputs, 'site')}, " if report.outputs > 1 else ""
    summary = (
        f"{sites}{_count(report.files, 'file')}, {_count(report.nodes, 'node')}, {_count(report.addresses, 'address')}"
    )
    if not report.failed:
        click.echo(f"{summary}: none is handed out twice{', no subnets of two sites overlap' if sites else ''}")
    else:
        click.echo(summary)


def _sources(findings: list[Finding]) -> dict[str, str]:
    """Read the files that the findings show, for their lines."""
    names = {place.file for finding in findings for place in (finding.place, *finding.also) if place}
    return {name: Path(name).read_text(encoding="utf-8", errors="replace") for name in names if Path(name).is_file()}


def _as_values(report: Report) -> dict[str, object]:
    findings = json.loads(as_json(report.findings))
    return {
        **findings,
        "outputs": report.outputs,
        "files": report.files,
        "nodes": report.nodes,
        "addresses": report.addresses,
    }


def _count(number: int, thing: str) -> str:
    plural = thing + ("es" if thing.endswith("s") else "s")
    return f"{number:,} {thing if number == 1 else plural}"
