"""How a compile is told: findings, what the lock gains and loses, what was written."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from podlan import __version__
from podlan.diagnostics import as_json
from podlan.diagnostics.printers import PRINTERS, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

    from podlan import pipeline
    from podlan.diagnostics import Finding


def print_findings(findings: list[Finding], texts: dict[str, str], form: str, most: int, stream: TextIO) -> None:
    """Print findings in one of the forms, in colour where the stream is a terminal's."""
    from podlan.rules import explanations  # noqa: PLC0415 - completion and --help wait for no pydantic

    colour = stream is not None and stream.isatty() and "NO_COLOR" not in os.environ
    setting = Setting(texts, explanations(), __version__, colour=colour, most=most)
    click.echo(PRINTERS[form](findings, setting), nl=False, file=stream, color=True)


def print_json(values: dict[str, object]) -> None:
    """Print values for programs."""
    click.echo(json.dumps(values, indent=2, ensure_ascii=False))


def written(compiled: pipeline.Compiled, site: Path, out: Path) -> str:
    """Sum up a compile that succeeded."""
    difference = compiled.difference
    nodes = len(compiled.checked.site.nodes) if compiled.checked.site else 0
    return (
        f"{site} -> {out}: {count(nodes, 'node')}, {count(difference.wanted, 'file')}: "
        f"{difference.written} written, {len(difference.orphaned)} removed, "
        f"{difference.wanted - difference.written} unchanged"
    )


def print_some(lines: list[str], most: int) -> None:
    """Print the first lines, and how many there are besides."""
    for line in lines[:most]:
        click.echo(line)
    if len(lines) > most:
        click.echo(f"… and {len(lines) - most} more")


def lock_lines(checked: pipeline.Checked) -> Iterator[str]:
    """Tell what the lock gains and loses, line by line, as a diff does: first the slices that move or go."""
    if not checked.lock_changes:
        return
    old, new = _lines(checked.lock.text()), _lines(checked.lock_text)
    name = checked.source.lock_path.name
    lost = {_holder(line) for line in old - new if line.startswith("slice ")}
    changes = [("-", line) for line in sorted(old - new)] + [("+", line) for line in sorted(new - old)]
    first = [change for change in changes if _holder(change[1]) in lost]
    first.sort(key=lambda change: (_holder(change[1]), change[0] == "+"))
    for sign, line in (*first, *(change for change in changes if _holder(change[1]) not in lost)):
        yield f"{name}: {sign}{line}"


def form_lines(checked: pipeline.Checked) -> Iterator[str]:
    """Tell that the lock's text would change though what it says stays."""
    if checked.lock_changes:
        is_merge = any(finding.code == "PL502" for finding in checked.findings)
        why = "marks of a merge" if is_merge else "the same facts, in another form"
        yield f"{checked.source.lock_path.name}: to be written anew ({why})"


def _holder(line: str) -> tuple[str, ...]:
    """Give what a line of the lock is about: kind, subnet and node."""
    return tuple(line.split(" ")[:3])


def _lines(lock: str) -> set[str]:
    return set(lock.splitlines()[1:])


def as_values(compiled: pipeline.Compiled) -> dict[str, object]:
    """Give for programs what a compile found and what changes."""
    return {
        **json.loads(as_json(compiled.checked.findings)),
        "lock": list(lock_lines(compiled.checked)),
        "output": changes(compiled.difference.names()),
    }


def changes(names: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Give for programs the files that change."""
    return [{"change": what, "path": path} for what, path in names]


def count(number: int, thing: str) -> str:
    """Say how many there are of a thing."""
    return f"{number} {thing}{'s' * (number != 1)}"
