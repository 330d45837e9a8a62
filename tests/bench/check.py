"""What findings cost: `make bench-check`.

`podlan check` of 10,000 nodes, with nothing wrong and with an error a node of several kinds, beside a cold compile of
the same nodes. Every run is a process of its own; the rounds take turns, so that a busy minute falls on all of them.
Wall and CPU time are medians, the spread is that of the wall time, memory is the highest peak. Nothing is asserted but
the exit code: machines differ.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = """\
version: 1
site: bench
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/14, gateway: 10.3.255.254, routes: [{dst: 0.0.0.0/0}]}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
profiles:
  small: {pods: 4}
nodes:
"""
_FIRST_ADDRESS = 10 << 24 | 1 << 16
_FIRST_PIN = 10 << 24 | 2 << 16
_PINNED = 8
SECONDS = 20
"""Longest that a run may take before it is stopped."""
_CLEAN, _COLD = "check, nothing wrong", "compile, cold"
BUDGETS = {_CLEAN: (_COLD, 0.6)}
"""What a kind may cost, as a multiple of another; every other: twice as much as a check of a site that is right."""


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 0xFF) for shift in (24, 16, 8, 0))


def _node(number: int, *lines: str, address: str = "") -> str:
    own = address or _dotted(_FIRST_ADDRESS + number)
    return "".join(f"{line}\n" for line in (f"  node-{number}:", f"    address: {own}", "    role: worker", *lines))


def _pin(number: int, size: int) -> str:
    first = _FIRST_PIN + number * _PINNED
    return f"    ranges: [{_dotted(first)}-{_dotted(first + size - 1)}]"


KINDS: dict[str, Callable[[int], str]] = {
    _CLEAN: _node,
    "check, pinned, nothing wrong": lambda number: _node(number, _pin(number, _PINNED)),
    "an unknown key": lambda number: _node(number, "    rol: worker"),
    "an unknown key of its own": lambda number: _node(number, f"    rack{number}: 1"),
    "a bad address": lambda number: _node(number, address=f"10.1.{number}"),
    "a number for text": lambda number: _node(number, "    cluster: {kubernetes: 1.30}"),
    "a key twice": lambda number: _node(number, "    role: worker"),
    "a bad name": lambda number: _node(number).replace("node-", "Node-"),
    "an unknown profile": lambda number: _node(number, "    profiles: [large]"),
    "an address of two nodes": lambda number: _node(number, address=_dotted(_FIRST_ADDRESS + number // 2)),
    "one address for all": lambda number: _node(number, address=_dotted(_FIRST_ADDRESS)),
    "pins that overlap": lambda number: _node(number, _pin(number, _PINNED + 1)),
    "one pin for all": lambda number: _node(number, _pin(0, _PINNED)),
    "a pin outside its subnet": lambda number: _node(number, "    ranges: [192.168.0.0/29]"),
}
_RIGHT = (_CLEAN, "check, pinned, nothing wrong")
_ERRORS = re.compile(r"^(?:.*, )?([0-9]+) errors?(?:, |$)", re.MULTILINE)


@dataclass
class Runs:
    """What the runs of one kind took, in seconds, and the errors that each told of."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    megabytes: float = 0
    errors: int = 0
    stopped: bool = False


def run(runs: Runs, command: list[str], code: int) -> None:
    """Run podlan once and note what it took."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "podlan", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    limit = threading.Timer(SECONDS, process.kill)
    limit.start()
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    limit.cancel()
    runs.wall.append(time.perf_counter() - start)
    process.returncode = os.waitstatus_to_exitcode(status)
    runs.stopped = runs.stopped or process.returncode == -signal.SIGKILL
    assert runs.stopped or process.returncode == code, output[-2000:]
    runs.cpu.append(used.ru_utime + used.ru_stime)
    runs.megabytes = max(runs.megabytes, used.ru_maxrss / 1024)
    found = _ERRORS.search(output)
    runs.errors = int(found[1]) if found else 0


def measure(directory: Path, size: int, rounds: int, form: str) -> dict[str, Runs]:
    """Run every kind in turn, so many rounds."""
    for number, node in enumerate(KINDS.values()):
        site = directory / f"site{number}"
        site.mkdir()
        (site / "site.yaml").write_text(HEAD + "".join(map(node, range(size))), encoding="utf-8")
    taken = {name: Runs() for name in (_COLD, *KINDS)}
    for _ in range(rounds):
        cold, out = directory / "cold", directory / "output"
        shutil.copytree(directory / "site0", cold)
        run(taken[_COLD], ["compile", str(cold), "-o", str(out)], 0)
        shutil.rmtree(cold)
        shutil.rmtree(out)
        for number, name in enumerate(KINDS):
            is_right = name in _RIGHT
            run(taken[name], ["check", str(directory / f"site{number}"), "--format", form], int(not is_right))
    return taken


def report(taken: dict[str, Runs]) -> str:
    """Write a table: what each kind took, and as a multiple of what it is held against."""
    lines = [f"{'':<30}{'errors':>7}{'wall ms':>9}{'spread':>13}{'CPU ms':>8}{'MB':>6}  ratio (CPU)  at most"]
    for name, runs in taken.items():
        against, most = BUDGETS.get(name, (_CLEAN, 2.0))
        told = ""
        if name != _COLD:
            ratio = statistics.median(runs.wall) / statistics.median(taken[against].wall)
            of_cpu = statistics.median(runs.cpu) / statistics.median(taken[against].cpu)
            told = f"{ratio:>7.2f} ({of_cpu:.2f})  {most:.1f} of `{against}`"
        spread = f"{min(runs.wall) * 1000:,.0f}-{max(runs.wall) * 1000:,.0f}"
        line = (
            f"{name:<30}{runs.errors:>7,}{statistics.median(runs.wall) * 1000:>9,.0f}{spread:>13}"
            f"{statistics.median(runs.cpu) * 1000:>8,.0f}{runs.megabytes:>6.0f}{told}"
        )
        lines.append(f"{line}{', stopped' if runs.stopped else ''}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the sites, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds; the median of each kind's runs counts")
    parser.add_argument("--size", type=int, default=10_000, help="number of nodes")
    parser.add_argument("--format", default="text", dest="form", help="how findings are printed")
    chosen = parser.parse_args()
    # In memory where that is possible, since a disk's journal would be measured, too.
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        sys.stdout.write(report(measure(Path(directory), chosen.size, chosen.rounds, chosen.form)))


if __name__ == "__main__":
    main()
