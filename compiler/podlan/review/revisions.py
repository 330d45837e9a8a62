"""A path of a git revision, such as `main:site`: its files, read from git itself.

The objects are read as they are (`git cat-file`), since `git archive` would leave out what .gitattributes marks
export-ignore and rewrite line ends.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from podlan.source import GitFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LOCK = "podlan.lock"
_PLAIN, _SYMLINK, _SUBMODULE = "100644", "120000", "160000"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a tree: its mode as git writes it, its object, its path below the tree."""

    mode: str
    oid: str
    path: str

    @property
    def is_plain(self) -> bool:
        """Tell a file from a symbolic link."""
        return self.mode != _SYMLINK


@dataclass(frozen=True, slots=True)
class Tree:
    """What REV:PATH names: a directory's files, or (`file` is its name) one file and the lock beside it."""

    argument: str
    entries: tuple[Entry, ...]
    file: str = ""

    def contents(self, wanted: Sequence[Entry]) -> Iterator[bytes]:
        """Give the contents of some of the files, in their order. Raises GitFailed."""
        return _contents(self.argument, wanted)

    def write(self, into: Path) -> Path:
        """Write the files below a directory and give the path of what was named."""
        target = into / "tree"
        target.mkdir()
        _write(self, target)
        return target / self.file


def split(argument: str) -> tuple[str, str] | None:
    """Take REV:PATH apart, or give None for another form."""
    revision, colon, path = argument.partition(":")
    return (revision, path) if revision and colon and "\0" not in argument else None


def find(argument: str) -> Tree:
    """Find what REV:PATH names. PATH counts from the top of the repository, or with ./ from here, as it does for git.

    Raises GitFailed.
    """
    revision, path = split(argument) or ("", "")
    path = "./" if path == "." else path.rstrip("/") if path.strip("./") else path
    _git(argument, "rev-parse", "--git-dir")
    _commit(argument, revision)
    oid, kind = _object(argument, revision, path)
    if kind == "tree":
        return Tree(argument, tuple(_tree(argument, oid)))
    name = path.rpartition("/")[2]
    entries = [Entry(_PLAIN, oid, name)]
    lock = _find(f"{revision}:{path[: -len(name)]}{_LOCK}")
    if lock:
        entries.append(Entry(_PLAIN, lock, _LOCK))
    return Tree(argument, tuple(entries), name)


def _commit(argument: str, revision: str) -> None:
    if not _find(f"{revision}^{{tree}}"):
        raise GitFailed(argument, f"{revision} is no revision of this repository; see `git branch -a` and `git log`")


def _object(argument: str, revision: str, path: str) -> tuple[str, str]:
    oid = _find(f"{revision}:{path}" if path else f"{revision}^{{tree}}")
    if not oid:
        raise GitFailed(
            argument, f"{revision} has no {path}; paths count from the top of the repository, or from here with ./"
        )
    kind = _git(argument, "cat-file", "-t", oid).strip()
    if kind not in ("tree", "blob"):
        raise GitFailed(argument, f"{path} is a {kind}, not a file or a directory")
    return oid, kind


def _find(name: str) -> str:
    """Resolve a name to an object, or to nothing."""
    done = _run(name, ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", name])
    # With --end-of-options some versions of git print that word too.
    words = done.stdout.split()
    return words[-1] if done.returncode == 0 and words else ""


def _git(what: str, *arguments: str) -> str:
    done = _run(what, ["git", *arguments])
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise GitFailed(what, lines[0].removeprefix("fatal: ") if lines else f"git {arguments[0]} failed")
    return done.stdout


def _run(what: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - a list, no shell
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError as error:
        raise GitFailed(what, f"git cannot be run ({error.strerror})") from error


def _tree(argument: str, oid: str) -> Iterator[Entry]:
    for line in _git(argument, "ls-tree", "-r", "-z", "--full-tree", oid).split("\0"):
        head, tab, path = line.partition("\t")
        if not tab:
            continue
        mode, _, item = head.split()
        # A crafted tree may hold names that lead out of the directory.
        if mode != _SUBMODULE and not {"", ".", ".."} & set(path.split("/")):
            yield Entry(mode, item, path)


def _write(tree: Tree, target: Path) -> None:
    """Write plain files first and links last, so that nothing is ever written through a link."""
    ordered = sorted(tree.entries, key=lambda entry: not entry.is_plain)
    for entry, content in zip(ordered, tree.contents(ordered), strict=True):
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.is_plain:
            place.write_bytes(content)
        elif not os.path.lexists(place):
            place.symlink_to(os.fsdecode(content))


def _contents(argument: str, entries: Sequence[Entry]) -> Iterator[bytes]:
    """Read many objects with one git; it takes the names from a file, so that neither side waits for the other."""
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{entry.oid}\n" for entry in entries).encode())
        wanted.seek(0)
        with subprocess.Popen(["git", "cat-file", "--batch"], stdin=wanted, stdout=subprocess.PIPE) as process:  # noqa: S607 - git as on PATH, like everybody's
            if process.stdout is None:
                raise AssertionError("it was asked for as a pipe")
            for entry in entries:
                yield _content(argument, entry, process.stdout)


def _content(argument: str, entry: Entry, stream: IO[bytes]) -> bytes:
    head = stream.readline().split()
    size = int(head[2]) if len(head) == 3 and head[2].isdigit() else -1  # noqa: PLR2004 - name, type, size
    content = stream.read(size) if size >= 0 else b""
    if size < 0 or len(content) != size:
        raise GitFailed(argument, f"the object of {entry.path} cannot be read; try `git fsck`")
    stream.read(1)
    return content
