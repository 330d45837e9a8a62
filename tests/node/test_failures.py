"""Runs that fail, are killed, or meet each other: as before or as planned, and reachable all the time."""

import json
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from faults import changes_of, traced
from lan import CHILD, GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, SHIM_PLAN

from podlan.plan import Address, File, Route

pytestmark = pytest.mark.kernel

UNREACHABLE = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
FAILING = {
    "shim": replace(SHIM_PLAN, routes=(*SHIM_PLAN.routes, UNREACHABLE)),
    "move": replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, UNREACHABLE)),
}
CNI = "/etc/cni/net.d/05-podlan.conflist"
FILES = (File(CNI, source=f"rootfs{CNI}"), File("/etc/rc.local", mode="0755", block=("/bin/true",)))
SOURCES = {f"rootfs{CNI}": b"{}\n"}


@pytest.mark.parametrize("kind", FAILING)
def test_a_failing_operation_takes_back_the_earlier_ones(net, kind):
    before = net.state()
    done = net.reconcile(FAILING[kind], code=1)
    assert "failed, rolled back: ip route add 203.0.113.0/24 via 198.18.0.1" in done.stderr
    assert net.state() == before
    assert net.reaches("peer", NODE)
    assert not (net.root / "var/lib/podlan/journal.json").exists()
    assert not (net.root / "etc").exists()


@pytest.mark.parametrize("earlier", [SHIM_PLAN, MOVE_PLAN], ids=["from shim", "from move"])
@pytest.mark.parametrize("kind", FAILING)
def test_a_failing_change_of_plan_gives_the_earlier_plan_back(net, earlier, kind):
    net.reconcile(earlier)
    before = net.state()
    net.reconcile(FAILING[kind], code=1)
    assert net.state() == before
    assert net.reconcile(earlier).stdout.startswith("nothing to do")
    net.reconcile(NONE_PLAN)
    assert "macvlan0" not in net.ip("link")
    assert net.reaches("peer", NODE)


def test_a_failing_removal_gives_the_child_back_with_all_that_was_on_it(net):
    net.reconcile(SHIM_PLAN)
    before = net.state()
    # The deletion of the child succeeds; a file after it cannot be written.
    directory = net.directory(replace(NONE_PLAN, files=(File("/etc/rc.local", block=("x",)),)))
    etc = net.root / "etc"
    program = shlex.join(net.reconcile_argv(directory)[4:])
    script = f"mount --bind {etc} {etc} && mount -o remount,bind,ro {etc} && exec {program}"
    argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-c", script)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "Read-only file system" in done.stderr
    assert net.state() == before
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")


def test_a_network_that_refuses_a_second_mac_is_noticed_before_any_route_changes(net):
    mac = net.ip("-o", "link", "show", "eth0").split("link/ether ")[1].split()[0]
    net.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    net.run("sw", "bridge", "fdb", "replace", mac, "dev", "p-node", "master", "static")
    assert net.reaches("node", GATEWAY)
    before = net.state()
    done = net.reconcile(MOVE_PLAN, code=1)
    assert "the network refuses a second MAC" in done.stderr
    assert net.state() == before
    assert net.reaches("peer", NODE)


def test_a_gateway_that_never_answered_stops_nothing(net):
    net.batch("gw", ["link set eth0 down"])
    net.reconcile(MOVE_PLAN)
    assert net.reaches("peer", NODE)


def test_a_probe_that_answered_before_must_answer_after(net):
    """The gateway answers on the master; through a child in private mode it does too, so a filter has to stop it."""
    net.reconcile(SHIM_PLAN)
    state = net.state()
    gateway = replace(MOVE_PLAN.probes[0], link="macvlan0")
    wrong = replace(
        SHIM_PLAN,
        links=(SHIM_PLAN.links[0], replace(CHILD, mac="02:00:00:00:00:77")),
        probes=(gateway,),
    )
    mac = net.ip("-o", "link", "show", "eth0").split("link/ether ")[1].split()[0]
    net.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    for known in (mac, CHILD.mac):
        net.run("sw", "bridge", "fdb", "replace", known, "dev", "p-node", "master", "static")
    done = net.reconcile(wrong, code=1)
    assert "answered before the change and no longer answers" in done.stderr
    assert net.state() == state


def changing_calls(net, directory):
    """Give which calls of sendto and rename change something, those of sendto first."""
    return sorted(changes_of(net, directory, calls="sendto,renameat"), reverse=True, key=lambda call: call[0])


def put_back(net):
    net.ip("link", "del", "macvlan0", check=False)
    net.batch("node", [f"addr change {NODE}/24 dev eth0 metric 0", f"route replace default via {GATEWAY}"])
    net.ip("route", "del", "default", "metric", "1024", check=False)
    net.ip("link", "set", "eth0", "promisc", "off")
    for key in ("arp_filter", "rp_filter"):
        net.sysctl(f"net/ipv4/conf/eth0/{key}", "0")
    shutil.rmtree(net.root)
    for peer in ("peer", "gw"):
        net.run(peer, "ip", "neigh", "flush", "all")
        assert net.reaches(peer, NODE)


