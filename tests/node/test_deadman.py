"""Whoever kills or stops a run leaves the node as it was before: reachable all the time, no packet lost."""

import contextlib
import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dying import Run, at, die, die_with_the_guard, reconciling, snapshot, stop
from forked import eventually
from lan import CHILD, MOVE_PLAN, NODE, NONE_PLAN, SHIM, SHIM_PLAN
from watching import watching

from podlan.node import deadman, status
from podlan.node.confirm import seconds_left
from podlan.node.files import Root
from podlan.node.lock import is_held
from podlan.plan import File, Link, Route, decode, encode

pytestmark = pytest.mark.kernel


def renamed(plan, old, new):
    """Give the plan in which a link has another name, and all else of it, its MAC too."""
    return decode(json.dumps(encode(plan)).replace(old, new), "here")


CNI = "/etc/cni/net.d/05-podlan.conflist"
FILES = (File(CNI, source=f"rootfs{CNI}"), File("/etc/rc.local", mode="0755", block=("/bin/true",)))
SOURCES = {f"rootfs{CNI}": b"{}\n"}
ELSEWHERE = replace(SHIM_PLAN, links=(*SHIM_PLAN.links[:1], Link("eth1", "master"), replace(CHILD, master="eth1")))
WITH_FILES = replace(SHIM_PLAN, files=FILES)
SECOND = ["link add eth1 type veth peer name eth2", "link set eth1 up", "link set eth2 up"]
RENAMED = renamed(MOVE_PLAN, "macvlan0", "pods0")
ROUTE = Route("macvlan0", "203.0.113.0/24", source=SHIM, replaces=True)
CHANGES = {
    "shim": (NONE_PLAN, SHIM_PLAN),
    "move": (NONE_PLAN, MOVE_PLAN),
    "shim removed": (SHIM_PLAN, NONE_PLAN),
    "move removed": (MOVE_PLAN, NONE_PLAN),
    "child made anew": (SHIM_PLAN, ELSEWHERE),
    "child renamed": (MOVE_PLAN, RENAMED),
}


def count_operations(net, directory):
    return net.reconcile(directory, "--dry-run").stdout.count("\n")


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_killed_at_any_operation_is_taken_back_and_loses_no_packet(net, change):
    earlier, plan = CHANGES[change]
    directory = net.directory(plan)
    net.batch("node", SECOND)
    net.reconcile(earlier)
    before = snapshot(net)
    with net.pinging("peer", NODE) as counts:
        operations = count_operations(net, directory)
        for number in range(operations + 1):
            run = reconciling(net, directory, prepare=at(number, die))
            assert run.wait() == -signal.SIGKILL, run.output()
            taken_back = min(number + 1, operations)
            assert f"was killed; all is as it was before, operations taken back: {taken_back}\n" in run.output()
            assert snapshot(net) == before, number
            assert not (net.root / "var/lib/podlan/journal.json").exists()
    assert counts[0] == counts[1] > 100
    net.reconcile(directory)
    assert net.reconcile(directory).stdout.startswith("nothing to do")


def files(net):
    """Give all below the root but the state, with what is in it."""
    left = net.root / "var/lib/podlan", net.root / "run"
    found = sorted(path for path in net.root.rglob("*") if not any(path.is_relative_to(one) for one in left))
    return [(path, path.lstat().st_mode, path.is_file() and path.read_bytes()) for path in found]


