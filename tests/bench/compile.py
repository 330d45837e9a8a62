"""How long podlan takes for many nodes, and how that grows: `make bench`.

Sites of 10 to 10,000 nodes (100,000 on request), and what a review asks of them: a check, a first compile, one that
finds nothing to do, one of a node that changed, `--check`, `diff`. Beside them stand `cp -r` of the same output and,
where they are installed, kapitan and aerleon on a like job with as many files a node. Every run is a process of its
own, and what it forks; sizes and commands take turns, so that a busy minute falls on all of them. Wall and CPU time
are medians, the spread is that of the wall time, and a ratio is the median of the rounds' ratios. Memory is weighed in
a round before those that count: the most that a run's processes had together. Nothing is asserted but the exit codes,
since machines differ; with --guard, ratios that are far out fail the run. The tables are Markdown. As root, all of it
happens in a file system in memory that ends with the run.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import many_nodes
import memory
import other_compilers
from other_compilers import AERLEON, KAPITAN

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (10, 100, 1_000, 10_000)
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
PODLAN = (sys.executable, "-m", "podlan")

COPY, COLD, UNCHANGED, ONE = "cp -r of the output", "compile, cold", "compile, unchanged", "compile, one node changed"
ALONE = "compile, cold, --jobs 1"
CHECK, SPLIT, STALE, DIFF = "check", "check, a file for 100 nodes", "compile --check", "diff, one node changed"
INTERPRETER, HELP, COMPLETION = "python -c pass", "podlan --help", "completion of `podlan c`"
OPTIONS = "completion of `podlan compile --`"
PEERS = (KAPITAN, AERLEON)

AIMS = (
    (COLD, COPY, 1.0),
    (UNCHANGED, COLD, 0.9),
    (CHECK, COLD, 0.6),
    (ONE, UNCHANGED, 1.1),
    (KAPITAN, COLD, -25.0),
    (AERLEON, COLD, -25.0),
)
"""At the largest size: a row, what it is held against, and how many times that it may take (negative: at least)."""
MEGABYTES = {10_000: 150, 100_000: 1_200}
EXPONENT = 1.05
STARTING = 60
"""Milliseconds over the interpreter's own."""
GUARDS = ((COLD, COPY, 4.0), (UNCHANGED, COLD, 1.3), (CHECK, COLD, 1.0))
"""What --guard fails on: far enough from what is usual that a busy machine alone does not get there."""


