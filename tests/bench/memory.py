"""Memory: where a benchmark keeps its trees, since a disk's journal would be measured too; and what a command takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Self

SHARED = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
_BYTES = 110_000
"""What a node's files and directories take of memory, the kernel's own records of them included."""
_INODES = 32
_SPARE = 3 << 30
"""Bytes that are left to everybody else."""
_INSIDE = "PODLAN_BENCH_INSIDE"


def enter() -> None:
    """Begin again where /dev/shm is a file system of our own, which is gone when we are; nothing where we may not.

    The system's own often has too few inodes for the trees of 10,000 nodes.
    """
    trial = ["unshare", "--mount", "true"]
    if _INSIDE in os.environ or subprocess.run(trial, check=False, capture_output=True).returncode:
        return
    mount = f'mount -t tmpfs -o nr_inodes=0,size=100% podlan-bench {SHARED} && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, *sys.argv]
    os.execvpe(command[0], command, {**os.environ, _INSIDE: "1"})  # noqa: S606


def has_room(nodes: int, directory: Path = SHARED) -> bool:
    """Tell whether the outputs of so many nodes fit."""
    if not directory.is_dir():
        return False
    status = os.statvfs(directory)
    has_inodes = not status.f_files or status.f_favail > nodes * _INODES  # none at all: there is no limit
    return has_inodes and min(status.f_bavail * status.f_frsize, _available()) > nodes * _BYTES


def place(nodes: int) -> tuple[str | None, str]:
    """Choose where to make the outputs of so many nodes: the directory, and how to tell of it."""
    if has_room(nodes):
        return str(SHARED), "in memory (tmpfs)"
    why = f"since {SHARED} or the memory has too little room" + " (as root it would have more)" * (os.geteuid() != 0)
    return None, f"on a disk, in {tempfile.gettempdir()}, {why}"


def _available() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024 - _SPARE
    return 0


class Scales:
    """Weighs a process group while the context lasts: the most that its processes had at one time, in MB.

    Pages that several have in common count once (Pss of proc(5)): what a process copies of the one that forked it
    counts, and what it shares with it does not.
    """

    def __init__(self, group: int) -> None:
        self.megabytes = 0.0
        self._group = group
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._weigh)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _weigh(self) -> None:
        while not self._is_over.wait(0.02):
            self.megabytes = max(self.megabytes, sum(map(_proportional, self._members())) / 1024)

    def _members(self) -> list[Path]:
        return [path for path in Path("/proc").glob("[0-9]*") if _group_of(path) == self._group]


def _group_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[2])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _proportional(process: Path) -> int:
    """Give a process's proportional share of memory in KiB; nothing where it is over, or another user's."""
    try:
        lines = (process / "smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
