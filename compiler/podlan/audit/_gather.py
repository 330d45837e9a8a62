"""Which files are CNI files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from podlan.audit._own import Plan, read_plan
from podlan.audit._owners import Directory, Listing, assign, home_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What libcni's loaders take (ConfFiles); everything else in such a directory is invisible to a runtime.
_SUFFIXES = (".conf", ".conflist", ".json")


class Gathered(NamedTuple):
    """Everything that was found, and the plans of podlan's own output with their nodes."""

    directories: list[Directory]
    plans: list[tuple[str, Plan]]


def gather(paths: Iterable[str], without: frozenset[Path] = frozenset()) -> Gathered:
    """Find the files below every path; raises OSError for what cannot be read, since it may be a CNI file.

    Directories of `without`, real paths, are left out.
    """
    listings: dict[Path, Listing] = {}
    plans: dict[Path, Plan] = {}
    for path in map(Path, paths):
        for found in _walk(path, plans, without, frozenset()) if path.is_dir() else [_single(path, plans)]:
            key = _absolute(found.path)
            known = listings.get(key)
            names = {*found.names, *(known.names if known else ())}
            listings[key] = found._replace(names=tuple(sorted(names, key=os.fsencode)))
    directories, labels = assign(listings, plans)
    return Gathered(directories, [(labels[home], plan) for home, plan in plans.items()])


def _absolute(path: Path) -> Path:
    """Make a path comparable; links stay, since their names may be those of nodes."""
    return Path(os.path.normpath(path.absolute()))


def _single(path: Path, plans: dict[Path, Plan]) -> Listing:
    home = home_of(_absolute(path.parent))
    plan = read_plan(home / "plan.json") if home else None
    if home and plan:
        plans[home] = plan
    return Listing(path.parent, (path.name,), home, is_named=True)


def _walk(
    path: Path, plans: dict[Path, Plan], without: frozenset[Path], above: frozenset[tuple[int, int]]
) -> Iterator[Listing]:
    """Give every directory with CNI files. Links are followed, but not in a circle; dot-directories are not read."""
    status = path.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above or (without and path.resolve() in without):
        return
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    if any(entry.name == "plan.json" for entry in found):
        plan = read_plan(path / "plan.json")
        if plan:
            plans[_absolute(path)] = plan
            yield from _walk_node(path, plan)
            return
    names = tuple(entry.name for entry in found if entry.name.endswith(_SUFFIXES) and not entry.is_dir())
    if {"nodes", "site.json"} <= {entry.name for entry in found}:  # podlan's own output, which that file marks
        names = tuple(name for name in names if name != "site.json")
        found = [entry for entry in found if entry.name != "cluster"]  # what the whole cluster gets: no node reads it
    if names:
        yield Listing(path, names, home_of(_absolute(path)))
    for entry in found:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _walk(path / entry.name, plans, without, above | {identity})


def _walk_node(home: Path, plan: Plan) -> Iterator[Listing]:
    """Give the CNI directories of a node that podlan compiled: beside them lie files of kubelet and systemd."""
    planned = home / "rootfs" / plan.cni_directory.lstrip("/")
    for directory, directories, names in os.walk(home / "rootfs", onerror=_raise):
        directories.sort()
        path = Path(directory)
        wanted = tuple(sorted((name for name in names if name.endswith(_SUFFIXES)), key=os.fsencode))
        if wanted and (path.name == "net.d" or path == planned):
            yield Listing(path, wanted, _absolute(home))


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a node without files has no rootfs
        raise error
