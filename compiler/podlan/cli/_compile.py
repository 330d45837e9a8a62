"""`podlan check`, `compile` and `release`."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podlan import __version__
from podlan.cli import EXIT_CODES
from podlan.cli._progress import is_watched, with_progress
from podlan.diagnostics import Exit, as_json, has_warnings
from podlan.diagnostics.printers import PRINTERS, Setting
from podlan.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from podlan import pipeline
    from podlan.addressing import Lock
    from podlan.diagnostics import Finding

# A run builds one tree and ends; collecting garbage in between costs a third of it and finds nothing.
gc.disable()

_site = click.argument("site", type=click.Path(exists=True, path_type=Path))
_format = click.option(
    "--format",
    "form",
    type=click.Choice(list(PRINTERS)),
    default="text",
    show_default=True,
    help="How to print findings: sarif for code hosts, github for annotations, junit for CI.",
)
_strict = click.option("--strict", is_flag=True, help="Let warnings fail the run, too.")
_timings = click.option("--timings", is_flag=True, help="Tell on stderr (in --format json) how long each stage took.")
_MOST = 100
_most = click.option(
    "--max", "most", type=click.IntRange(1), default=_MOST, show_default=True, help="Findings and changes to print."
)


@click.command(epilog=EXIT_CODES)
@_site
@_strict
@_format
@_most
@_timings
def check(site: Path, *, strict: bool, form: str, most: int, timings: bool) -> None:
    """Validate SITE, a directory of *.yaml files or one file; writes nothing.

    Reads the inventory and podlan.lock, runs every rule and allocates, and prints all findings at once.
    """
    from podlan import pipeline  # noqa: PLC0415 - completion and --help wait for no pydantic

    clock = Timings()
    checked = pipeline.check(site, timings=clock)
    failed = checked.failed or (strict and has_warnings(checked.findings))
    if timings and form == "json":
        _print_json({**json.loads(as_json(checked.findings)), "timings": clock.milliseconds()})
        sys.exit(Exit.FAILED if failed else Exit.DONE)
    if form != "text" or checked.findings:
        _print_findings(checked.findings, checked.source.texts, form, most, sys.stdout)
    if timings:
        click.echo(clock.text(), nl=False, err=True)
    if form == "text" and not failed and checked.site is not None:
        click.echo(f"{site}: {_count(len(checked.site.nodes), 'node')}, no errors")
    sys.exit(Exit.FAILED if failed else Exit.DONE)


@click.command("compile", epilog=EXIT_CODES)
@_site
@click.option(
    "-o", "--output", "out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the files go."
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 3 unless lock and output are right.")
@click.option("--locked", is_flag=True, help="Refuse to change podlan.lock (for CI); exit 3 where it would change.")
@click.option(
    "--move",
    metavar="NODE",
    multiple=True,
    help="Let NODE have new addresses where its own cannot stay; those are then quarantined.",
)
@click.option("--shrink", metavar="NODE", multiple=True, help="Quarantine the end of a slice larger than asked for.")
@click.option("--keep", metavar="NODE", multiple=True, help="After a merge: who holds NODE's addresses too, moves.")
@click.option("--base", metavar="REV", help="After a merge: of two with the same addresses, who is not in REV moves.")
@_strict
@_format
@_most
@_timings
@click.option("-q", "--quiet", is_flag=True, help="Print findings and what --check finds, and nothing of a success.")
def compile_(
    site: Path,
    out: Path,
    *,
    only_check: bool,
    locked: bool,
    move: tuple[str, ...],
    shrink: tuple[str, ...],
    keep: tuple[str, ...],
    base: str | None,
    strict: bool,
    form: str,
    most: int,
    timings: bool,
    quiet: bool,
) -> None:
    """Compile SITE into the output directory and bring SITE's podlan.lock up to date.

    The lock remembers every slice, so that none moves because another node came, went or grew; commit it.
    The same inventory and lock give the same bytes everywhere. With findings that are errors nothing is written.

    Two branches that both took the next free range are caught after their merge: --base or --keep says who stays.
    A lock that still holds the merge's marks is read as both sides together.

    \b
    Examples:
      podlan compile site -o output
      podlan compile site -o output --check        in CI, on a pull request
      podlan compile site -o output --base main    after merging main into a branch
    """
    from podlan import pipeline  # noqa: PLC0415 - as above
    from podlan.addressing import Decisions  # noqa: PLC0415 - as above

    decisions = Decisions(
        move=frozenset(move),
        keep=frozenset(keep),
        shrink=frozenset(shrink),
        base=pipeline.base_lock(site, base) if base is not None else None,
    )
    clock = Timings()
    compiled = pipeline.compile_site(
        site,
        out,
        decisions,
        locked=locked,
        strict=strict,
        write=not only_check,
        timings=clock,
        follow=with_progress if is_watched() and not quiet else None,
    )
    code = _exit_code(compiled, only_check=only_check, locked=locked)
    if form == "json":
        _print_json(_as_values(compiled) | ({"timings": clock.milliseconds()} if timings else {}))
        sys.exit(code)
    if timings:
        click.echo(clock.text(), nl=False, err=True)
    findings, texts = compiled.checked.findings, compiled.checked.source.texts
    if form != "text":
        _print_findings(findings, texts, form, most, sys.stdout)
        sys.exit(code)
    if findings:
        _print_findings(findings, texts, form, most, sys.stderr)
    if compiled.failed:
        sys.exit(code)
    if only_check or code:
        lines = list(_lock_lines(compiled.checked)) or list(_form_lines(compiled.checked))
        lines += [f"{what} {out}/{path}" for what, path in compiled.difference.names()]
        _print_some(lines or [f"{out}: right"], most)
        if lines:
            told = (
                ("--move", move),
                ("--shrink", shrink),
                ("--keep", keep),
                ("--base", () if base is None else (base,)),
            )
            options = [word for option, values in told for value in values for word in (option, value)]
            click.echo(f"run: {shlex.join(['podlan', 'compile', str(site), '-o', str(out), *options])}", err=True)
    elif not quiet:
        _print_some(list(_lock_lines(compiled.checked)), most)
        click.echo(_written(compiled, site, out))
    sys.exit(code)


def _exit_code(compiled: pipeline.Compiled, *, only_check: bool, locked: bool) -> int:
    if compiled.failed:
        return Exit.FAILED
    lock_differs = compiled.checked.lock_changes
    if (only_check and (lock_differs or compiled.difference)) or (locked and lock_differs):
        return Exit.DIFFERS
    return Exit.DONE


@click.command(epilog=EXIT_CODES)
@_site
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@click.option(
    "--older-than",
    metavar="AGE",
    callback=lambda _context, _parameter, value: _age(value),
    help="Only what is quarantined for so long, by git's history of the lock: 12h, 30d, 4w.",
)
def release(site: Path, nodes: tuple[str, ...], older_than: float | None) -> None:
    """End the quarantine of the addresses that NODEs gave up, so that others may get them.

    Do it when nothing answers at these addresses any more. Without NODE, --older-than says which.

    \b
    Examples:
      podlan release site node-7
      podlan release site --older-than 30d
    """
    from podlan import pipeline  # noqa: PLC0415 - as above
    from podlan.addressing import Range  # noqa: PLC0415 - as above

    if not nodes and older_than is None:
        raise click.UsageError("name a node, or say --older-than")
    before = None if older_than is None else time.time() - older_than
    released = pipeline.release(site, nodes, before=before)
    if released.findings:
        _print_findings(released.findings, released.texts, "text", _MOST, sys.stderr)
    if released.failed:
        sys.exit(Exit.FAILED)
    for subnet, node, item in released.freed:
        ranges = ", ".join(str(Range.parse(part)) for part in item.split(","))
        click.echo(f"released {ranges} of {subnet}, once {node}'s")
    if not released.freed:
        click.echo(f"nothing of {', '.join(nodes) or 'that age'} is quarantined", err=True)


_AGE = re.compile(r"([0-9]{1,6})([hdw])")
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


def _age(value: str | None) -> float | None:
    """Read an age such as 30d, in seconds."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter("write hours, days or weeks: 12h, 30d, 4w")
    return float(match[1]) * _UNITS[match[2]]


