"""What making a node match costs, in time and in packets: `make bench-node`.

The example site's first node is made, found right and checked by podlan, as installed and as one file, by boot.sh, and
by what people use instead: the how-to's own lines, `ip -batch` and ifstate. Beside them stand the floors: Python alone,
and pyroute2 imported narrowly with the four dumps that a look at a node needs. Every run is a process of its own in one
network namespace; the rounds take turns, so that a busy minute falls on all of them. Wall and CPU time are medians, the
spread is that of the wall time. Then traffic runs through the same changes, and what it loses is counted (loss.py).
Nothing is asserted but the exit codes: machines differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import loss
from lan import Net
from peers import BATCH, HOWTO, IFSTATE, IFSTATE_SHIM, alone

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NODE = ROOT / "output/nodes/node-1"
ARCHIVE = ROOT / "dist/podlan-node.pyz"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}  # nothing that changes how Python starts

RESET = """\
link delete dev macvlan0
link set dev eth0 promisc off
address replace 172.16.129.101/24 dev eth0
route replace default via 172.16.129.254 dev eth0
"""
KEYS = {"net/ipv4/conf/eth0/arp_filter": "0", "net/ipv4/ip_forward": "0", "net/ipv4/conf/all/send_redirects": "1"}

_FLOOR, _NOTHING, _IFSTATE = "pyroute2, narrow, four dumps", "podlan: nothing to do", "ifstate: nothing to do"
_LINES, _BOOT = "the how-to's lines", "boot.sh: first"
AIMS = (
    (_NOTHING, _FLOOR, 1.15),
    ("podlan --check", _FLOOR, 1.15),
    (".pyz: nothing to do", _FLOOR, 1.15),
    (".pyz --check", _FLOOR, 1.15),
    (_NOTHING, _IFSTATE, 0.5),
    (_BOOT, _LINES, 1.0),
)
"""A row, what it is held against, and what it may cost as a multiple of that."""


@dataclass(frozen=True)
class Row:
    """A command to time; `fresh`: on a node that has nothing yet."""

    name: str
    command: tuple[str, ...]
    fresh: bool = False
    output: str = ""  # what it must print, so that a run that fails early does not look fast


def rows(directory: Path) -> list[list[Row]]:
    """Give the groups: the rows of one follow each other on the state that the first one made."""
    python, plain = sys.executable, str(Path(sys.executable).resolve())
    root = ("--root", str(directory / "root"))
    podlan, archive = (python, "-m", "podlan.node", "reconcile"), (plain, "-I", "-S", str(ARCHIVE), "reconcile")
    ifstate = (str(IFSTATE), "-c", str(directory / "ifstate.yml"))
    floors = [
        Row("python3 -c pass", (python, "-c", "pass"), fresh=True),
        Row("python3 -I -S -c pass", (plain, "-I", "-S", "-c", "pass"), fresh=True),
    ]
    made, right = "ip link add", "nothing to do"
    return [
        floors,
        [
            Row("podlan: first", (*podlan, *root, str(directory / "node")), fresh=True, output=made),
            Row(_FLOOR, (python, str(Path(__file__).with_name("netlink_floor.py")))),
            Row(_NOTHING, (*podlan, *root), output=right),
            Row("podlan --check", (*podlan, *root, "--check"), output=right),
        ],
        [
            Row(".pyz: first", (*archive, *root, str(directory / "node")), fresh=True, output=made),
            Row(".pyz: nothing to do", (*archive, *root), output=right),
            Row(".pyz --check", (*archive, *root, "--check"), output=right),
        ],
        [
            Row(_BOOT, ("/bin/sh", str(directory / "node/boot.sh")), fresh=True),
            Row("boot.sh: again", ("/bin/sh", str(directory / "node/boot.sh"))),
        ],
        [Row(_LINES, ("/bin/sh", "-e", str(directory / "rc.local")), fresh=True)],
        [Row("ip -batch", ("ip", "-batch", str(directory / "batch")), fresh=True)],
        [
            Row("ifstate: first", (*ifstate, "apply"), fresh=True, output="macvlan0"),
            Row(_IFSTATE, (*ifstate, "apply"), output="macvlan0"),
            Row("ifstate check", (*ifstate, "check"), output="macvlan0"),
        ],
    ]


def reset(directory: Path) -> None:
    """Make the node what it was before the first run."""
    subprocess.run(["ip", "-force", "-batch", "-"], input=RESET, text=True, stderr=subprocess.DEVNULL, check=False)
    for key, value in KEYS.items():
        Path("/proc/sys", key).write_text(value, encoding="ascii")
    shutil.rmtree(directory / "root", ignore_errors=True)
    (directory / "root").mkdir()


def timed(row: Row) -> tuple[float, float]:
    """Run it once; give the seconds of wall and of CPU that it took."""
    start = time.perf_counter()
    process = subprocess.Popen(
        row.command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{row.name}: {output[-2000:]}"
    assert row.output in output, f"{row.name}: {output[-2000:]}"
    return wall, used.ru_utime + used.ru_stime


def measure(directory: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Run every group in turn, so many rounds, each beginning with another one; one more before, to warm up."""
    groups = rows(directory)
    taken: dict[str, list[tuple[float, float]]] = {row.name: [] for group in groups for row in group}
    for turn in range(-1, rounds):
        for group in groups[turn % len(groups) :] + groups[: turn % len(groups)]:
            for row in group:
                if row.fresh:
                    reset(directory)
                used = timed(row)
                if turn >= 0:
                    taken[row.name].append(used)
    return taken


