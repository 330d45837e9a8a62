"""What goes wrong around a run: disks that are full or read-only, links that vanish, calls that hang, no way back."""

import ctypes
import os
import shutil
from dataclasses import replace

import pytest
from faults import Traced, calls_of, traced
from lan import GATEWAY, MOVE_PLAN, NODE, SHIM_PLAN

from podlan.plan import File

pytestmark = pytest.mark.kernel

CNI = "/etc/cni/net.d/05-podlan.conflist"
FILES = (File(CNI, source=f"rootfs{CNI}"), File("/etc/rc.local", mode="0755", block=("/bin/true",)))
SOURCES = {f"rootfs{CNI}": b"{}\n"}
PLANS = {"shim": replace(SHIM_PLAN, files=FILES), "move": replace(MOVE_PLAN, files=FILES)}
NEW_NAMESPACE, READ_ONLY, REMOUNT, BIND, PRIVATE = 0x20000, 1, 32, 4096, 1 << 18 | 1 << 14


def reachable(net):
    return all(net.reaches(peer, NODE) for peer in ("peer", "gw"))


def changes_of(net, directory):
    """Run once, undisturbed, and take it back; give the numbers of the calls that change the kernel."""
    calls, _ = calls_of(net, directory, calls="sendto")
    planned = net.snapshot()
    remove(net)
    return [number for _, number, kind in calls if kind == "change"], planned


def remove(net):
    net.reconcile(replace(SHIM_PLAN, links=(), addresses=(), routes=(), sysctls={}))
    shutil.rmtree(net.root)


def mounted(path, options=b""):
    """Give what mounts a small file system on the path, or makes what is there read-only, for one process only."""

    def prepare():
        libc = ctypes.CDLL(None, use_errno=True)
        where = os.fsencode(path)

        def mount(*arguments):
            assert libc.mount(*arguments) == 0, os.strerror(ctypes.get_errno())

        assert libc.unshare(NEW_NAMESPACE) == 0
        mount(b"none", b"/", None, PRIVATE, None)
        if options:
            mount(b"tmpfs", where, b"tmpfs", 0, options)
            (path / "filler").write_bytes(b"")
        else:
            mount(where, where, None, BIND, None)
            mount(b"none", where, None, REMOUNT | BIND | READ_ONLY, None)

    return prepare


DISKS = {
    "state": ("var/lib/podlan", 4, "var/lib/podlan/"),
    "lock": ("run/podlan", 4, "run/podlan/lock"),
    "CNI": ("etc/cni", 1, "failed, rolled back: install -D"),
    "copy": ("etc/podlan", 1, "failed, rolled back: mkdir -p"),
}


@pytest.mark.parametrize("disk", DISKS)
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_disk_that_takes_nothing_leaves_all_as_it_was(net, disk, state):
    """Only a part of the file tree, as it is where /var or /etc are file systems of their own."""
    where, code, said = DISKS[disk]
    path = net.root / where
    path.mkdir(parents=True)
    directory = net.directory(PLANS["move"], SOURCES)
    before = net.snapshot()
    # The root directory of this tmpfs, and the filler, are the two nodes that it may have.
    prepare = mounted(path, b"size=4k,nr_inodes=2,mode=755") if state == "full" else mounted(path)
    done = traced(net, directory, calls="none", prepare=prepare)
    assert done.returncode == code, done
    assert said in done.stderr, done
    assert ("No space left" if state == "full" else "Read-only file system") in done.stderr, done
    assert net.snapshot() == before
    assert reachable(net)
    net.reconcile(directory)
    assert net.reconcile(directory).stdout.startswith("nothing to do")


@pytest.mark.parametrize("kind", PLANS)
def test_where_the_way_back_fails_too_the_node_is_reachable_and_the_next_run_ends_it(net, kind):
    """From some call on the kernel takes nothing any more; what is left is told, with its exit code."""
    directory = net.directory(PLANS[kind], SOURCES)
    before = net.snapshot()
    numbers, planned = changes_of(net, directory)
    for number in (numbers[1], numbers[-1]):
        done = traced(net, directory, f"inject=sendto:error=EPERM:when={number}+", calls="sendto")
        assert done.returncode == 5, (number, done)
        assert "failed, and the rollback failed too: ip " in done.stderr, (number, done)
        assert "not undone: ip link add" in done.stderr, (number, done)
        assert reachable(net), number
        net.reconcile(directory)
        assert net.snapshot() == planned, number
        remove(net)
        assert net.snapshot() == before, number


@pytest.mark.parametrize("kind", PLANS)
def test_a_child_that_somebody_deletes_in_the_middle_comes_back(net, kind):
    directory = net.directory(PLANS[kind], SOURCES)
    before = net.snapshot()
    numbers, planned = changes_of(net, directory)
    for number in (numbers[2], numbers[-1]):
        run = Traced(net, directory, f"inject=sendto:signal=SIGSTOP:when={number}", calls="sendto")
        run.until_held()
        net.ip("link", "del", "macvlan0")
        run.go_on()
        done = run.wait()
        assert done.returncode in (1, 5), (number, done)
        assert reachable(net), number
        assert done.returncode == 5 or net.snapshot() == before, (number, done)
        net.reconcile(directory)
        assert net.snapshot() == planned, number
        remove(net)
        assert net.snapshot() == before, number


@pytest.mark.parametrize("kind", PLANS)
def test_a_master_that_vanishes_in_the_middle_may_come_back_later(net, kind):
    directory = net.directory(PLANS[kind], SOURCES)
    numbers, planned = changes_of(net, directory)
    run = Traced(net, directory, f"inject=sendto:signal=SIGSTOP:when={numbers[len(numbers) // 2]}", calls="sendto")
    run.until_held()
    net.ip("link", "del", "eth0")
    run.go_on()
    done = run.wait()
    assert done.returncode in (1, 5), done
    assert "there is no interface eth0" in net.reconcile(directory, code=75).stderr
    end = f"link add p-node type veth peer name eth0 netns {net.prefix}node"
    net.batch("sw", [end, "link set p-node master br0 up"])
    net.batch("node", ["link set eth0 up", f"addr add {NODE}/24 dev eth0", f"route add default via {GATEWAY}"])
    net.reconcile(directory)
    assert net.snapshot()[1:] == planned[1:]
    assert reachable(net)


@pytest.mark.parametrize("kind", PLANS)
def test_calls_that_take_long_change_nothing_about_the_end(net, kind):
    directory = net.directory(PLANS[kind], SOURCES)
    numbers, planned = changes_of(net, directory)
    slow = f"inject=sendto:delay_enter=400000:when={numbers[1]}..{numbers[-1]}+{(numbers[-1] - numbers[1]) // 3}"
    run = Traced(net, directory, slow, calls="sendto")
    assert reachable(net)
    assert run.wait().returncode == 0
    assert net.snapshot() == planned
    assert reachable(net)
