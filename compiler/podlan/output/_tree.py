"""How an output differs from what it should be, read and judged before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.output._errors import CannotWrite
from podlan.output._owned import CLUSTER, MANIFEST, MARKER, NODES, SIGNATURE, directories, listed
from podlan.output._reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

STAGE = ".podlan-stage"
"""Where new content is written before it is renamed into its place."""


@dataclass(slots=True)
class Difference:
    """What an output tree would need: relative paths, each list sorted."""

    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.stale or self.orphaned)


def compare(out: Path, trees: Mapping[str, Mapping[str, bytes]], marker: bytes = b"") -> Difference:
    """Tell how the output differs from {directory: {relative path: content}} and, if there is one, the marker.

    A directory is `cluster` or `nodes/NODE`. Raises CannotWrite for whatever would stand in the way of making it equal.
    """
    reader = Reader(out)
    for name in (STAGE, NODES):
        reader.is_directory(name)
    difference = Difference()
    wanted = {MARKER: marker} if marker else {}
    _sort_in(difference, reader, wanted.items())
    for directory, files in trees.items():
        _sort_in(difference, reader, ((f"{directory}/{path}", content) for path, content in files.items()))
    difference.orphaned += _orphans(reader, trees, out)
    for names in (difference.missing, difference.stale, difference.orphaned):
        names.sort()
    return difference


def _sort_in(difference: Difference, reader: Reader, wanted: Iterable[tuple[str, bytes]]) -> None:
    for name, content in wanted:
        present = reader.content(name)
        if present is None:
            difference.missing.append(name)
        elif present != content:
            difference.stale.append(name)


def _orphans(reader: Reader, trees: Mapping[str, Mapping[str, bytes]], out: Path) -> Iterator[str]:
    """Name the files that podlan wrote, by the manifests that are there, for a directory or a path that is no more."""
    for directory in directories(out):
        files = trees.get(directory, {})
        try:
            manifest = reader.content(f"{directory}/{MANIFEST}")
        except CannotWrite:
            if files:
                raise
            continue  # of others, who may have links and directories of any name
        if files and manifest == files.get(MANIFEST):
            continue
        paths = listed(directory, manifest)
        # Of another manifest than the one that comes, a signature is worth nothing.
        for path in [SIGNATURE, *paths] if paths and directory != CLUSTER else paths:
            name = f"{directory}/{path}"
            if path not in files and reader.has(name):
                yield name


def names(difference: Difference) -> Iterable[tuple[str, str]]:
    """List the difference as (what, path) for people and programs."""
    yield from (("missing", path) for path in difference.missing)
    yield from (("stale", path) for path in difference.stale)
    yield from (("orphaned", path) for path in difference.orphaned)
