"""What a node sees: the machine's programs, read-only, and directories of its own wherever a plan may write."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import podlan
from podlan.lab import _mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home
    from podlan.plan import Plan

PRIVATE = tuple(map(Path, ("/etc", "/run", "/opt", "/var", "/tmp", "/usr/local/sbin")))  # noqa: S108 - the node's own

INPUT = "/run/podlan-lab-node"
"""Where a node finds its compiled directory."""

# The dynamic linker and /usr/bin go through these; nothing in them says anything about the machine's network.
_NEUTRAL = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")

_CUSTOMARY = ("/run/netns", "/run/lock", "/var/lib", "/var/log", "/var/cache", "/var/tmp")  # noqa: S108 - the node's own

OTHER_FLAGS = ("--v=2", "--node-labels=podlan-lab=true")
"""What the kubelet's flags file holds before podlan comes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What of the build machine a node may see in its private directories, and where the plugins are."""

    plugins: Path

    def kept(self) -> Iterator[Path]:
        """Give the paths that must be visible to run podlan: the interpreter, its libraries, podlan."""
        yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).parent)
        yield Path(podlan.__file__).parent.parent
        yield from (Path(entry).absolute() for entry in sys.path if entry)
        yield from map(Path, _NEUTRAL)


def bin_dir(plan: Plan) -> Path:
    """Give the directory in which the node's runtime looks for plugins."""
    if plan.cni is not None and plan.cni.plugins:
        return Path(plan.cni.plugins[0]).parent
    return Path("/opt/cni/bin")


def make(processes: Processes, home: Home, machine: Machine, plan: Plan, directory: Path) -> None:
    """Make a node's namespaces, with its files as they are before podlan comes and its compiled directory."""
    root = namespaces.node(home, plan.node) / "root"
    _furnish(root, plan)
    _deliver(directory, _under(root, Path(INPUT)))
    expected = bin_dir(plan)
    keep = list(_places(root, machine.kept()))
    if _private(expected):
        target = _under(root, expected)
        target.mkdir(parents=True, exist_ok=True)
        keep.append((machine.plugins, target))
    outside = {str(Path(file.path).parent) for file in plan.files if not _private(Path(file.path))}
    order = {
        "root": str(root),
        "private": [str(directory) for directory in PRIVATE if directory.is_dir()],
        "keep": [(str(source), str(target)) for source, target in keep],
        "writable": sorted(outside),
        "binaries": (str(machine.plugins), str(expected)),
        "scratch": str(root.with_name("scratch")),
    }
    program = [sys.executable, "-I", "-S", str(_mounts.__file__)]
    namespaces.make_node(processes, home, plan.node, program, json.dumps(order))


def _furnish(root: Path, plan: Plan) -> None:
    for directory in (*PRIVATE, *map(Path, _CUSTOMARY)):
        _under(root, directory).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("../run")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="utf-8")
    (root / "etc/group").write_text("root:x:0:\n", encoding="utf-8")
    (root / "etc/hostname").write_text(f"{plan.node}\n", encoding="utf-8")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n", encoding="utf-8")
    for file in plan.files:
        if file.env_flags is not None and _private(Path(file.path)):
            there = _under(root, Path(file.path))
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(
                f'# of the distribution\n{file.env_flags.variable}="{" ".join(OTHER_FLAGS)}"\n', encoding="utf-8"
            )


def _deliver(directory: Path, target: Path) -> None:
    # As a delivery would: root's own copy. A checkout may belong to a user, and reconcile refuses that.
    shutil.copytree(directory, target, symlinks=True)
    for parent, _, files in os.walk(target):
        for path in (Path(parent), *(Path(parent, file) for file in files)):
            if not path.is_symlink():
                os.chown(path, 0, 0)
                path.chmod(path.stat().st_mode & 0o755)


def _places(root: Path, paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    wanted = {path for given in paths if given.exists() for path in (given, given.resolve()) if _private(path)}
    taken: set[Path] = set()
    for path in sorted(wanted, key=lambda path: len(path.parts)):
        # A whole private directory (podlan run with /tmp on its path) would be the machine's again.
        if path in PRIVATE or not taken.isdisjoint(path.parents):
            continue
        taken.add(path)
        target = _under(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        yield path.resolve(), target


def _private(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in PRIVATE)


def _under(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