@dataclass
class Runs:
    """What the runs of one row took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    is_stopped: bool = False


def run(
    runs: Runs, command: list[str] | tuple[str, ...], *, limit: float, where: Path | None = None, weigh: bool = False
) -> None:
    """Run a command once and note what it took; one that takes longer than `limit` seconds is stopped.

    Looking at its processes' memory takes time, too: a run that is to `weigh` is not for timing.
    """
    start = time.perf_counter()
    # In a group of its own, so that nothing of it is left when it is stopped, or we are.
    process = subprocess.Popen(
        command, cwd=where, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    )
    assert process.stdout is not None
    timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        if weigh:
            with memory.Scales(process.pid) as scales:
                output = process.stdout.read()
            runs.megabytes = max(runs.megabytes, scales.megabytes)
        else:
            output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        timer.cancel()
    runs.wall.append(time.perf_counter() - start)
    process.returncode = os.waitstatus_to_exitcode(status)
    runs.is_stopped = runs.is_stopped or process.returncode == -signal.SIGKILL
    assert runs.is_stopped or process.returncode in {0, 3}, f"{command}: {output[-2000:].decode(errors='replace')}"
    runs.cpu.append(used.ru_utime + used.ru_stime)


def apart(work: Callable[[], object]) -> None:
    """Do what takes memory in a process of its own: no command is told to take less than we have when it starts."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Bench:
    """The sites of one size, and every command once a round."""

    def __init__(self, directory: Path, size: int, peers: tuple[str, ...]) -> None:
        self.directory = directory
        self.size = size
        self.limit = 30 + size / 100
        self.site, self.out = directory / "site", directory / "output"
        apart(lambda: many_nodes.write(self.site, size))
        apart(lambda: many_nodes.write(directory / "split", size, is_split=True))
        self.is_changed = False
        self.taken: dict[str, Runs] = {}
        self.files = 0
        self._peers = peers
        self._commands: dict[str, list[str]] = {}

    def round(self, names: list[str], *, counts: bool) -> None:
        """Run what is named once, each row beginning where the one before it ended: the first time with COLD.

        A round that does not count warms up and weighs.
        """
        for name in names:
            taken = self.taken.setdefault(name, Runs())
            if counts:
                run(taken, self._prepared(name), limit=self.limit)
            else:
                weighed = Runs()
                run(weighed, self._prepared(name), limit=self.limit, weigh=True)
                taken.megabytes = weighed.megabytes
            if not self.files:
                node = self.out / "nodes" / f"node-{self.size - 1}"
                self.files = sum(1 for path in node.rglob("*") if path.is_file())

    def peers(self) -> None:
        """Run the other compilers once."""
        for name in self._peers:
            taken, where = self.taken.setdefault(name, Runs()), self.directory / name
            if name not in self._commands:
                apart(lambda name=name, where=where: other_compilers.write(name, where, self.size, self.files))
                self._commands[name] = other_compilers.command(name)
            shutil.rmtree(where / "compiled", ignore_errors=True)
            run(taken, self._commands[name], limit=max(1_200.0, self.limit), where=where)
            if not taken.is_stopped:
                made = sum(1 for path in where.rglob("node-*") if path.is_file())
                made += sum(1 for path in where.glob("compiled/*/*"))
                assert made - self.size >= self.size * self.files, f"{name} made {made - self.size} files"

    def _prepared(self, name: str) -> list[str]:
        """Make ready what a row begins with, and give its command."""
        site, out, here = str(self.site), str(self.out), self.directory
        # One tree beside the output at most: those of 100,000 nodes fill a memory.
        shutil.rmtree(here / "copy", ignore_errors=True)
        if name == COPY:
            return ["cp", "-r", out, str(here / "copy")]
        if name in {COLD, ALONE}:
            shutil.rmtree(out, ignore_errors=True)
            (self.site / "podlan.lock").unlink(missing_ok=True)
        if name == ONE:
            self.is_changed = not self.is_changed
            apart(lambda: many_nodes.write(self.site, self.size, changed=int(self.is_changed)))
        return [
            *PODLAN,
            *{
                CHECK: ("check", site),
                SPLIT: ("check", str(here / "split")),
                COLD: ("compile", site, "-o", out),
                ALONE: ("compile", site, "-o", out, "--jobs", "1"),
                UNCHANGED: ("compile", site, "-o", out),
                ONE: ("compile", site, "-o", out),
                STALE: ("compile", site, "-o", out, "--check"),
                DIFF: ("diff", out, str(self._other() if name == DIFF else "")),
            }[name],
        ]

    def _other(self) -> Path:
        """Give a site that differs from the output in one node: changed where the output has it unchanged."""
        directory = self.directory / "other"
        apart(lambda: many_nodes.write(directory, self.size, changed=int(not self.is_changed)))
        shutil.copy(self.site / "podlan.lock", directory)
        return directory


def starting(rounds: int) -> dict[str, Runs]:
    """Measure what a command costs that does nothing."""
    podlan = str(Path(sys.executable).with_name("podlan"))
    completing = ("env", "_PODLAN_COMPLETE=bash_complete")
    commands: dict[str, tuple[str, ...]] = {
        INTERPRETER: (sys.executable, "-c", "pass"),
        HELP: (podlan, "--help"),
        COMPLETION: (*completing, "COMP_WORDS=podlan c", "COMP_CWORD=1", podlan),
        OPTIONS: (*completing, "COMP_WORDS=podlan compile --", "COMP_CWORD=2", podlan),
    }
    taken = {name: Runs() for name in commands}
    for turn in range(-1, rounds):
        for name, command in commands.items():
            run(taken[name] if turn >= 0 else Runs(), command, limit=30)
    return taken