@pytest.mark.parametrize("call", ["sendto", "renameat"])
def test_a_run_killed_anywhere_is_taken_back_and_done_by_the_next(net, call):
    """Killed at each change to the kernel and each rename; whoever guards it is killed at its as many-eth, too."""
    before = net.state()
    directory = net.directory(replace(MOVE_PLAN, files=FILES), SOURCES)
    calls = changing_calls(net, directory)
    planned = net.state()
    numbers = [number for name, number in calls if name == call]
    assert len(numbers) >= 5
    for number in numbers:
        put_back(net)
        assert net.state() == before
        killed = traced(net, directory, f"inject={call}:signal=SIGKILL:when={number}", calls=call)
        assert killed.returncode == -signal.SIGKILL, (number, killed)
        for peer in ("peer", "gw"):
            assert net.reaches(peer, NODE), number
        net.reconcile(directory)
        assert net.state() == planned, number
        assert not list(net.root.rglob("*podlan-tmp*"))
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    net.reconcile(NONE_PLAN)
    assert net.state() == before


def test_a_unit_waits_for_its_restart_across_a_kill(net):
    """It is remembered together with the file: what a killed run wrote is either taken back, or noticed later."""
    files = (replace(FILES[0], restart=("kubelet.service",)),)
    directory = net.directory(replace(NONE_PLAN, files=files), SOURCES)
    *_, last = changing_calls(net, directory)
    shutil.rmtree(net.root)
    traced(net, directory, f"inject=renameat:signal=SIGKILL:when={last[1]}", calls="renameat")
    assert (net.root / CNI[1:]).exists()
    assert not (net.root / "var/lib/podlan/journal.json").exists()
    assert "try-restart kubelet.service" in net.reconcile(directory).stdout
    assert "kubelet" not in net.reconcile(directory).stdout


def test_a_message_that_does_not_get_to_the_kernel_changes_nothing_whichever_it_is(net):
    before = net.state()
    directory = net.directory(MOVE_PLAN)
    for call, number in changing_calls(net, directory)[::2]:
        put_back(net)
        failed = traced(net, directory, f"inject={call}:error=ENOBUFS:when={number}", calls=call)
        assert failed.returncode in (1, 4), (call, number, failed)
        assert net.state() == before, (call, number)
        assert not (net.root / "var/lib/podlan/journal.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_rolls_back(net, number):
    before = net.state()
    name = signal.Signals(number).name
    directory = net.directory(MOVE_PLAN)
    calls = [number for name, number in changing_calls(net, directory) if name == "sendto"]
    put_back(net)
    ended = traced(net, directory, f"inject=sendto:signal={name}:when={calls[5]}", calls="sendto")
    assert ended.returncode == 1, ended
    assert f"failed, rolled back: ended by {name}" in ended.stderr
    assert net.state() == before
    assert net.reaches("peer", NODE)


def test_a_hang_up_of_the_terminal_does_not_end_a_run(net):
    directory = net.directory(MOVE_PLAN)
    calls = [number for name, number in changing_calls(net, directory) if name == "sendto"]
    planned = net.state()
    put_back(net)
    ended = traced(net, directory, f"inject=sendto:signal=SIGHUP:when={calls[5]}", calls="sendto")
    assert ended.returncode == 0, ended
    assert net.state() == planned


def test_concurrent_runs_take_turns(net):
    directories = [net.directory(MOVE_PLAN), net.directory(SHIM_PLAN)]
    runs = [
        subprocess.Popen(net.reconcile_argv(directories[number % 2]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for number in range(6)
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    net.reconcile(SHIM_PLAN)
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")
    assert net.reaches("peer", NODE)


def test_a_preview_needs_no_turn(net):
    directory = net.directory(SHIM_PLAN)
    net.reconcile(directory)
    holder = subprocess.Popen(["flock", net.root / "run/podlan/lock", "sleep", "60"])
    try:
        started = time.monotonic()
        net.reconcile(directory, "--check")
        assert time.monotonic() - started < 5
    finally:
        subprocess.run(["pkill", "-P", str(holder.pid)], check=False)
        holder.wait()


def test_an_earlier_boots_state_is_void(net):
    net.reconcile(SHIM_PLAN)
    path = net.root / "var/lib/podlan/state.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["addresses"] == [["macvlan0", "172.16.129.199/32"]]
    document |= {"boot": "another", "addresses": [["eth0", "192.0.2.1/32"]], "metrics": {f"eth0 {NODE}/24": 77}}
    path.write_text(json.dumps(document), encoding="utf-8")
    net.reconcile(
        replace(NONE_PLAN, links=(SHIM_PLAN.links[0],), addresses=(Address("eth0", f"{NODE}/24", adopt=True),))
    )
    assert "metric" not in net.ip("addr", "show", "dev", "eth0")