@pytest.mark.parametrize("edited", [False, True], ids=["as they were", "that others have edited by then"])
def test_the_files_of_a_killed_run_are_taken_back(net, edited):
    """The copy of the directory, too; and without the guard all but the copy, which the next run makes anyway."""
    net.reconcile(net.directory(replace(SHIM_PLAN, files=FILES[1:])))
    before, copied = files(net), (net.root / "etc/podlan/node/plan.json").read_bytes()
    directory = net.directory(WITH_FILES, SOURCES)
    assert [line.split()[0] for line in net.reconcile(directory, "--dry-run").stdout.splitlines()] == [
        "install",
        "mkdir",
    ]
    for number in (0, 1, 2):
        assert reconciling(net, directory, prepare=at(number, die)).wait() == -signal.SIGKILL
        assert files(net) == before, number
    assert reconciling(net, directory, prepare=at(2, die_with_the_guard)).wait() == -signal.SIGKILL
    file = net.root / CNI[1:]
    assert file.read_bytes() == b"{}\n"
    if edited:
        file.write_text("edited", encoding="utf-8")
    assert (
        "killed is taken back, operations: 2" in Run(net, "undo", "--interrupted", "--root", net.root).ended().output()
    )
    assert file.exists() == edited
    assert not edited or file.read_text(encoding="utf-8") == "edited"
    assert (net.root / "etc/podlan/node/plan.json").read_bytes() != copied
    net.reconcile(directory)
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    assert not list(net.root.rglob("*podlan-tmp*"))


