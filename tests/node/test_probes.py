"""Whom a run asks before and after a change, how long it waits for them, and what it tells after a rollback."""

import contextlib
import socket
import struct
import subprocess
import time
from dataclasses import replace

import pytest
from lan import GATEWAY, MOVE_PLAN, PEER, SHIM_PLAN
from traffic import inside

from podlan.plan import Probe, Route

pytestmark = pytest.mark.kernel

SILENT = tuple(Probe("eth0", f"172.16.129.{last}") for last in (240, 241, 242))
ARP, SO_TIMESTAMPNS = 0x0806, 35
REFUSED = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")


@contextlib.contextmanager
def questions(net):
    """Listen at the gateway; gives what tells who was asked for since it was last called, and when."""
    with inside(f"{net.prefix}gw"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
    wire.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    wire.setblocking(False)  # noqa: FBT003 - the only way to say it

    def heard():
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, ((_, _, stamp),), *_ = wire.recvmsg(2048, 64)
                seconds, nanoseconds = struct.unpack("ll", stamp)
                if frame[20:22] == b"\0\1":
                    found.append((seconds + nanoseconds / 1e9, socket.inet_ntoa(frame[38:42])))
        return found

    with wire:
        yield heard


def test_silent_probes_are_asked_all_at_once_stop_nothing_and_cost_a_run_without_changes_nothing(net):
    directory = net.directory(replace(SHIM_PLAN, probes=(Probe("eth0", GATEWAY), *SILENT)))
    with questions(net) as heard:
        started = time.monotonic()
        net.reconcile(directory)
        assert time.monotonic() - started >= 1
        first = {address: moment for moment, address in reversed(heard())}
        moments = [first[probe.address] for probe in SILENT]
        assert max(moments) - min(moments) < 1, "one after the other they would be a second apart"
        assert net.reconcile(directory).stdout.startswith("nothing to do")
        assert not {address for _, address in heard()} & {probe.address for probe in SILENT}


def test_after_a_rollback_the_same_probes_are_asked_again_and_their_answer_is_told(net):
    plan = replace(SHIM_PLAN, probes=(Probe("eth0", GATEWAY), Probe("eth0", PEER), SILENT[0]))
    done = net.reconcile(replace(plan, routes=(*plan.routes, REFUSED)), code=1)
    assert f"; all that answered before answers again: {GATEWAY}, {PEER}" in done.stderr
    assert SILENT[0].address not in done.stderr


def test_a_neighbour_that_is_lost_during_a_run_and_after_its_rollback_is_told(net):
    # Routes enough that the neighbour is gone before the run looks whether it is still there.
    many = tuple(Route("macvlan0", f"10.{high}.{low}.0/24") for high in range(2) for low in range(100))
    plan = replace(SHIM_PLAN, routes=many, probes=(Probe("eth0", GATEWAY), Probe("eth0", PEER, 3)))
    cut = f"ip monitor link | grep -q -m 1 macvlan0; ip netns exec {net.prefix}sw ip link set p-peer down"
    before = net.state()
    with subprocess.Popen(net.argv("node", "sh", "-c", cut)) as cutting:
        time.sleep(0.1)
        # Longer than the guard's own patience: who listens to a slow probe does not hang.
        said = net.done_with(plan, undo_after=1.5)
        cutting.wait(10)
    assert f"{PEER} answered before the change and no longer answers on eth0" in said
    assert f"{PEER} answered before and no longer answers, though all was taken back" in said
    assert net.state() == before


def test_a_neighbour_has_as_long_as_the_plan_says_and_the_first_one_is_the_gate(net):
    slow = replace(MOVE_PLAN, probes=(replace(MOVE_PLAN.probes[0], timeout=3), Probe("macvlan0", PEER)))
    assert net.reconcile(slow, "--dry-run").stdout.count("must answer through macvlan0") == 1
    net.batch("gw", ["link set eth0 down"])
    net.run("gw", "sh", "-c", "(sleep 1.2; ip link set eth0 up) > /dev/null 2>&1 &")
    assert net.reconcile(slow).stderr == ""
