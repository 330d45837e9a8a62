"""The two files of a new site, written whole or not at all."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from podlan.output import CannotWrite, remove_leftovers, turn, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SITE, _ATTRIBUTES = "site.yaml", ".gitattributes"
_ONE_LINE_END = b"podlan.lock text eol=lf\n*.yaml text eol=lf\n"
"""The lock is compared byte for byte, on every machine."""
_TEMPORARY = ".podlan-tmp"


def refuse_taken(directory: Path) -> None:
    """Refuse a directory that holds anything of somebody's; a fresh git repository is as good as empty.

    So is what an init that was killed left: the next one finishes it. Raises click.UsageError.
    """
    for entry in directory.iterdir() if directory.is_dir() else ():
        if entry.name == ".git" or (entry.name.startswith(".") and entry.name.endswith(_TEMPORARY)):
            continue
        if entry.name == _ATTRIBUTES and entry.is_file() and entry.read_bytes() == _ONE_LINE_END:
            continue
        raise click.UsageError(f"{directory} is not empty: it holds {entry.name}; name a new directory")


def write(directory: Path, text: str) -> tuple[Path, ...]:
    """Write the files, what makes the directory a site last; give their paths.

    What stands in the way leaves nothing behind. Raises CannotWrite, Busy, and click.UsageError where another was
    faster.
    """
    with _made(directory), turn(directory):
        refuse_taken(directory)
        files = {directory / _ATTRIBUTES: _ONE_LINE_END, directory / _SITE: text.encode()}
        new = [file for file in files if not file.exists()]
        try:
            for file, content in files.items():
                remove_leftovers(file)
                write_durably(file, content)
        except BaseException:
            for file in new:
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
            raise
    return tuple(reversed(files))


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[None]:
    """Make a directory and those above it, and take them away again when what needs them fails."""
    missing = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(directory, error.strerror or str(error)) from error
        yield
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise
