"""Going into a lab: what a place is called, and becoming a program that runs there."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from podlan.lab import damage, namespaces, rootfs, state
from podlan.lab.errors import Damaged, NoLab, NoPlace, ToolMissing
from podlan.lab.processes import SEARCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.lab.state import Home

# An interactive shell reads the user's own files, most of which set a prompt; without them ours is what it shows.
_PLAIN = {"bash": ("--norc",), "zsh": ("-f",)}
_WHERE = {"bash": r"\w", "zsh": "%~"}
_SHELL = "/bin/sh"


def places(home: Home) -> tuple[str, ...]:
    """Give the places of a lab that is up: nodes, pods as NODE/POD, and what else is on the LAN; raises NoLab."""
    built = state.load(home)
    if built is None:
        raise NoLab(home.name)
    names = [*(node.name for node in built.nodes), *(pod.name for pod in built.pods)]
    return (*names, *sorted(file.name for file in home.path.glob("net/*")))


def into(home: Home, place: str, *argv: str) -> list[str]:
    """Give the command that runs another in a place; raises NoPlace."""
    there = places(home)
    if place not in there:
        raise NoPlace(place, home.name, get_close_matches(place, there) or there)
    node, slash, _ = place.partition("/")
    if slash:
        return namespaces.in_pod(home, node, place, *argv)
    if namespaces.node(home, place).exists():
        return namespaces.in_node(home, place, *argv)
    return namespaces.in_net(home, place, *argv)


def become(home: Home, place: str, argv: Sequence[str], settings: dict[str, str] | None = None) -> NoReturn:
    """Run a program in a place instead of this one: its terminal, its signals, its exit code; may raise Damaged."""
    command = into(home, place, *argv)
    if not damage.is_there(home, place):
        raise Damaged(home.name, [place])
    nsenter = shutil.which(command[0], path=SEARCH)
    if nsenter is None:
        raise ToolMissing(command[0], "util-linux")
    # The node's own programs, and podlan as it runs here; nobody can write bytecode there.
    path = f"{Path(sys.executable).parent}:{SEARCH}"
    own = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PODLAN_LAB": home.name, "PODLAN_LAB_PLACE": place}
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these, and what we become would inherit that.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    os.execve(nsenter, command, os.environ | own | (settings or {}))  # noqa: S606 - no shell is the point


def shell(home: Home, place: str) -> tuple[list[str], dict[str, str]]:
    """Give the user's shell, with a prompt that says where it is; where a node has none of it, sh."""
    wanted = Path(os.environ.get("SHELL") or _SHELL)
    hidden = any(wanted.is_relative_to(directory) for directory in rootfs.PRIVATE)
    program = wanted if not hidden and wanted.is_absolute() and os.access(wanted, os.X_OK) else Path(_SHELL)
    where = _WHERE.get(program.name, "$PWD")
    return [str(program), *_PLAIN.get(program.name, ())], {"PS1": f"[lab {home.name}] {place}:{where}# "}
