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
from podlan.output._owned import MANIFEST, MARKER, NODES, directories, parted
from podlan.output._reader import Reader
from podlan.output._tree import STAGE, Comparison, above
from podlan.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from podlan.output._tree import Difference, Tree


class Staged:
    """New content beside the tree; `commit` puts it in place, leaving the context forgets what was not committed.

    Each of `parts` gives (directory, {relative path: content}) one after the other, so that none but one is in memory,
    and every part but the first has a process of its own; `difference` then tells how the output differed from all of
    them, and from the marker.
    """

    def __init__(
        self,
        out: Path,
        parts: Sequence[Iterable[Tree]],
        marker: bytes = b"",
        timings: Timings | None = None,
    ) -> None:
        self.out = out
        self._timings = timings or Timings()
        self.stage = out / STAGE
        self._begun = False
        self._permitted: set[str] = set()
        comparison = Comparison(out, marker, self._timings)
        with _writing(out):
            self._discard()
            try:
                if comparison.lacks_marker:
                    self._refuse_unwritable({""})
                    self._write("", {MARKER: marker}, [MARKER])
                self.difference = self._write_differing(parts, comparison)
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

    def _write_differing(self, parts: Sequence[Iterable[Tree]], comparison: Comparison) -> Difference:
        def look(part: Iterable[Tree]) -> None:
            for name, files in part:
                paths, is_new = comparison.directory(name, files)
                if paths:
                    with self._timings.stage("write"):
                        # A directory that is not there yet comes with all that is in it.
                        changed = [name] if is_new else [f"{name}/{path}" for path in paths]
                        self._refuse_unwritable({path.rpartition("/")[0] for path in changed})
                        self._write(f"{name}/", files, paths)

        comparison.share(parts, look)
        difference = comparison.end()
        self._refuse_unwritable({name.rpartition("/")[0] for name in difference.orphaned})
        # A directory that goes is renamed away.
        self._refuse_unwritable({parted(name)[0].rpartition("/")[0] for name in difference.orphaned})
        return difference

    def _write(self, prefix: str, files: Mapping[str, bytes], paths: list[str]) -> None:
        """Write some files of a directory below the stage."""
        if not self._begun:
            self._begun = True
            # Another process of this run may have been here first.
            self.stage.mkdir(exist_ok=True)
            (self.stage / NODES).mkdir(exist_ok=True)
        top = f"{self.stage}/{prefix}"
        for directory in above(tuple(paths)) if prefix else ():
            os.mkdir(f"{top}{directory}")  # noqa: PTH102 - Path takes as long to be made as the directory
        for path in paths:
            target, content = f"{top}{path}", files[path]
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                if os.write(descriptor, content) != len(content):
                    # A short write means just that.
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
            finally:
                os.close(descriptor)

    def _refuse_unwritable(self, directories: Iterable[str]) -> None:
        """Refuse where the operating system would not let us finish: the lock is written before the tree."""
        reader = Reader(self.out)
        for name in sorted(directories):
            if name not in self._permitted:
                present = self.out / _present(reader, name)
                if not os.access(present, os.W_OK | os.X_OK):
                    raise CannotWrite(present, "no permission to write there")
                self._permitted.add(name)

    def commit(self) -> None:
        """Swap the new content in and remove what is orphaned; a whole new directory is one rename."""
        with _writing(self.out):
            if MARKER in (*self.difference.missing, *self.difference.stale):
                (self.stage / MARKER).replace(self.out / MARKER)
            orphans = _by_directory(self.difference.orphaned)
            emptied = _by_directory(self.difference.emptied)
            staged = sorted(directories(self.stage))
            if any(name.startswith(f"{NODES}/") for name in staged):
                (self.out / NODES).mkdir(exist_ok=True)
            for name in staged:
                source, target = f"{self.stage}/{name}", f"{self.out}/{name}"
                if os.path.exists(target):  # noqa: PTH110 - here and below: ten thousand times, and Path takes longer
                    _change(source, target, orphans.pop(name, []), emptied.get(name, []))
                else:
                    os.rename(source, target)  # noqa: PTH104 - as above
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


def _change(staged: str, target: str, orphans: list[str], emptied: list[str]) -> None:
    """Change a directory file by file; the manifest last, so that a tree cut short is not seen as whole."""
    start = len(staged) + 1
    found = [(f"{root}/"[start:], names) for root, _, names in os.walk(staged)]
    paths = sorted(f"{place}{name}" for place, names in found for name in names)
    for path in paths:
        if path != MANIFEST:
            _move(f"{staged}/{path}", f"{target}/{path}")
    for path in orphans:
        Path(target, path).unlink(missing_ok=True)
    for path in emptied:
        with contextlib.suppress(OSError):  # not empty, or gone
            Path(target, path).rmdir()
    if MANIFEST in paths:
        _move(f"{staged}/{MANIFEST}", f"{target}/{MANIFEST}")


def _move(source: str, place: str) -> None:
    try:
        os.replace(source, place)  # noqa: PTH105 - Path takes longer to be made
    except FileNotFoundError:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(source).replace(place)


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
