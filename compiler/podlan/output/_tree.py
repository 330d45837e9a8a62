"""How an output differs from what it should be, read and judged before anything is written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from podlan.output._errors import CannotWrite
from podlan.output._owned import CLUSTER, MANIFEST, MARKER, NODES, SIGNATURE, directories, listed
from podlan.output._reader import Reader
from podlan.shares import shared
from podlan.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Tree = tuple[str, Mapping[str, bytes]]
    """A directory of the output: its name there, and its files by their paths in it."""
    _Found = tuple["Difference", set[str]]
    """What was found of some directories, and their names."""

STAGE = ".podlan-stage"
"""Where new content is written before it is renamed into its place."""


@dataclass(slots=True)
class Difference:
    """What an output tree would need: relative paths."""

    missing: list[str] = field(default_factory=list)
    absent: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Directories that are not there, and the files that they should hold: most the same ones, which are kept once."""
    stale: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    """Directories in which podlan had files and wants none now, each after those in it; others may have some there."""
    wanted: int = 0
    """How many files the output should have."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.absent or self.stale or self.orphaned)

    @property
    def written(self) -> int:
        """Count the files that are to be written."""
        return len(self.missing) + len(self.stale) + sum(len(paths) for _, paths in self.absent)

    def names(self) -> Iterator[tuple[str, str]]:
        """List it as (what, path) for people and programs."""
        missing = [*self.missing, *(f"{name}/{path}" for name, paths in self.absent for path in paths)]
        for what, paths in (("missing", missing), ("stale", self.stale), ("orphaned", self.orphaned)):
            yield from ((what, path) for path in sorted(paths))

    def join(self, other: Difference) -> None:
        """Add what another part of the output needs."""
        self.missing += other.missing
        self.absent += other.absent
        self.stale += other.stale
        self.orphaned += other.orphaned
        self.emptied += other.emptied
        self.wanted += other.wanted


class Comparison:
    """Compares an output with what it should be, one of its directories after the other.

    A directory is `cluster` or `nodes/NODE`. Raises CannotWrite for whatever would stand in the way of making it equal.
    """

    def __init__(self, out: Path, marker: bytes, timings: Timings) -> None:
        self._out = out
        self._timings = timings
        self._difference = Difference(wanted=bool(marker))
        self._seen: set[str] = set()
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._reader = Reader(out)
        for name in (STAGE, NODES):
            self._reader.is_directory(name)
        self.lacks_marker = bool(marker and self._to_write(self._reader, {MARKER: marker}, ""))

    def directory(self, name: str, files: Mapping[str, bytes]) -> tuple[list[str], bool]:
        """Give the paths in a directory that have to be written, and whether it is not there at all."""
        with self._timings.stage("compare"):
            self._seen.add(name)
            self._difference.wanted += len(files)
            reader = self._reader.fork()
            if not reader.is_directory(name):
                paths = tuple(files)
                self._difference.absent.append((name, self._known.setdefault(paths, paths)))
                return list(files), True
            manifest = reader.content(f"{name}/{MANIFEST}")
            if manifest is not None and manifest == files.get(MANIFEST):  # it lists the same files
                files = {path: content for path, content in files.items() if path != MANIFEST}
            else:
                before = listed(name, manifest)
                self._difference.orphaned += _orphans(reader, name, before, files)
                emptied = sorted(set(above(tuple(before))) - set(above(tuple(files))), reverse=True)
                self._difference.emptied += [f"{name}/{directory}" for directory in emptied]
            return self._to_write(reader, files, f"{name}/"), False

    def _to_write(self, reader: Reader, files: Mapping[str, bytes], prefix: str) -> list[str]:
        paths = []
        for path, content in files.items():
            name = f"{prefix}{path}"
            is_same = reader.is_same(name, content)
            if is_same is None:
                self._difference.missing.append(name)
            elif not is_same:
                self._difference.stale.append(name)
            if not is_same:
                paths.append(path)
        return paths

    def share(self, parts: Sequence[Iterable[Tree]], look: Callable[[Iterable[Tree]], None]) -> None:
        """Let `look` go through each part, by processes of their own, and take over what their copies of this found."""

        def found(part: Iterable[Tree]) -> _Found:
            look(part)
            return self._found()

        before = self._found()
        with closing(shared(parts, found)) as results:
            self._join(next(results))
            self._join(before)
            if len(parts) > 1:
                with self._timings.stage("wait"):
                    for result in results:
                        self._join(result)

    def _join(self, found: _Found) -> None:
        difference, seen = found
        self._seen |= seen
        self._difference.join(difference)

    def _found(self) -> _Found:
        """Give what was found since the last call."""
        found = (self._difference, self._seen)
        self._difference, self._seen = Difference(), set()
        return found

    def end(self) -> Difference:
        """Give all that differs, now that every directory was seen; whatever else podlan wrote is orphaned."""
        difference = self._difference
        for name in directories(self._out):
            if name not in self._seen:
                reader = Reader(self._out)
                try:
                    manifest = reader.content(f"{name}/{MANIFEST}")
                except CannotWrite:
                    continue  # of others, who may have links and directories of any name
                difference.orphaned += _orphans(reader, name, listed(name, manifest), {})
        return difference


def compare(
    out: Path, parts: Sequence[Iterable[Tree]], marker: bytes = b"", timings: Timings | None = None
) -> Difference:
    """Tell how the output differs from its directories, which come in parts, and from the marker, if there is one."""
    comparison = Comparison(out, marker, timings or Timings())

    def look(part: Iterable[Tree]) -> None:
        for name, files in part:
            comparison.directory(name, files)

    comparison.share(parts, look)
    return comparison.end()


@lru_cache(maxsize=64)
def above(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Give the directories that files need, from the outermost, "", in: most nodes have the same."""
    found = {""}
    for path in paths:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return tuple(sorted(found))


def _orphans(reader: Reader, directory: str, paths: list[str], files: Mapping[str, bytes]) -> Iterator[str]:
    """Name the files that podlan wrote, by the manifest that is there, and that are wanted no more."""
    # Of another manifest than the one that comes, a signature is worth nothing.
    for path in [SIGNATURE, *paths] if paths and directory != CLUSTER else paths:
        name = f"{directory}/{path}"
        if path not in files and reader.has(name):
            yield name