def _print_findings(findings: list[Finding], texts: dict[str, str], form: str, most: int, stream: TextIO) -> None:
    from podlan.rules import explanations  # noqa: PLC0415 - as above

    colour = stream.isatty() and "NO_COLOR" not in os.environ
    setting = Setting(texts, explanations(), __version__, colour=colour, most=most)
    click.echo(PRINTERS[form](findings, setting), nl=False, file=stream, color=True)


def _print_json(values: dict[str, object]) -> None:
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def _written(compiled: pipeline.Compiled, site: Path, out: Path) -> str:
    difference = compiled.difference
    written = len(difference.missing) + len(difference.stale)
    nodes = len(compiled.checked.site.nodes) if compiled.checked.site else 0
    return (
        f"{site} -> {out}: {_count(nodes, 'node')}, {_count(compiled.files, 'file')}: "
        f"{written} written, {len(difference.orphaned)} removed, {compiled.files - written} unchanged"
    )


def _print_some(lines: list[str], most: int) -> None:
    for line in lines[:most]:
        click.echo(line)
    if len(lines) > most:
        click.echo(f"… and {len(lines) - most} more")


def _lock_lines(checked: pipeline.Checked) -> Iterator[str]:
    """Tell what the lock gains and loses, line by line, as a diff does: first the slices that move or go."""
    if checked.allocation is None:
        return
    old, new = _lines(checked.lock), _lines(checked.allocation.lock)
    name = checked.source.lock_path.name
    lost = {_holder(line) for line in old - new if line.startswith("slice ")}
    changes = [("-", line) for line in sorted(old - new)] + [("+", line) for line in sorted(new - old)]
    first = [change for change in changes if _holder(change[1]) in lost]
    first.sort(key=lambda change: (_holder(change[1]), change[0] == "+"))
    for sign, line in (*first, *(change for change in changes if _holder(change[1]) not in lost)):
        yield f"{name}: {sign}{line}"


def _form_lines(checked: pipeline.Checked) -> Iterator[str]:
    """Tell that the lock's text would change though what it says stays."""
    if checked.lock_changes:
        is_merge = any(finding.code == "PL502" for finding in checked.findings)
        why = "marks of a merge" if is_merge else "the same facts, in another form"
        yield f"{checked.source.lock_path.name}: to be written anew ({why})"


def _holder(line: str) -> tuple[str, ...]:
    """Give what a line of the lock is about: kind, subnet and node."""
    return tuple(line.split(" ")[:3])


def _lines(lock: Lock) -> set[str]:
    return set(lock.text().splitlines()[1:])


def _as_values(compiled: pipeline.Compiled) -> dict[str, object]:
    return {
        **json.loads(as_json(compiled.checked.findings)),
        "lock": list(_lock_lines(compiled.checked)),
        "output": [{"change": what, "path": path} for what, path in compiled.difference.names()],
    }


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