def report(taken: dict[str, list[tuple[float, float]]]) -> str:
    """Write a table: what each took, beside the floor and ifstate; then what is to hold of them."""
    lines = [f"{'':<30}{'wall ms':>9}{'spread':>13}{'CPU ms':>8}{'of the floor':>14}{'of ifstate':>12}"]
    for name, runs in taken.items():
        wall = [run[0] * 1000 for run in runs]
        cpu = statistics.median(run[1] for run in runs) * 1000
        peer = next((other for other in taken if other.startswith("ifstate") and other[-5:] == name[-5:]), _IFSTATE)
        lines.append(
            f"{name:<30}{statistics.median(wall):>9.1f}{f'{min(wall):.0f}-{max(wall):.0f}':>13}{cpu:>8.1f}"
            f"{_ratio(taken, name, _FLOOR):>14}{_ratio(taken, name, peer):>12}"
        )
    lines.append(f"\n{'':<30}{'ratio (CPU)':>14}  at most")
    lines += [
        f"{name:<30}{f'{_ratio(taken, name, other)} ({_ratio(taken, name, other, 1)})':>14}  {most:g} of `{other}`"
        for name, other, most in AIMS
    ]
    return "\n".join(lines) + "\n"


def _ratio(taken: dict[str, list[tuple[float, float]]], name: str, other: str, which: int = 0) -> str:
    """Give the median of the rounds' ratios, since what makes a round slow makes all of it slow."""
    pairs = zip(taken[name], taken[other], strict=True)
    return f"{statistics.median(one[which] / two[which] for one, two in pairs):.2f}"


def write_inputs(directory: Path) -> None:
    """Write what the commands read."""
    shutil.copytree(NODE, directory / "node")
    subprocess.run(["chmod", "-R", "go-w", directory], check=True)  # podlan trusts nothing that others can write
    for name, text in (("rc.local", HOWTO), ("batch", BATCH), ("ifstate.yml", IFSTATE_SHIM)):
        (directory / name).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def lan(directory: Path) -> Iterator[Net]:
    """Give the tests' LAN: a switch, the node, its gateway and a peer, each in a network namespace."""
    net = Net(directory)
    try:
        yield net.up()
    finally:
        net.down()


def main() -> None:
    """Measure times, then losses, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of every command; medians count")
    parser.add_argument("--loss-rounds", type=int, default=3, help="rounds of traffic through every change")
    parser.add_argument(
        "--rp-filter", type=int, choices=(0, 1, 2), default=2, help="of every interface, for the traffic"
    )
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        json.dump(measure(chosen.inside, chosen.rounds), sys.stdout)
        return
    # In memory where that is possible, since a disk's journal would be measured, too.
    memory = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        directory = Path(name)
        write_inputs(directory)
        if chosen.rounds:
            again = alone(sys.executable, __file__, "--inside", directory, "--rounds", str(chosen.rounds))
            with lan(directory) as net:
                done = subprocess.run(net.argv("node", *again), stdout=subprocess.PIPE, check=True)
            sys.stdout.write(report(json.loads(done.stdout)) + "\n")
            sys.stdout.flush()
        if chosen.loss_rounds:
            sys.stdout.write(loss.report(loss.measure(directory, chosen.loss_rounds, chosen.rp_filter)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the namespaces go
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
