"""The output tree: compare, stage, swap in, prune what is podlan's own.

A directory under nodes/ is podlan's when a manifest.json of podlan's stands in it; nothing else is ever
changed or removed. All new content is written to a staging directory beside `nodes` first, so that a full disk
or a kill leaves the old tree as it was; then every directory or file is renamed into its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.output._errors import CannotWrite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NODES = "nodes"
_STAGE = ".podlan-stage"
_UNCHECKED = (".sig",)
"""A signature is put beside the manifest after compiling."""


@dataclass(slots=True)
class Difference:
    """What an output tree would need: relative paths, each list sorted."""

    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.missing or self.stale or self.orphaned)


def compare(out: Path, nodes: Mapping[str, Mapping[str, bytes]]) -> Difference:
    """Tell how the tree at `out` differs from {node: {relative path: content}}."""
    difference = Difference()
    for node, files in nodes.items():
        for path, content in files.items():
            name = f"{NODES}/{node}/{path}"
            present = _read(out / name)
            if present is None:
                difference.missing.append(name)
            elif present != content:
                difference.stale.append(name)
    difference.orphaned = sorted(_orphans(out, nodes))
    return difference


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotWrite(path, error.strerror or str(error)) from error


def _orphans(out: Path, nodes: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Name the files that podlan wrote for a node or a path that is no more."""
    for directory in _directories(out / NODES):
        if not _is_ours(directory):
            continue
        wanted = nodes.get(directory.name, {})
        for root, _, names in os.walk(directory):
            for name in names:
                path = Path(root, name).relative_to(directory).as_posix()
                if path not in wanted and not (wanted and path.endswith(_UNCHECKED)):
                    yield f"{NODES}/{directory.name}/{path}"


def _directories(path: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CannotWrite(path, error.strerror or str(error)) from error


def _is_ours(directory: Path) -> bool:
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and "podlan" in manifest and manifest.get("node") == directory.name


class Staged:
    """New content that stands ready beside the tree; `commit` renames it into place, `discard` forgets it."""

    def __init__(self, out: Path, nodes: Mapping[str, Mapping[str, bytes]], difference: Difference) -> None:
        self.out = out
        self.difference = difference
        self.stage = out / _STAGE
        with _writing(out):
            self.discard()
            self._write(nodes)

    def _write(self, nodes: Mapping[str, Mapping[str, bytes]]) -> None:
        try:
            made: set[Path] = set()
            for name in (*self.difference.missing, *self.difference.stale):
                _, node, path = name.split("/", 2)
                target = self.stage / node / path
                if target.parent not in made:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    made.add(target.parent)
                with open(target, "xb", buffering=0) as file:  # noqa: PTH123 - faster than Path.write_bytes over many
                    content = nodes[node][path]
                    if file.write(content) != len(content):
                        raise OSError(28, "No space left on device")  # noqa: TRY301 - a short write means just that
        except OSError:
            self.discard()
            raise

    def commit(self) -> None:
        """Swap the new content in and remove what is orphaned; a whole new node is one rename."""
        with _writing(self.out):
            (self.out / NODES).mkdir(parents=True, exist_ok=True)
            for staged in sorted(_directories(self.stage)):
                target = self.out / NODES / staged.name
                if target.exists():
                    _swap_files(staged, target)
                else:
                    staged.rename(target)
            for name in self.difference.orphaned:
                _remove(self.out / name, self.out / NODES)
            self.discard()

    def discard(self) -> None:
        """Remove the staging directory, also one that a killed run left."""
        if self.stage.exists():
            shutil.rmtree(self.stage)


def _swap_files(staged: Path, target: Path) -> None:
    """Rename file by file; the manifest last, so that a tree cut short is seen as stale, not as whole."""
    files = [Path(root, name) for root, _, names in os.walk(staged) for name in names]
    for file in sorted(files, key=lambda file: (file.name == "manifest.json", file)):
        place = target / file.relative_to(staged)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


def _remove(path: Path, root: Path) -> None:
    path.unlink(missing_ok=True)
    for parent in path.parents:
        if parent == root:
            break
        with contextlib.suppress(OSError):  # not empty: something else lives there
            parent.rmdir()
            continue
        break


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(Path(error.filename or out), error.strerror or str(error)) from error


def names(difference: Difference) -> Iterable[tuple[str, str]]:
    """List the difference as (what, path) for people and programs."""
    yield from (("missing", path) for path in difference.missing)
    yield from (("stale", path) for path in difference.stale)
    yield from (("orphaned", path) for path in difference.orphaned)