def ratio(taken: dict[str, Runs], name: str, other: str, what: str = "wall") -> float:
    """Give the median of the rounds' ratios, since what makes a round slow makes all of it slow."""
    # A peer has fewer rounds: the first ones.
    pairs = zip(getattr(taken[name], what), getattr(taken[other], what), strict=False)
    return statistics.median(one / two for one, two in pairs)


def markdown(rows: list[list[str]]) -> str:
    """Write a table, its first row the head, its first column words and the others figures; also legible as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f"{'-' * (width - bool(place))}{':' * bool(place)}" for place, width in enumerate(widths)]
    lines = [
        " | ".join(f"{cell:>{width}}" if place else f"{cell:<{width}}" for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in [rows[0], rule, *rows[1:]])
    ]
    return "".join(f"| {line} |\n" for line in lines)


def table(title: str, taken: dict[str, Runs], against: str) -> str:
    """Write what every row took."""
    has_ratios = against in taken
    rows = [[title, "wall ms", "spread", "CPU ms", "MB", *[f"× {against} (CPU)"] * has_ratios]]  # noqa: RUF001 - "times"
    for name, runs in taken.items():
        wall = [seconds * 1000 for seconds in runs.wall]
        rows.append(
            [
                f"{name}{', stopped' if runs.is_stopped else ''}",
                f"{statistics.median(wall):,.0f}",
                f"{min(wall):,.0f}-{max(wall):,.0f}",
                # Of what was stopped, nobody knows what its processes had used.
                "" if runs.is_stopped else f"{statistics.median(runs.cpu) * 1000:,.0f}",
                f"{runs.megabytes:,.0f}" if runs.megabytes else "",
                *[_ratios(taken, name, against) for _ in range(has_ratios)],
            ]
        )
    return markdown(rows)


def _ratios(taken: dict[str, Runs], name: str, other: str) -> str:
    if taken[name].is_stopped:
        return f"> {ratio(taken, name, other):.2f}"
    return f"{ratio(taken, name, other):.2f} ({ratio(taken, name, other, 'cpu'):.2f})"


def growth(benches: list[Bench]) -> str:
    """Write by which power of the nodes each row grows from one size to the next."""
    rows = [
        [
            "exponent of the growth with the nodes (CPU)",
            *[f"{one.size:,} to {two.size:,}" for one, two in pairwise(benches)],
        ]
    ]
    for name in benches[-1].taken:
        powers = [
            "{:.2f} ({:.2f})".format(*power(one, two, name)) if name in one.taken else ""
            for one, two in pairwise(benches)
        ]
        rows.append([name, *powers])
    return markdown(rows)


def power(one: Bench, two: Bench, name: str) -> tuple[float, float]:
    """Give the exponent between two sizes, of wall and of CPU time."""
    before, after = one.taken[name], two.taken[name]
    wall, cpu = (
        math.log(statistics.median(getattr(after, what)) / statistics.median(getattr(before, what)))
        / math.log(two.size / one.size)
        for what in ("wall", "cpu")
    )
    return wall, cpu


def aims(benches: list[Bench], started: dict[str, Runs]) -> str:
    """Write what is aimed at beside what was measured."""
    last = benches[-1]
    rows = [[f"aims, at {last.size:,} nodes", "measured", "aim", ""]]

    def add(what: str, measured: str, aim: str, *, is_met: bool) -> None:
        rows.append([what, measured, aim, "" if is_met else "missed"])

    for name, other, most in AIMS:
        if name in last.taken and other in last.taken:
            value = ratio(last.taken, name, other)
            sign, is_met = ("≥", value >= -most) if most < 0 else ("≤", value <= most)
            add(f"{name} / {other} (CPU)", _ratios(last.taken, name, other), f"{sign} {abs(most):g}", is_met=is_met)
    limit = MEGABYTES.get(last.size)
    if limit:
        peak = max(runs.megabytes for name, runs in last.taken.items() if name not in (*PEERS, COPY, DIFF))
        add(
            "most memory of check and compile, all processes",
            f"{peak:,.0f} MB",
            f"≤ {limit:,} MB",
            is_met=peak <= limit,
        )
    for one, two in pairwise(benches):
        if one.size >= 1_000:  # below, it is the interpreter's start that is measured
            value, cpu = power(one, two, COLD)
            what = f"exponent of {COLD}, {one.size:,} to {two.size:,} (CPU)"
            add(what, f"{value:.2f} ({cpu:.2f})", f"≤ {EXPONENT}", is_met=value <= EXPONENT)
    for name in (HELP, COMPLETION, OPTIONS):
        value, cpu = (over(started, name, what) for what in ("wall", "cpu"))
        measured = f"{value:.0f} ms ({cpu:.0f} ms)"
        add(f"{name}, over the interpreter (CPU)", measured, f"≤ {STARTING} ms", is_met=value <= STARTING)
    return markdown(rows)


def over(started: dict[str, Runs], name: str, what: str) -> float:
    """Give by how many milliseconds a command exceeds the bare interpreter."""
    pairs = zip(getattr(started[name], what), getattr(started[INTERPRETER], what), strict=True)
    return statistics.median(one - two for one, two in pairs) * 1000


def guarded(bench: Bench) -> int:
    """Tell of each ratio whether it is far out; give the exit code."""
    code = 0
    for name, other, most in GUARDS:
        value = ratio(bench.taken, name, other)
        is_out = value > most
        code |= is_out
        told = (
            "FAR OUT: look at `podlan compile --timings` and what changed since the last good run" if is_out else "ok"
        )
        sys.stdout.write(f"{name} / {other}: {value:.2f}, at most {most:g}: {told}\n")
    return code


def main() -> int:
    """Make the sites, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of nodes")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every command; medians count")
    parser.add_argument("--peer-rounds", type=int, default=1, help="rounds of kapitan and aerleon, which are slow")
    parser.add_argument("--peers-up-to", type=int, default=10_000, metavar="NODES", help="larger sizes without them")
    parser.add_argument("--brief", action="store_true", help="only cp -r, cold, unchanged and check: for large sizes")
    parser.add_argument("--guard", action="store_true", help="--brief, the largest size; exit 1 on a ratio far out")
    chosen = parser.parse_args()
    sizes = sorted(chosen.sizes)[-1:] if chosen.guard else sorted(chosen.sizes)
    rows = [COLD, COPY, UNCHANGED, CHECK]
    if not chosen.guard and not chosen.brief:
        rows += [ONE, SPLIT, STALE, DIFF, ALONE]
    peers = tuple(PEERS) if other_compilers.BIN.is_dir() and not chosen.guard else ()
    trees = sum(sizes) + max(sizes)
    if not memory.has_room(trees) and memory.has_room(sum(sizes)) and not chosen.guard:
        rows.remove(COPY)
        trees = sum(sizes)
        sys.stdout.write("without cp -r, whose copy has no room in memory beside the output\n")
    parent, told = memory.place(trees)
    sys.stdout.write(f"{told}; {os.cpu_count()} CPUs; load {os.getloadavg()[0]:.1f}; {chosen.rounds} rounds\n\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(dir=parent) as name:
        benches = [Bench(Path(name) / str(size), size, peers if size <= chosen.peers_up_to else ()) for size in sizes]
        for turn in range(-1, chosen.rounds):
            for bench in benches:
                start = max(0, turn) % len(rows)
                bench.round(rows[start:] + rows[:start], counts=turn >= 0)
                if 0 <= turn < chosen.peer_rounds:
                    bench.peers()
        if chosen.guard:
            return guarded(benches[0])
        report(benches, starting(max(chosen.rounds, 10)))
    return 0


def report(benches: list[Bench], started: dict[str, Runs]) -> None:
    """Write all tables."""
    for bench in benches:
        title = f"{bench.size:,} nodes, {bench.files} files each"
        sys.stdout.write(table(title, bench.taken, COPY) + "\n")
    if len(benches) > 1:
        sys.stdout.write(growth(benches) + "\n")
    sys.stdout.write(table("starting", started, INTERPRETER) + "\n")
    sys.stdout.write(aims(benches, started))


def _end(number: int, _frame: object) -> NoReturn:
    """End so that the trees go, undisturbed: some senders, such as `timeout`, send twice."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    memory.enter()
    sys.exit(main())
