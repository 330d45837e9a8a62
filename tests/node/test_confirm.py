"""What a run has changed stays only if somebody confirms it; whatever else happens takes it back."""

import ctypes
import errno
import json
import os
import signal
import socket
import threading
from dataclasses import replace

import pytest
from dying import Run, at, die_with_the_guard, reconciling, snapshot, stop
from forked import eventually
from lan import MOVE_PLAN, NODE, NONE_PLAN, SHIM_PLAN

from podlan.node import confirm
from podlan.node.files import Root
from podlan.plan import File, Route

pytestmark = pytest.mark.kernel

CNI = "/etc/cni/net.d/05-podlan.conflist"
PLAN = replace(MOVE_PLAN, files=(File(CNI, source=f"rootfs{CNI}", restart=("kubelet.service",)),))
SOURCES = {f"rootfs{CNI}": b"{}\n"}
LIBC = ctypes.CDLL(None)


def podlan(net, *arguments):
    return Run(net, *arguments, "--root", net.root)


def status(net):
    return json.loads(podlan(net, "status", "--format", "json").done())


def waiting(net, directory, seconds="60", *options, **more):
    run = reconciling(net, directory, "--confirm", seconds, *options, **more)
    run.until_said("run podlan confirm")
    return run


def test_after_the_confirmation_files_and_restarts_follow(net):
    directory = net.directory(PLAN, SOURCES)
    run = waiting(net, directory)
    assert "macvlan0" in net.ip("link")
    assert not (net.root / "etc").exists(), "a reboot now would be a way back"
    told = status(net)
    assert (told["run"], told["node"], told["files"]) == ("waiting", "node-1", [])
    assert 50 < told["confirmWithin"] <= 60

    busy = podlan(net, "reconcile", directory)
    busy.until_said("run podlan confirm to keep its changes")  # at once: for other runs it would wait longer than we do
    assert busy.ended_with() == 75
    for number in (signal.SIGHUP, signal.SIGHUP):
        run.signal(number)

    assert podlan(net, "confirm").done() == "confirmed: node-1 keeps its network as it is now\n"
    assert run.wait() == 0, run.output()
    assert "+ ip link add link eth0 name macvlan0" in run.output()
    assert "try-restart kubelet.service" in run.output()
    assert (net.root / CNI[1:]).exists()
    assert (net.root / "etc/podlan/node/plan.json").exists()
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    assert status(net)["run"] == "idle"
    left = {path.name for path in (net.root / "run/podlan").iterdir()}
    assert left == {"lock", "steps"}
    net.reconcile(NONE_PLAN)
    assert "macvlan0" not in net.ip("link")


def without_pidfds():
    """Be on a kernel before 5.3."""

    def refuse(pid):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), pid)

    os.pidfd_open = refuse


ENDS = {
    "the time is over": ("2", Run.poll, 1, "it did not come in time; all is taken back"),
    "Ctrl-C": ("60", lambda run: run.signal(signal.SIGINT), 1, "ended by SIGINT; all is taken back"),
    "SIGTERM": ("60", lambda run: run.signal(signal.SIGTERM), 1, "ended by SIGTERM; all is taken back"),
    "killed": ("60", lambda run: run.signal(signal.SIGKILL), -9, "was killed; all is as it was before"),
    "stopped": ("2", lambda run: run.signal(signal.SIGSTOP), -9, "was not confirmed in time; all is as it was before"),
}


@pytest.mark.parametrize("end", ENDS)
def test_without_a_confirmation_all_is_taken_back_and_no_packet_is_lost(net, end):
    seconds, act, code, words = ENDS[end]
    before = snapshot(net)
    with net.pinging("peer", NODE) as counts:
        prepare = without_pidfds if end == "stopped" else None
        run = waiting(net, net.directory(PLAN, SOURCES), seconds, prepare=prepare)
        act(run)
        assert run.wait() == code, run.output()
    assert words in run.output()
    assert snapshot(net) == before
    assert not (net.root / "etc").exists()
    assert counts[0] == counts[1]
    late = podlan(net, "confirm")
    assert late.ended_with() == 1
    assert "no reconcile waits to be confirmed" in late.output()
    assert snapshot(net) == before


def test_a_run_lost_as_a_whole_while_it_waited_is_taken_back_by_the_next(net):
    before = snapshot(net)
    directory = net.directory(MOVE_PLAN)
    run = waiting(net, directory)
    (guard,) = run.children()
    for pid in (guard, run.pid):
        os.kill(pid, signal.SIGKILL)
    run.wait()
    assert status(net)["run"] == "interrupted"
    late = podlan(net, "confirm")
    assert late.ended_with() == 1
    assert "the run that waited was lost" in late.output()
    done = net.reconcile(NONE_PLAN)
    assert "a run that was killed is taken back first" in done.stderr
    assert {path.name for path in (net.root / "run/podlan").iterdir()} == {"lock", "steps"}
    assert snapshot(net)[:-1] == before[:-1]


@pytest.mark.parametrize("lost", ["run", "both"])
def test_what_was_confirmed_stays_whoever_dies_then(net, lost):
    directory = net.directory(PLAN, SOURCES)
    run = waiting(net, directory)
    state = net.state()
    run.signal(signal.SIGSTOP)
    (guard,) = run.children()
    podlan(net, "confirm").done()
    if lost == "both":
        os.kill(guard, signal.SIGKILL)
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert net.state() == state
    assert ("after its changes were confirmed" in run.output()) == (lost == "run")
    done = net.reconcile(directory)
    assert ("after its changes were confirmed" in done.stderr) == (lost == "both")
    assert (net.root / CNI[1:]).exists()
    assert net.state() == state


