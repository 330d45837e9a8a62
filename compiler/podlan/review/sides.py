"""What `podlan diff` compares: a site, an output, or either of them in a git revision, as every node's files."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, Finding, Place, PodlanError
from podlan.review import revisions
from podlan.review.forms import BadOutput, Files
from podlan.source import CannotRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NODES = "nodes"
_MANIFEST = "manifest.json"
_MARKER = "site.json"


class Nodes(Mapping[str, Files]):
    """The compiled files of every node, read or rendered when they are asked for, and never kept: they may be many."""

    def __init__(self, names: Iterable[str], files: Callable[[str], Files]) -> None:
        self._names = dict.fromkeys(names)
        self._files = files

    def __getitem__(self, name: str) -> Files:
        if name not in self._names:
            raise KeyError(name)
        return self._files(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its name, and the compiled files of every node."""

    name: str
    nodes: Mapping[str, Files] = field(default_factory=dict)


class NoSuchSide(PodlanError):
    """An argument that is neither a path nor a git revision's path."""

    exit_code: ClassVar[int] = 2  # wrong usage, as click ends on a path that is not there

    def __init__(self, argument: str) -> None:
        super().__init__(argument)
        self.argument = argument

    def __str__(self) -> str:
        return (
            f"there is no {self.argument} here; name a site, an output, or either in a git revision, "
            f"as in main:{self.argument or 'site'}"
        )


class SiteHasErrors(PodlanError):
    """A site that does not compile; `findings` say why, and `texts` are the files they speak of."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, name: str, findings: list[Finding], texts: dict[str, str]) -> None:
        super().__init__(name)
        self.name = name
        self.findings = findings
        self.texts = texts

    def __str__(self) -> str:
        return f"{self.name} does not compile, so there is nothing to compare"


def load(argument: str) -> Side:
    """Read a side. Raises NoSuchSide, SiteHasErrors, BadOutput, GitFailed and CannotRead."""
    path = Path(argument)
    if argument and os.path.lexists(path):
        return Side(argument, _read(path, argument))
    if revisions.split(argument) is None:
        raise NoSuchSide(argument)
    tree = revisions.find(argument)
    nodes = _committed(tree)
    if nodes is not None:
        return Side(argument, nodes)
    with _directory() as into:
        return Side(argument, _read(tree.write(into), argument))


def _read(path: Path, name: str) -> Mapping[str, Files]:
    return _output(path, name) if is_output(path) else _site(path, name)


def _committed(tree: revisions.Tree) -> Mapping[str, Files] | None:
    """Read an output from git without writing it anywhere; None, if the tree is no output."""
    parts = [(entry, entry.path.split("/", 2)) for entry in tree.entries if entry.is_plain]
    inside = [(entry, part[1], part[2]) for entry, part in parts if part[0] == _NODES and len(part) == 3]  # noqa: PLR2004 - nodes, NODE, the rest
    ours = {node for _, node, path in inside if path == _MANIFEST}
    if not ours and not any(entry.path == _MARKER for entry in tree.entries):
        return None
    wanted = [found for found in inside if found[1] in ours]
    files: dict[str, dict[str, bytes]] = {node: {} for node in sorted(ours)}
    for (_, node, path), content in zip(wanted, tree.contents([entry for entry, _, _ in wanted]), strict=True):
        files[node][path] = content
    return {node: _of_manifest(held.get, f"{tree.argument}/{_NODES}/{node}") for node, held in files.items()}


def is_output(path: Path) -> bool:
    """Tell an output from a site: it has podlan's mark, or nodes/ holds directories with manifests, or is all there is.

    A site may well have a directory of that name for its *.yaml files.
    """
    if (path / _MARKER).is_file():
        return True
    try:
        directories = sorted((path / _NODES).iterdir())
    except OSError:
        return False
    if any((directory / _MANIFEST).is_file() for directory in directories):
        return True
    return not any(path.rglob("*.yaml"))


def _output(path: Path, name: str) -> Mapping[str, Files]:
    directories = sorted((path / _NODES).glob("*"))
    found = [one.name for one in directories if (one / _MANIFEST).is_file() and not one.is_symlink()]
    return Nodes(found, lambda node: _node(path / _NODES / node, f"{name}/{_NODES}/{node}"))


def _node(directory: Path, where: str) -> dict[str, bytes]:
    root = str(directory)
    linked: dict[str, bool] = {}

    def read(name: str) -> bytes | None:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            below = "/".join(parts[:depth])
            if below not in linked:
                linked[below] = os.path.islink(f"{root}/{below}")  # noqa: PTH114 - text, over many
            if linked[below]:
                raise BadOutput(where, f"{below} is a symbolic link")
        return _content(f"{root}/{name}", f"{where}/{name}")

    return _of_manifest(read, where)


def _of_manifest(read: Callable[[str], bytes | None], where: str) -> dict[str, bytes]:
    """Read the files that a node's manifest names, since a node believes no others.

    Neither a name nor a symbolic link may lead out of the output: somebody's branch could show files of ours.
    """
    text = read(_MANIFEST) or b""
    try:
        names = sorted(map(str, json.loads(text)["files"]))
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise BadOutput(f"{where}/{_MANIFEST}", "it does not list the node's files") from error
    files = {_MANIFEST: text}
    for name in names:
        if {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            raise BadOutput(f"{where}/{_MANIFEST}", f"it names {name!r}, which is no file of the node")
        content = read(name)
        if content is None:
            raise BadOutput(where, f"{name} is not there, though {_MANIFEST} names it")
        files[name] = content
    return files


def _content(path: str, shown: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - O_NOFOLLOW, and faster over many
            return file.readall()
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise CannotRead(Path(shown), reason) from error


def _site(path: Path, name: str) -> Mapping[str, Files]:
    from podlan import pipeline  # noqa: PLC0415 - two outputs are compared without pydantic and jinja2

    checked = pipeline.check(path)
    if checked.failed or checked.allocation is None:
        prefix = str(path)
        texts = {_shown(file, prefix, name): text for file, text in checked.source.texts.items()}
        raise SiteHasErrors(name, [_renamed(finding, prefix, name) for finding in checked.findings], texts)
    names = [node.name for node in checked.site.nodes] if checked.site is not None else []
    return Nodes(names, lambda node: pipeline.rendered_node(checked, node))


def _renamed(finding: Finding, prefix: str, name: str) -> Finding:
    """Let a finding speak of REV:PATH, and not of the directory into which that was written."""

    def place(spot: Place) -> Place:
        return replace(spot, file=_shown(spot.file, prefix, name))

    return replace(
        finding,
        place=place(finding.place) if finding.place else None,
        also=tuple(place(spot) for spot in finding.also),
        message=finding.message.replace(prefix, name),
    )


def _shown(file: str, prefix: str, name: str) -> str:
    if file.startswith(prefix):
        rest = file.removeprefix(prefix).lstrip("/")
        return f"{name}{'/' if rest and not name.endswith((':', '/')) else ''}{rest}"
    # The lock stands beside a site that is one file.
    directory, base = os.path.split(prefix)
    return name.removesuffix(base) + file.removeprefix(directory).lstrip("/")


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="podlan-") as directory:
        yield Path(directory)
