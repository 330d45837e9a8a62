"""`podlan check`, `compile` and `release`."""

from __future__ import annotations

import gc
import json
import re
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podlan.cli import EXIT_CODES, told
from podlan.cli._progress import is_watched, with_progress
from podlan.cli._sites import Shard, gravest, named, refuse_other_layout
from podlan.cli._telling import (
    as_values,
    changes,
    count,
    form_lines,
    lock_lines,
    print_findings,
    print_json,
    print_some,
    written,
)
from podlan.diagnostics import Exit, PodlanError, as_json, has_warnings
from podlan.diagnostics.printers import PRINTERS
from podlan.timings import Timings

if TYPE_CHECKING:
    from podlan import pipeline
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
        print_json({**json.loads(as_json(checked.findings)), "timings": clock.milliseconds()})
        sys.exit(Exit.FAILED if failed else Exit.DONE)
    if form != "text" or checked.findings:
        print_findings(checked.findings, checked.source.texts, form, most, sys.stdout)
    if timings:
        click.echo(clock.text(), nl=False, err=True)
    if form == "text" and not failed and checked.site is not None:
        click.echo(f"{site}: {count(len(checked.site.nodes), 'node')}, no errors")
    sys.exit(Exit.FAILED if failed else Exit.DONE)


@click.command("compile", epilog=EXIT_CODES)
@click.argument("sites", metavar="SITE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where the files go; with several SITEs each site's into a directory of its name there.",
)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 3 unless lock and output are right.")
@click.option("--locked", is_flag=True, help="Refuse to change podlan.lock (for CI); exit 3 where it would change.")
@click.option(
    "--shard",
    metavar="I/N",
    callback=lambda _context, _parameter, value: value and Shard.parse(value),
    help="Of the SITEs only the I-th of N parts: every N-th in the order of their names.",
)
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
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    help="Processes that render and write.  [default: one a processor, 4 at most, each with 500 nodes at least]",
)
@click.option("-q", "--quiet", is_flag=True, help="Print findings and what --check finds, and nothing of a success.")
def compile_(sites: tuple[Path, ...], shard: Shard | None, form: str, **options: Any) -> None:  # noqa: ANN401 - click's
    """Compile SITE into the output directory and bring SITE's podlan.lock up to date.

    The lock remembers every slice, so that none moves because another node came, went or grew; commit it.
    The same inventory and lock give the same bytes everywhere. With findings that are errors nothing is written.

    Two branches that both took the next free range are caught after their merge: --base or --keep says who stays.
    A lock that still holds the merge's marks is read as both sides together.

    Several SITEs, or --shard, compile one after the other, each into OUTPUT/NAME after its directory's name. A site
    that fails stops no other; the exit code is the gravest of all sites (4, 75, 1, 3). Shards need no
    knowledge of each other: give every one the same SITEs. `podlan audit OUTPUT` then compares all sites.

    \b
    Examples:
      podlan compile site -o output
      podlan compile site -o output --check        in CI, on a pull request
      podlan compile site -o output --base main    after merging main into a branch
      podlan compile sites/* -o outputs --shard 2/8    the second of eight CI jobs
    """
    request = _Request(**options)
    known = named(sites)
    is_one = shard is None and len(known) == 1
    refuse_other_layout(known, request.out, is_one=is_one)
    if is_one:
        (site,) = known.values()
        sys.exit(_compile_one(site, request, form))
    if request.move or request.shrink or request.keep:
        raise click.UsageError("--move, --shrink and --keep are about nodes of one site: name that SITE alone")
    part = shard.of(known) if shard else known
    outcomes = []
    for name, site in part.items():
        outcomes.append(_outcome(name, site, request, form))
        gc.collect()  # what a site leaves in circles, so that many take no more memory than the largest
    _tell_all(outcomes, form, request)
    if form == "text" and not request.quiet:
        click.echo(_total(outcomes, len(known), shard))
    sys.exit(gravest(outcome.code for outcome in outcomes))


@dataclass(frozen=True, slots=True)
class _Request:
    """What the command line asks of a compile."""

    out: Path
    only_check: bool
    locked: bool
    move: tuple[str, ...]
    shrink: tuple[str, ...]
    keep: tuple[str, ...]
    base: str | None
    strict: bool
    most: int
    timings: bool
    jobs: int | None
    quiet: bool
    clock: Timings = field(default_factory=Timings)
    """The stages of all sites together."""

    def compile(self, site: Path, out: Path) -> pipeline.Compiled:
        from podlan import pipeline  # noqa: PLC0415 - as above
        from podlan.addressing import Decisions  # noqa: PLC0415 - as above

        decisions = Decisions(
            move=frozenset(self.move),
            keep=frozenset(self.keep),
            shrink=frozenset(self.shrink),
            base=pipeline.base_lock(site, self.base) if self.base is not None else None,
        )
        return pipeline.compile_site(
            site,
            out,
            decisions,
            locked=self.locked,
            strict=self.strict,
            write=not self.only_check,
            jobs=self.jobs,
            timings=self.clock,
            follow=with_progress if is_watched() and not self.quiet else None,
        )

    def exit_code(self, compiled: pipeline.Compiled) -> int:
        if compiled.failed:
            return Exit.FAILED
        lock_differs = compiled.checked.lock_changes
        if (self.only_check and (lock_differs or compiled.difference)) or (self.locked and lock_differs):
            return Exit.DIFFERS
        return Exit.DONE

    def print_values(self, values: dict[str, object]) -> None:
        """Print for programs what came of it."""
        print_json(values | ({"timings": self.clock.milliseconds()} if self.timings else {}))

    def print_timings(self) -> None:
        """Tell people how long the stages took, if they asked."""
        if self.timings:
            click.echo(self.clock.text(), nl=False, err=True)

    @property
    def words(self) -> list[str]:
        """The options that decide about addresses, as they are typed."""
        told = (
            ("--move", self.move),
            ("--shrink", self.shrink),
            ("--keep", self.keep),
            ("--base", () if self.base is None else (self.base,)),
        )
        return [word for option, values in told for value in values for word in (option, value)]


