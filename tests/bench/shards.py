"""Many sites, spread over shards by xargs, and joined by the audit: `make bench-shards`.

Every shard is a process that knows nothing of the others but how many there are; any engine can take xargs' place.
No more of them run at once than there are CPUs. Told are the wall and CPU time of each step, and the peak of its
largest process. Nothing is asserted but the exit codes, that no site is missing, and that the audit finds two sites
which overlap.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import many_nodes
import memory

PODLAN = (sys.executable, "-m", "podlan")
SECONDS = 1_800
"""Longest that a step may take."""


def step(what: str, command: list[str], where: Path, code: int = 0) -> str:
    """Run a command, tell what it took, and give what it printed."""
    start = time.perf_counter()
    # In a group of its own, so that no shard outlives us; timed by a process of its own, for its peak of memory.
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--one", *command],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(Path(many_nodes.__file__).resolve().parent)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        output, told = process.communicate(timeout=SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == code, output[-2000:] + told[-2000:]
    cpu, megabytes = told.splitlines()[-1].split()
    line = f"{what:<52}{time.perf_counter() - start:>9.1f}{float(cpu):>9.1f}{int(megabytes):>8,}"
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    return output


def one(command: list[str]) -> int:
    """Run one command for `step`, and tell its CPU seconds and the megabytes of its largest process."""
    code = subprocess.run(command, check=False).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    sys.stderr.write(f"\n{used.ru_utime + used.ru_stime} {used.ru_maxrss // 1024}\n")
    return code


def spread(shards: int, *options: str) -> list[str]:
    """Give the command that runs every shard of sites/*."""
    podlan = f"{shlex.join(PODLAN)} compile sites/* -o outputs --jobs 1 --shard {{}}/{shards} {' '.join(options)}"
    return ["sh", "-c", f"seq {shards} | xargs -P {os.cpu_count()} -I {{}} sh -c {shlex.quote(podlan)}"]


def measure(directory: Path, sites: int, nodes: int, shards: int) -> None:
    """Make the sites, compile them by shards, twice, and audit all outputs."""
    for number in range(sites):
        many_nodes.write(directory / f"sites/site-{number:03}", nodes, number=number)
    sys.stdout.write(f"{f'{sites} sites of {nodes:,} nodes':<52}{'wall s':>9}{'CPU s':>9}{'MB':>8}\n")
    step(f"{shards} shards by xargs, {os.cpu_count()} at once: compile", spread(shards), directory)
    made = len(list(directory.glob("outputs/*/site.json")))
    assert made == sites, f"{made} of {sites} sites were compiled"
    step("the same again, --check --locked", spread(shards, "--check", "--locked"), directory)
    step(
        "one process, every site, --check", [*PODLAN, "compile", *_sites(sites), "-o", "outputs", "--check"], directory
    )
    told = step("audit of all outputs", [*PODLAN, "audit", "outputs"], directory)
    # A site that takes another's subnets is found, though no shard could see both.
    shutil.rmtree(directory / "outputs/site-001")
    many_nodes.write(directory / "sites/site-001", nodes, number=0)
    (directory / "sites/site-001/podlan.lock").unlink()
    step("one site compiled anew", [*PODLAN, "compile", "sites/site-001", "-o", "outputs/site-001"], directory)
    found = step("audit, which finds what overlaps", [*PODLAN, "audit", "outputs"], directory, code=1)
    assert "PL727" in found
    sys.stdout.write(f"\n{told}{found.splitlines()[0]}\n")


def _sites(number: int) -> list[str]:
    return [f"sites/site-{index:03}" for index in range(number)]


def main() -> int:
    """Measure, in memory where there is room."""
    if sys.argv[1:2] == ["--one"]:
        return one(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50, help="number of sites, 250 at most")
    parser.add_argument("--nodes", type=int, default=2_000, help="nodes of each, 2,000 at most")
    parser.add_argument("--shards", type=int, default=10, help="into how many parts")
    chosen = parser.parse_args()
    parent, told = memory.place(chosen.sites * chosen.nodes)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        sys.stdout.write(f"{told}\n")
        measure(Path(name), chosen.sites, chosen.nodes, chosen.shards)
    return 0


def _end(number: int, _frame: object) -> NoReturn:
    """End so that the trees go, undisturbed: some senders, such as `timeout`, send twice."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    if sys.argv[1:2] != ["--one"]:
        memory.enter()
    sys.exit(main())
