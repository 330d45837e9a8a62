"""What a compile costs in figures that no busy machine changes: calls of podlan's functions, and system calls.

`python tests/support/counting.py FILE` writes them anew; what then differs is what a change costs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import many_nodes

import podlan
from podlan import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

FEW, MANY = 20, 200
_PODLAN = str(Path(podlan.__file__).parent) + os.sep
# What depends on the memory allocator, the clock or the file system's buffers is not counted.
_COUNTED = {
    **{name: name for name in ("read", "write", "close", "fsync", "fdatasync", "unlink", "rename", "mkdir", "rmdir")},
    **dict.fromkeys(("open", "openat"), "open"),
    **dict.fromkeys(("stat", "lstat", "fstat", "newfstatat", "statx"), "stat"),
    "mkdirat": "mkdir",
    "unlinkat": "unlink",
    "renameat": "rename",
    "renameat2": "rename",
    "pread64": "read",
    **{name: name for name in ("lseek", "ioctl", "fchmod", "chmod", "fcntl", "copy_file_range", "sendfile")},
    **dict.fromkeys(("fork", "vfork", "clone", "clone3", "execve"), "a new process"),
}


def table() -> str:
    """Count all, as text: what a few and ten times as many nodes cost, and how that grows."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        parts = [*_functions(directory / "functions"), "", *_system_calls(directory / "system")]
    return "\n".join(parts) + "\n"


def _functions(directory: Path) -> list[str]:
    """Count calls of podlan's functions, by package; Python's own and others' are theirs to change."""
    counts: dict[str, list[Counter[str]]] = {"check": [], "compile, cold": [], "compile, unchanged": []}
    # Once more, since a process's first run fills what is kept for the others; each time with other addresses, since
    # what is kept of a node's own is no other node's.
    for number, size in enumerate((FEW, FEW, MANY)):
        site = many_nodes.write(directory / f"site-{number}", size, number=number)
        out = directory / f"out-{number}"
        counts["check"].append(_counted(lambda site=site: pipeline.check(site)))
        for name in ("compile, cold", "compile, unchanged"):
            counts[name].append(_counted(lambda site=site, out=out: pipeline.compile_site(site, out)))
    lines = [f"{'calls of functions':<28}{FEW:>9} nodes{MANY:>9} nodes   times"]
    for name, (_, few, many) in counts.items():
        lines.append(_line(name, few.total(), many.total()))
        lines += [_line(f"  {package}", few[package], many[package]) for package in sorted(few | many)]
    return lines


def _line(name: str, few: int, many: int) -> str:
    return f"{name:<28}{few:>9}      {many:>9}      {many / few if few else 0:>8.2f}"


def _counted(work: Callable[[], object]) -> Counter[str]:
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and frame.f_code.co_filename.startswith(_PODLAN):
            calls[frame.f_code.co_filename] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    packages: Counter[str] = Counter()
    for file, count in calls.items():
        packages[file.removeprefix(_PODLAN).partition(os.sep)[0].removesuffix(".py")] += count
    return packages


def _system_calls(directory: Path) -> list[str]:
    """Count the system calls that more nodes cost; what the interpreter's start costs is the same for all."""
    # Bytecode of our own, so that nobody else writes some in between.
    env = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(directory / "bytecode"), "PYTHONHASHSEED": "0"}
    directory.mkdir()
    taken: dict[str, list[Counter[str]]] = {"check": [], "compile, cold": [], "compile, unchanged": []}
    for number, size in enumerate((FEW, FEW, MANY)):
        site, out = many_nodes.write(directory / f"site{number}", size), directory / f"out{number}"
        taken["check"].append(_traced(["check", str(site)], directory, env))
        for name in ("compile, cold", "compile, unchanged"):
            taken[name].append(_traced(["compile", str(site), "-o", str(out)], directory, env))
    lines = [f"{f'system calls for {MANY - FEW} more nodes':<40}{'calls':>9}{'a node':>9}"]
    for name, (_, few, many) in taken.items():
        more = {call: many[call] - few[call] for call in sorted(few | many) if many[call] != few[call]}
        lines.append(_grown(name, sum(more.values())))
        lines += [_grown(f"  {call}", count) for call, count in more.items()]
    return lines


def _grown(name: str, count: int) -> str:
    return f"{name:<40}{count:>9}{count / (MANY - FEW):>9.2f}"


def _traced(command: list[str], directory: Path, env: dict[str, str]) -> Counter[str]:
    summary = directory / "summary"
    run = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(summary), sys.executable, "-m", "podlan", *command]
    subprocess.run(run, env=env, check=True, stdout=subprocess.DEVNULL)
    counts: Counter[str] = Counter()
    for line in summary.read_text(encoding="utf-8").splitlines():
        if (match := re.fullmatch(r"\s*([0-9]+)\s+(\w+)", line)) and match[2] in _COUNTED:
            counts[_COUNTED[match[2]]] += int(match[1])
    return counts


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets decides how often a sort compares
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606
    Path(sys.argv[1]).write_text(table(), encoding="utf-8")