def _compile_one(site: Path, request: _Request, form: str) -> int:
    compiled = request.compile(site, request.out)
    findings, texts = compiled.checked.findings, compiled.checked.source.texts
    if form == "json":
        request.print_values(as_values(compiled))
        return request.exit_code(compiled)
    request.print_timings()
    if form != "text":
        print_findings(findings, texts, form, request.most, sys.stdout)
    else:
        _tell(compiled, site, request.out, request)
    return request.exit_code(compiled)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one of several sites ended. What it found is kept only where all is printed at the end."""

    name: str
    site: Path
    out: Path
    code: int
    error: str = ""
    findings: tuple[Finding, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    lock: tuple[str, ...] = ()
    output: tuple[tuple[str, str], ...] = ()


def _outcome(name: str, site: Path, request: _Request, form: str) -> _Outcome:
    """Compile one of several sites; what stands in its way is told, and stops no other."""
    out = request.out / name
    try:
        compiled = request.compile(site, out)
    except BrokenPipeError:
        raise
    except PodlanError as error:
        failed = _Outcome(name, site, out, error.exit_code, str(error))
    except OSError as error:
        failed = _Outcome(name, site, out, Exit.ENVIRONMENT, told(error))
    else:
        code = request.exit_code(compiled)
        if form == "text":
            _tell(compiled, site, out, request)
            return _Outcome(name, site, out, code)
        checked = compiled.checked
        findings = tuple(checked.findings)
        # Only the files that a printer will show lines of: those of all sites are too many.
        shown = {place.file for one in findings for place in (one.place, *one.also) if place}
        texts = {file: text for file, text in checked.source.texts.items() if file in shown}
        lock, output = tuple(lock_lines(checked)), tuple(compiled.difference.names())
        return _Outcome(name, site, out, code, "", findings, texts, lock, output)
    click.echo(f"error: {site}: {failed.error}", err=True)
    return failed


def _tell(compiled: pipeline.Compiled, site: Path, out: Path, request: _Request) -> None:
    if compiled.checked.findings:
        print_findings(compiled.checked.findings, compiled.checked.source.texts, "text", request.most, sys.stderr)
    if compiled.failed:
        return
    if request.only_check or request.exit_code(compiled):
        lines = list(lock_lines(compiled.checked)) or list(form_lines(compiled.checked))
        lines += [f"{what} {out}/{path}" for what, path in compiled.difference.names()]
        print_some(lines or [f"{out}: right"], request.most)
        if lines:
            command = ["podlan", "compile", str(site), "-o", str(out), *request.words]
            click.echo(f"run: {shlex.join(command)}", err=True)
    elif not request.quiet:
        print_some(list(lock_lines(compiled.checked)), request.most)
        click.echo(written(compiled, site, out))


def _tell_all(outcomes: list[_Outcome], form: str, request: _Request) -> None:
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if form == "json":
        values = {
            **json.loads(as_json(findings)),
            "sites": [
                {
                    "site": one.name,
                    "path": str(one.site),
                    "directory": str(one.out),
                    "exitCode": one.code,
                    "error": one.error,
                    "lock": list(one.lock),
                    "output": changes(one.output),
                }
                for one in outcomes
            ],
        }
        request.print_values(values)
        return
    request.print_timings()
    if form != "text":
        texts = {file: text for outcome in outcomes for file, text in outcome.texts.items()}
        print_findings(findings, texts, form, request.most, sys.stdout)


def _total(outcomes: list[_Outcome], known: int, shard: Shard | None) -> str:
    """Tell how all ended: `12 of 48 sites (shard 1/4): 11 done; dc7 exits 1`."""
    which = count(known, "site")
    if shard is not None:
        which = f"{len(outcomes)} of {which} (shard {shard.number}/{shard.total})"
    others = "".join(f"; {one.name} exits {one.code}" for one in outcomes if one.code)
    return f"{which}: {sum(not one.code for one in outcomes)} done{others}"


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
        print_findings(released.findings, released.texts, "text", _MOST, sys.stderr)
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