def test_where_the_rest_fails_after_the_confirmation_the_operator_hears_what_stays(net):
    run = waiting(net, net.directory(PLAN, SOURCES))
    (net.root / "etc/cni").mkdir(parents=True)
    (net.root / "etc/cni/net.d").symlink_to("/tmp")  # noqa: S108 - nothing is written there
    podlan(net, "confirm").done()
    assert run.wait() == 1
    assert run.output().endswith("the network stays as it was confirmed; run podlan reconcile again for the rest\n")
    assert "macvlan0" in net.ip("link")
    assert status(net)["run"] == "idle"


@pytest.mark.parametrize(("option", "value"), [("--confirm", "inf"), ("--confirm", "nan"), ("--undo-after", "1e300")])
def test_no_time_is_without_end(net, option, value):
    assert f"Invalid value for '{option}'" in net.reconcile(NONE_PLAN, option, value, code=2).stderr


def test_a_guard_that_stands_still_holds_nobody_up_and_without_one_nobody_waits(net):
    before = snapshot(net)
    for number, end in ((signal.SIGKILL, 1), (signal.SIGSTOP, 0)):
        run = waiting(net, net.directory(MOVE_PLAN))
        (guard,) = run.children()
        os.kill(guard, number)
        if number == signal.SIGSTOP:
            podlan(net, "confirm").done()
        assert run.wait() == end, run.output()
        told = "not confirmed: the process that guards this run is gone; all is taken back"
        assert (told in run.output()) == (end == 1)
        assert (snapshot(net) == before) == (end == 1)


def test_confirmation_and_expiry_never_both_win(tmp_path):
    """Many who confirm and many who give up, all at once: one of them has it."""
    root = Root(str(tmp_path))
    for number in range(200):
        confirm.offer(root, f"t{number}", "node-1", 60)
        barrier, won = threading.Barrier(4), []

        def decide(act, barrier=barrier, won=won):
            barrier.wait()
            if act(root):
                won.append(act)

        threads = [threading.Thread(target=decide, args=[act]) for act in (confirm.accept, confirm.expire) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert confirm.is_confirmed(root, f"t{number}") == (won == [confirm.accept])
        assert not confirm.is_confirmed(root, "another")


def test_with_nothing_to_change_in_the_network_there_is_nothing_to_confirm(net):
    net.reconcile(MOVE_PLAN)
    done = net.reconcile(net.directory(PLAN, SOURCES), "--confirm", "60")
    assert "install -D" in done.stdout
    assert "confirm" not in done.stderr


def test_a_failure_before_the_wait_is_told_as_ever(net):
    before = snapshot(net)
    unreachable = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
    done = net.reconcile(replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, unreachable)), "--confirm", "60", code=1)
    assert done.stderr.startswith("error: failed, rolled back: ip route add 203.0.113.0/24")
    assert snapshot(net) == before


@pytest.mark.parametrize("option", ["--watch", "--check", "--dry-run"])
def test_waiting_for_a_confirmation_fits_neither_a_preview_nor_a_watch(net, option):
    assert "--confirm" in net.reconcile(NONE_PLAN, "--confirm", "9", option, code=2).stderr


def test_status_tells_what_podlan_has_here(net):
    assert podlan(net, "status").done() == "podlan has applied nothing here\n  run        none is under way\n"
    net.reconcile(MOVE_PLAN)
    lines = podlan(net, "status").done().splitlines()
    assert lines[0] == "node-1: applied in this boot"
    assert "  links      macvlan0" in lines
    assert f"  addresses  {NODE}/24 on macvlan0" in lines
    assert f"  displaced  0.0.0.0/0 on eth0, eth0 {NODE}/24" in lines
    assert len(lines) < 24
    run = reconciling(net, net.directory(SHIM_PLAN), prepare=at(2, stop))
    eventually(run.output, run.is_stopped)
    assert status(net)["run"] == "under way"
    run.signal(signal.SIGKILL)
    run.wait()


def connected(net, server, client, address):
    """Give both ends of a TCP connection between two namespaces."""
    ends = {}

    def enter(name, act):
        def run():
            with open(f"/run/netns/{net.prefix}{name}", "rb") as file:  # noqa: PTH123 - a descriptor is what is wanted
                assert LIBC.setns(file.fileno(), 0) == 0
            act()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    enter(server, lambda: ends.update(listener=socket.create_server((address, 7777))))
    enter(client, lambda: ends.update(client=socket.create_connection((address, 7777), 5)))
    ends["server"], _ = ends["listener"].accept()
    ends.pop("listener").close()
    for end in ends.values():
        end.settimeout(3)
    return ends["server"], ends["client"]


def test_a_connection_survives_all_of_it(net):
    """One TCP connection to the node's own address, as an operator's session is one."""
    server, client = connected(net, "node", "peer", NODE)

    def speaks():
        for one, other in ((server, client), (client, server)):
            one.sendall(b"podlan")
            assert other.recv(64) == b"podlan"

    with server, client:
        for confirmed in (False, True):
            run = waiting(net, net.directory(MOVE_PLAN))
            speaks()
            podlan(net, "confirm").done() if confirmed else run.signal(signal.SIGINT)
            assert run.wait() == (0 if confirmed else 1)
            speaks()
        for plan in (SHIM_PLAN, NONE_PLAN):
            reconciling(net, net.directory(plan), prepare=at(9, die_with_the_guard)).wait()
            speaks()
            net.reconcile(plan)
            speaks()
