"""Writing an output: staged in a directory of its own, renamed into place, and what is podlan's and not wanted removed.

A full disk or a kill while staging leaves the tree as it was. A kill while renaming or removing leaves what the
next run still sees: a directory's manifest, which says what in it is podlan's, is the last to change and to go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Self

from podlan.output._errors import CannotWrite
from podlan.output._owned import MANIFEST, MARKER, directories, parted
from podlan.output._reader import Reader
from podlan.output._tree import STAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from podlan.output._tree import Difference


class Staged:
    """New content beside the tree; `commit` puts it in place, leaving the context forgets what was not committed."""

    def __init__(
        self, out: Path, trees: Mapping[str, Mapping[str, bytes]], difference: Difference, marker: bytes = b""
    ) -> None:
        self.out = out
        self.difference = difference
        self.stage = out / STAGE
        _refuse_unwritable(out, difference)
        with _writing(out):
            self._discard()
            try:
                self._write(trees, marker)
            except BaseException:
                self._discard()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _writing(self.out):
            self._discard()

    def _write(self, trees: Mapping[str, Mapping[str, bytes]], marker: bytes) -> None:
        made: set[Path] = set()
        for name in (*self.difference.missing, *self.difference.stale):
            target = self.stage / name
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            directory, path = parted(name)
            content = trees[directory][path] if path else marker
            with open(target, "xb", buffering=0) as file:  # noqa: PTH123 - faster than Path.write_bytes over many
                if file.write(content) != len(content):
                    # A short write means just that.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    def commit(self) -> None:
        """Swap the new content in and remove what is orphaned; a whole new directory is one rename."""
        with _writing(self.out):
            if MARKER in (*self.difference.missing, *self.difference.stale):
                (self.stage / MARKER).replace(self.out / MARKER)
            orphans = _by_directory(self.difference.orphaned)
            for name in sorted(directories(self.stage)):
                staged, target = self.stage / name, self.out / name
                target.parent.mkdir(exist_ok=True)
                if target.exists():
                    _change(staged, target, orphans.pop(name, []))
                else:
                    staged.rename(target)
            for name, paths in orphans.items():
                self._remove(name, paths)
            self._discard()

    def _remove(self, name: str, paths: list[str]) -> None:
        """Remove what podlan wrote for a node that is gone, its manifest last, and its directory if nobody uses it."""
        directory = self.out / name
        _unlink(directory, [path for path in paths if path != MANIFEST])
        if MANIFEST not in paths:
            return
        if [entry.name for entry in directory.iterdir()] == [MANIFEST]:
            # Out of the tree in one step: no kill can leave a directory that nobody knows to be podlan's.
            gone = self.stage / "gone" / name
            gone.parent.mkdir(parents=True, exist_ok=True)
            directory.rename(gone)
        else:
            (directory / MANIFEST).unlink()

    def _discard(self) -> None:
        """Remove the staging directory, also one that a killed run left."""
        if os.path.lexists(self.stage):
            shutil.rmtree(self.stage)


def _change(staged: Path, target: Path, orphans: list[str]) -> None:
    """Change a directory file by file; the manifest last, so that a tree cut short is not seen as whole."""
    files = [Path(root, name) for root, _, names in os.walk(staged) for name in names]
    for file in sorted(file for file in files if file != staged / MANIFEST):
        place = target / file.relative_to(staged)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)
    _unlink(target, orphans)
    if (staged / MANIFEST) in files:
        (staged / MANIFEST).replace(target / MANIFEST)


def _unlink(directory: Path, paths: list[str]) -> None:
    """Remove files, and directories that are empty now or were since a kill."""
    for path in paths:
        (directory / path).unlink(missing_ok=True)
    for root, _, _ in os.walk(directory, topdown=False):
        if Path(root) != directory:
            with contextlib.suppress(OSError):  # not empty
                Path(root).rmdir()


def _by_directory(names: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        directory, path = parted(name)
        found.setdefault(directory, []).append(path)
    return found


def _refuse_unwritable(out: Path, difference: Difference) -> None:
    """Refuse where the operating system would not let us finish: the lock is written before the tree."""
    reader = Reader(out)
    changed = {name.rpartition("/")[0] for name in (*difference.missing, *difference.stale, *difference.orphaned)}
    present = {_present(reader, name) for name in changed}
    # A directory that goes is renamed away.
    present |= {parted(name)[0].rpartition("/")[0] for name in difference.orphaned}
    for name in sorted(present):
        if out.exists() and not os.access(out / name, os.W_OK | os.X_OK):
            raise CannotWrite(out / name, "no permission to write there")


def _present(reader: Reader, name: str) -> str:
    while not reader.is_directory(name):
        name = name.rpartition("/")[0]
    return name


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(Path(error.filename or out), error.strerror or str(error)) from error
