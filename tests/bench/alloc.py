"""How long allocation takes, and how it grows: `make bench-alloc`.

A site in memory, of 1,000 to 100,000 nodes, in one IPv6 subnet and in ten IPv4 subnets. Every size runs in a process
of its own, so that its peak of memory is its own. Nothing is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from podlan.addressing import Lock, allocate, read_lock, survey
from podlan.inventory import Site, load
from podlan.source import Source
from podlan.source._document import parse

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
SIZES = (1_000, 10_000, 100_000)
KINDS = {"v6": "one IPv6 subnet", "v4": "ten IPv4 subnets"}
STEPS = ("survey", "cold", "write lock", "read lock", "locked", "one more node")
_SUBNETS = 10


def site(kind: str, size: int) -> Site:
    """Make a site whose nodes all have an address of their own, a slice of 8 and a shim."""
    if kind == "v6":
        subnets = {"lan0": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
        addresses = [f"fd00::1:{number >> 16:x}:{number & 0xFFFF:x}" for number in range(size)]
    else:
        # 262,144 addresses each: a hundred thousand nodes take 100,000 of each, and aligned blocks some more.
        bases = [(10 << 24) + (index << 18) for index in range(_SUBNETS)]
        subnets = {
            f"lan{index}": {"cidr": f"{_dotted(base)}/14", "gateway": _dotted(base + 1)}
            for index, base in enumerate(bases)
        }
        addresses = [_dotted(bases[number % _SUBNETS] + 16 + number // _SUBNETS) for number in range(size)]
    masters = {
        name.replace("lan", "uplink"): {"interface": f"eth{name[3:]}", "subnets": [name], "podsPerNode": 8}
        for name in subnets
    }
    data: dict[str, Any] = {
        "version": 1,
        "site": "bench",
        "cluster": {"kubernetes": "1.31"},
        "cni": {"name": "pods"},
        "subnets": subnets,
        "masters": masters,
        "nodes": {
            f"node-{number}": {"masters": {f"uplink{number % len(subnets)}": {"addresses": [address]}}}
            for number, address in enumerate(addresses)
        },
    }
    source = Source(Path("site.yaml"))
    source.add(parse("site.yaml", json.dumps(data)))
    found, findings = load(source)
    assert found is not None, findings
    return found


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 0xFF) for shift in (24, 16, 8, 0))


def measure(kind: str, size: int, runs: int) -> dict[str, float]:
    """Give the median seconds of every step, and megabytes before and at the peak."""
    where = site(kind, size)
    # A compile runs without the garbage collector, and so does this.
    gc.collect()
    gc.disable()
    before = _megabytes()
    times: dict[str, list[float]] = {step: [] for step in STEPS}
    for _ in range(runs):
        grounds = _timed(times["survey"], survey, where)
        cold = _timed(times["cold"], allocate, where, grounds, Lock())
        assert not cold.findings, cold.findings[:3]
        text = _timed(times["write lock"], cold.lock.text)
        lock, findings = _timed(times["read lock"], read_lock, "podlan.lock", text)
        assert not findings
        again = _timed(times["locked"], allocate, where, grounds, lock)
        assert again.lock.text() == text
        fewer = _without(lock, f"node-{size // 2}")
        more = _timed(times["one more node"], allocate, where, grounds, fewer)
        assert len(more.slices) == size
    return {
        **{step: statistics.median(values) for step, values in times.items()},
        "the site": before,
        "peak": _megabytes(),
    }


def _without(lock: Lock, node: str) -> Lock:
    """Give the lock as it was before a node came."""
    slices = {key: value for key, value in lock.slices.items() if key[1] != node}
    shims = {key: value for key, value in lock.shims.items() if key[1] != node}
    return Lock(lock.meta, slices, shims)


def _timed(times: list[float], step: Callable[..., T], *arguments: object) -> T:
    start = time.perf_counter()
    result = step(*arguments)
    times.append(time.perf_counter() - start)
    return result


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(kind: str, rows: dict[int, dict[str, float]]) -> str:
    """Write a table: a line a step, a column a size, and between sizes by which power of the nodes the time grows."""
    sizes = list(rows)
    heads = "".join(f"{f'{size:,} nodes':>16}{'':>8}" for size in sizes)
    lines = [f"{KINDS[kind]:<18}{heads}".rstrip()]
    for name in rows[sizes[0]]:
        line = f"  {name:<16}"
        for index, size in enumerate(sizes):
            value = rows[size][name]
            power = ""
            if index and name in STEPS:
                earlier = sizes[index - 1]
                power = f"n^{math.log(value / rows[earlier][name]) / math.log(size / earlier):.2f}"
            line += f"{f'{value * 1000:,.1f} ms' if name in STEPS else f'{value:,.0f} MB':>16}  {power:<6}"
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every kind and size; with `--one`, do the work of one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of every size; their median counts")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of nodes")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        json.dump(measure(chosen.one[0], int(chosen.one[1]), chosen.runs), sys.stdout)
        return
    for kind in KINDS:
        rows = {}
        for size in chosen.sizes:
            command = [sys.executable, __file__, "--runs", str(chosen.runs), "--one", kind, str(size)]
            rows[size] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        sys.stdout.write(report(kind, rows) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