@pytest.mark.parametrize("change", ["move", "move removed", "child made anew"])
def test_where_the_guard_is_killed_too_the_next_run_takes_back_what_is_left(net, change):
    earlier, plan = CHANGES[change]
    directory = net.directory(plan)
    net.batch("node", SECOND)
    net.reconcile(earlier)
    before = snapshot(net)
    operations = count_operations(net, directory)
    with net.pinging("peer", NODE) as counts:
        for number in range(0, operations + 1, 2):
            assert reconciling(net, directory, prepare=at(number, die_with_the_guard)).wait() == -signal.SIGKILL
            assert (net.root / "var/lib/podlan/journal.json").stat().st_mode & 0o777 == 0o600
            undone = Run(net, "undo", "--interrupted", "--root", net.root).ended()
            assert f"taken back, operations: {min(number + 1, operations)}\n" in undone.output()
            assert snapshot(net) == before, number
        reconciling(net, directory, prepare=at(operations // 2, die_with_the_guard)).wait()
        assert "a run that was killed is taken back first" in net.reconcile(directory).stderr
    assert counts[0] == counts[1]
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    assert not Run(net, "undo", "--interrupted", "--root", net.root).ended().output()


def test_taking_back_may_itself_be_killed_anywhere(net):
    """The journal alone, killed after each operation that it took back, and begun again each time."""
    net.reconcile(SHIM_PLAN)
    before = snapshot(net)
    directory = net.directory(MOVE_PLAN)
    operations = count_operations(net, directory)
    reconciling(net, directory, prepare=at(operations, die_with_the_guard)).wait()
    with net.pinging("peer", NODE) as counts:
        for _ in range(3):
            Run(net, "undo", "--interrupted", "--root", net.root, prepare=dying_after(operations // 4)).wait()
            assert (net.root / "var/lib/podlan/journal.json").exists()
        Run(net, "undo", "--interrupted", "--root", net.root).ended()
    assert snapshot(net) == before
    assert counts[0] == counts[1]


def dying_after(number):
    def prepare():
        from podlan.node import journal  # noqa: PLC0415 - in the process that dies

        take_back = journal.take_back

        def limited(done, kernel, undone):
            take_back(done[-number:], kernel, undone)
            die()

        journal.take_back = limited

    return prepare


def test_a_run_that_hangs_is_ended_and_taken_back_and_does_not_go_on_when_it_wakes_up(net):
    before = snapshot(net)
    with net.pinging("peer", NODE) as counts:
        run = reconciling(net, net.directory(MOVE_PLAN), "--undo-after", "5", prepare=at(9, stop))
        eventually(run.output, run.is_stopped)
        started = time.monotonic()
        assert run.wait() == -signal.SIGKILL
        assert time.monotonic() - started > 4
        assert "did nothing for 5 s; all is as it was before" in run.output()
    assert counts[0] == counts[1]
    assert snapshot(net) == before


def test_a_guard_that_is_killed_ends_the_run_which_takes_everything_back(net):
    """Unguarded it would go on without a way back."""
    before = snapshot(net)
    directory = net.directory(MOVE_PLAN)
    run = reconciling(net, directory, prepare=at(6, stop))
    eventually(run.output, run.is_stopped)
    (guard,) = run.children()
    os.kill(guard, signal.SIGKILL)
    run.signal(signal.SIGCONT)
    assert run.wait() == 1
    assert "the process that guards this run is gone" in run.output()
    assert snapshot(net)[:-1] == before[:-1]


def test_a_run_that_cannot_be_guarded_does_not_begin(net):
    before = snapshot(net)

    def no_process():
        os.fork = fail

    def fail():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    run = reconciling(net, net.directory(MOVE_PLAN), prepare=no_process)
    assert run.wait() == 4
    assert "cannot start the process that guards this run" in run.output()
    assert snapshot(net) == before
    assert not (net.root / "var/lib/podlan/journal.json").exists()


def test_a_mistake_of_podlan_itself_leaves_nothing_half_done(net):
    before = snapshot(net)

    def fail():
        raise RuntimeError("a mistake")

    run = reconciling(net, net.directory(MOVE_PLAN), prepare=at(8, fail))
    assert run.ended_with() == 99
    assert "podlan reconcile failed; all is as it was before, operations taken back: 9" in run.output()
    assert snapshot(net) == before


def test_what_cannot_be_taken_back_keeps_the_journal_and_the_next_run_finishes(net):
    """The gateway of the route to be put back is out of reach by then."""
    net.batch("node", ["addr add 192.0.2.1/24 dev eth0", "route add 203.0.113.0/24 via 192.0.2.254"])
    plan = replace(SHIM_PLAN, routes=(*SHIM_PLAN.routes, ROUTE))
    net.reconcile(replace(SHIM_PLAN, routes=SHIM_PLAN.routes))
    operations = count_operations(net, net.directory(plan))
    run = reconciling(net, net.directory(plan), prepare=at(operations, stop))
    eventually(run.output, run.is_stopped)
    net.ip("addr", "del", "192.0.2.1/24", "dev", "eth0")
    run.signal(signal.SIGKILL)
    run.wait()
    assert "taking it back failed" in run.output()
    assert "not undone: ip route replace 203.0.113.0/24" in run.output()
    assert (net.root / "var/lib/podlan/journal.json").exists()
    assert Run(net, "undo", "--interrupted", "--root", net.root).wait() == 5
    done = net.reconcile(plan)
    assert "cannot be taken back, so this one finishes it" in done.stderr
    assert not (net.root / "var/lib/podlan/journal.json").exists()
    assert net.reconcile(plan).stdout.startswith("nothing to do")


def test_a_watch_that_is_killed_in_a_repair_leaves_the_node_as_it_was_found(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as watch:
        state = net.state()
    net.ip("route", "del", "172.16.129.110/31")
    drifted = snapshot(net)
    run = Run(net, "reconcile", "--watch", "--root", net.root, directory, prepare=at(0, die))
    assert run.wait() == -signal.SIGKILL
    assert snapshot(net) == drifted
    with watching(net, directory) as watch:
        watch.until(lambda: net.state() == state)
        watch.until(lambda: not (net.root / "var/lib/podlan/journal.json").exists())
        watch.until(lambda: not Path(f"/proc/{watch.pid}/task/{watch.pid}/children").read_text("ascii"))


def test_output_that_is_closed_or_that_nobody_reads_neither_stops_a_run_nor_keeps_the_lock(net):
    directory = net.directory(SHIM_PLAN)
    before = snapshot(net)
    closed = ("sh", "-c", 'exec <&- >&- 2>&-; exec "$@"', "sh", *net.reconcile_argv(directory))
    subprocess.run(closed, check=True)
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    net.podlan("undo")
    read, gone = os.pipe()
    os.close(read)
    with open(gone, "wb") as nobody:  # noqa: PTH123 - a descriptor
        differs = subprocess.run(net.reconcile_argv(directory, "--check"), stdout=nobody, check=False)
    assert differs.returncode == 3
    with full_pipe() as unread:
        for ends, kept in ((lambda run: run.kill(), False), (lambda _: net.podlan("confirm"), True)):
            argv = net.reconcile_argv(directory, "--confirm", "60", "--undo-after", "5")
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=unread) as run:
                eventually(lambda: "no wait", lambda: seconds_left(Root(str(net.root))))
                ends(run)
            eventually(lambda: "the lock is held", lambda: not is_held(Root(str(net.root))))
            assert (run.returncode, "macvlan0" in net.ip("link")) == ((0, True) if kept else (-signal.SIGKILL, False))
            assert kept or snapshot(net) == before


@contextlib.contextmanager
def full_pipe():
    """Give the end of a pipe that takes nothing more."""
    read, write = os.pipe2(os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(1 << 12))
    os.set_blocking(write, True)
    yield write
    os.close(read)
    os.close(write)


def test_a_guard_has_what_it_needs_before_the_first_change(net):
    """When it is needed, no further socket is to be had."""
    before = snapshot(net)
    run = reconciling(net, net.directory(MOVE_PLAN), prepare=at(9, stop))
    eventually(run.output, run.is_stopped)
    (guard,) = run.children()
    taken = {int(number) for number in os.listdir(f"/proc/{guard}/fd")}  # noqa: PTH208 - numbers
    for_files = sorted(set(range(max(taken) + 4)) - taken)[2]
    resource.prlimit(guard, resource.RLIMIT_NOFILE, (for_files + 1, for_files + 1))
    run.signal(signal.SIGKILL)
    run.wait()
    assert "all is as it was before, operations taken back: 10\n" in run.output()
    assert snapshot(net) == before


def test_a_run_that_lives_is_not_taken_back_by_one_that_does_not_see_its_lock(net):
    """In a container with a /run of its own, or where somebody has emptied it."""
    run = reconciling(net, net.directory(MOVE_PLAN), prepare=at(9, stop))
    eventually(run.output, run.is_stopped)
    there = net.ip("addr")
    shutil.rmtree(net.root / "run/podlan")
    assert "another reconcile holds" in net.reconcile(SHIM_PLAN, code=75).stderr
    assert not net.podlan("undo", "--interrupted").stdout
    assert net.ip("addr") == there
    run.signal(signal.SIGCONT)
    assert run.wait() == 0, run.output()
    assert net.reconcile(MOVE_PLAN).stdout.startswith("nothing to do")


def test_whoever_only_asks_for_the_lock_does_not_keep_a_killed_run_from_being_taken_back(net):
    before = snapshot(net)
    reconciling(net, net.directory(SHIM_PLAN), prepare=at(5, die_with_the_guard)).wait()
    for option in ("--dry-run", "--plugins", "--no-restart"):
        assert f"--interrupted goes without {option}" in net.podlan("undo", "--interrupted", option, code=2).stderr
    with (net.root / "run/podlan/lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        taking_back = Run(net, "undo", "--interrupted", "--quiet", "--root", net.root)
        time.sleep(0.3)
        assert taking_back.poll() is None
        fcntl.flock(lock, fcntl.LOCK_UN)  # the other process has inherited it
    assert (taking_back.wait(), taking_back.output()) == (0, "")
    assert snapshot(net) == before


def test_a_run_that_fails_tells_that_it_has_taken_back_another(net):
    reconciling(net, net.directory(SHIM_PLAN), prepare=at(5, die_with_the_guard)).wait()
    unreachable = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
    told = net.reconcile(replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, unreachable)), code=1).stderr
    assert told.startswith("error: failed, rolled back: ip route add 203.0.113.0/24")
    assert "warning[PL680]: a run that was killed is taken back first, operations: 6" in told


def test_a_run_that_has_just_ended_was_not_killed(net, monkeypatch):
    """Between two looks, at the journal and at the lock."""
    reconciling(net, net.directory(SHIM_PLAN), prepare=at(5, die_with_the_guard)).wait()
    root = Root(str(net.root))
    assert status.look(root).run == status.INTERRUPTED

    def ends(root):
        net.podlan("undo", "--interrupted")
        return is_held(root)

    monkeypatch.setattr("podlan.node.lock.is_held", ends)
    assert status.look(root).run == status.IDLE


def test_a_process_that_is_not_the_run_is_never_ended():
    """The run may have died before its guard looked, and its number may be another process's."""
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            process = deadman._Process(other.pid)  # noqa: SLF001 - the race itself cannot be brought about
            process.kill()
            assert other.poll() is None
        finally:
            other.kill()
