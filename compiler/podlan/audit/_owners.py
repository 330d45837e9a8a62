"""Which node a file belongs to, by its path; and what nodes are called."""

from __future__ import annotations

import os
import re
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# The last parts of a CNI directory's path on a node; what stands before them tells the node.
_LAST = frozenset({"net.d", "cni", "etc"})
_ON_THE_NODE = _LAST | {"rootfs", "multus", "var", "lib", "opt", "rancher", "k3s", "rke2", "agent"}
_NUMBERED = re.compile(r"[0-9]+-")


class CniFile(NamedTuple):
    """A file and its node. `expected`: it must be a CNI file, since of where it lies or since it was named."""

    path: str
    node: str
    expected: bool


class Directory(NamedTuple):
    """Files of one node that its runtime chooses from, in its order; with `is_multus`, networks side by side."""

    files: tuple[CniFile, ...]
    is_multus: bool = False


class Listing(NamedTuple):
    """A directory's CNI files; `home` is the directory that tells their node, None where nothing tells it yet.

    `is_named`: somebody named these very files.
    """

    path: Path
    names: tuple[str, ...]
    home: Path | None
    is_named: bool = False


def home_of(path: Path) -> Path | None:
    """Give what stands before etc/cni/net.d and the like; None where the path does not end like that."""
    if path.name not in _LAST:
        return None
    while path.name in _ON_THE_NODE:
        path = path.parent
    return path


def assign(listings: Mapping[Path, Listing], homes: Iterable[Path]) -> tuple[list[Directory], dict[Path, str]]:
    """Tell every file's node: its directory's where that is certain, else every file is a node of its own.

    The keys of `listings` are absolute paths, `homes` those of nodes that are known anyhow. The second result is
    the name of every node.
    """
    holders = Counter(name for listing in listings.values() for name in listing.names)
    owned: list[tuple[Listing, list[Path]]] = []
    for path, listing in sorted(listings.items(), key=lambda entry: os.fsencode(entry[0])):
        home = listing.home or (path if _is_one_node(listing.names, holders) else None)
        owned.append((listing, [home or path / Path(name).stem for name in listing.names]))
    labels = _labels({*homes, *(node for _, nodes in owned for node in nodes)})
    directories = []
    for listing, nodes in owned:
        files = [
            CniFile(str(listing.path / name), labels[node], bool(listing.home) or listing.is_named)
            for name, node in zip(listing.names, nodes, strict=True)
        ]
        is_multus = listing.path.absolute().parts[-2:] == ("multus", "net.d")
        is_one = len(set(nodes)) == 1
        directories += [Directory(group, is_multus) for group in ([tuple(files)] if is_one else zip(files))]
    return directories, labels


def _is_one_node(names: Collection[str], holders: Mapping[str, int]) -> bool:
    """Take a directory for one node's where its files are numbered as in net.d, and another has one of that name.

    Both are asked for: to take two nodes for one would hide what they share.
    """
    return all(_NUMBERED.match(name) for name in names) and any(holders[name] > 1 for name in names)


def _labels(nodes: Collection[Path]) -> dict[Path, str]:
    """Name nodes by the last part of their paths if that tells them apart, else by all parts in which they differ."""
    parts = {node: node.parts[1:] for node in nodes}
    if len({node.name for node in nodes}) == len(nodes):
        return {node: _shown(node.name) or "this machine" for node in nodes}
    head = _common(parts.values())
    tail = _common(part[head:][::-1] for part in parts.values())
    return {node: _shown("/".join(part[head : len(part) - tail])) or "/" for node, part in parts.items()}


def _common(parts: Iterable[tuple[str, ...]]) -> int:
    """Count the parts with which all begin."""
    columns = zip(*parts, strict=False)
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def _shown(name: str) -> str:
    """Make a name printable that the file system holds as bytes of no encoding."""
    return os.fsencode(name).decode("utf-8", "replace")
