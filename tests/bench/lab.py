"""What a large lab costs: `make bench-lab`.

A site is generated, and `podlan lab` builds it, tries everybody, and removes it, each a command of its own.
Shown are wall time, the CPU time of the command and all it started, and how busy all processors were meanwhile, with
whatever: the kernel carries frames outside of any process. It ends with 1 where a lab of the usual size is not up
within a minute of wall time; apart from that and the exit codes nothing is asserted: machines differ.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HEAD = """\
version: 1
site: large
cluster: {kubernetes: "1.31", runtime: containerd, serviceCIDR: [SERVICES]}
cni: {name: pods}
subnets:
  lan: {cidr: 10.20.0.0/16, gateway: 10.20.255.254, pool: [10.20.64.0-10.20.191.255], routes: [{dst: 0.0.0.0/0}]}
"""
SIX = """\
  six:
    cidr: "fd00:20::/64"
    gateway: "fd00:20::fffe"
    routes: [{dst: "::/0"}]
"""


NODES, PODS, LIMIT = 50, 4, 60.0
"""A lab of so many nodes, with so many pods each, is up within so many seconds."""


def site(nodes: int, pods: int, *, dual: bool) -> str:
    """Give a site of one LAN with Services, and a shim on every node."""
    subnets = "[lan, six]" if dual else "[lan]"
    services = "10.96.0.0/12" + ', "fd00:96::/112"' * dual
    lines = [HEAD.replace("SERVICES", services) + SIX * dual + "masters:"]
    lines.append(f"  uplink: {{interface: eth0, subnets: {subnets}, podsPerNode: {pods}}}\nnodes:")
    for number in range(1, nodes + 1):
        own = [f"10.20.{number >> 8}.{number & 255}", *([f'"fd00:20::{number:x}"'] if dual else [])]
        lines.append(f"  node-{number:03}: {{masters: {{uplink: {{addresses: [{', '.join(own)}]}}}}}}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Used:
    """What a command took: seconds of wall time, of its own CPU time, and of all processors' together."""

    wall: float
    cpu: float
    busy: float


def busy() -> float:
    """Give how many seconds all processors have worked."""
    user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")


def timed(*words: str) -> tuple[Used, str, int]:
    """Run `podlan lab` and give what it took, what it printed, and how it ended."""
    began, before = time.monotonic(), busy()
    command = [sys.executable, "-m", "podlan", "lab", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        printed = process.stdout.read()
    except BaseException:
        process.terminate()
        process.wait()  # it cleans up first
        raise
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = Used(time.monotonic() - began, used.ru_utime + used.ru_stime, busy() - before)
    return took, printed, process.returncode


def main() -> int:
    """Build, try, remove; report; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--pods", type=int, default=PODS, help="pods a node")
    parser.add_argument("--dual", action="store_true", help="IPv6 beside IPv4")
    chosen = parser.parse_args()
    load = Path("/proc/loadavg").read_text().split()[0]
    with TemporaryDirectory() as directory:
        file = Path(directory, "site.yaml")
        file.write_text(site(chosen.nodes, chosen.pods, dual=chosen.dual), encoding="utf-8")
        lab = (str(file), "--name", f"bench-{os.getpid()}")
        lines = [f"{'':<8}{'wall s':>8}{'CPU s':>8}{'busy s':>8}"]
        verdict, walls = "", {}
        try:
            for verb, options in (("up", ("--pods", str(chosen.pods))), ("verify", ("--no-grid",))):
                took, printed, code = timed(verb, *lab, *options)
                verdict, walls[verb] = printed, took.wall
                assert code == 0, printed[-3000:]
                lines.append(f"{verb:<8}{took.wall:>8.1f}{took.cpu:>8.1f}{took.busy:>8.1f}")
        finally:
            took, printed, code = timed("down", *lab)
        assert code == 0, printed[-3000:]
        lines.append(f"{'down':<8}{took.wall:>8.1f}{took.cpu:>8.1f}{took.busy:>8.1f}")
    processors = len(os.sched_getaffinity(0))
    sys.stdout.write(f"{chosen.nodes} nodes, {chosen.nodes * chosen.pods} pods, {processors} processors, load {load}\n")
    sys.stdout.write("\n".join(lines) + "\n\n" + verdict)
    if walls["up"] > LIMIT and chosen.nodes <= NODES and chosen.pods <= PODS:
        sys.stderr.write(f"up took {walls['up']:.1f} s, which is more than {LIMIT:.0f} s\n")
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the lab goes
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
