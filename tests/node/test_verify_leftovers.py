"""Whatever ends podlan verify, its pods and their addresses are gone: at once, or by the next one, or by undo."""

import fcntl
import os
import signal
import time

import pytest
from forked import Forked, eventually
from trial import Host, codes, compiled, is_gone

import podlan.node.trial._run

pytestmark = pytest.mark.kernel

WAITING = "test $CNI_COMMAND = ADD && until test -e GATE; do sleep 0.05; done\nexec REAL"
HANGING = "if test $CNI_COMMAND = ADD; then sleep 60 & wait; fi\nexec REAL"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def node(net, nodes):
    return Host(net, nodes / "node-1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pods_that_are_held_go_with_the_command_and_it_ends_as_what_it_found(net, node, number):
    with node.held() as end:
        assert sorted(node.reserved()) == ["172.16.129.110", "172.16.129.111"]
        for address in node.reserved():
            assert net.reaches("peer", address)
        assert end(number) == 0
        assert node.is_clean()
        assert [is_gone(pid) for pid in end.keepers] == [True, True]


def test_a_pod_that_dies_meanwhile_is_no_reason_to_leave_its_address(node):
    with node.held() as end:
        os.kill(end.keepers[0], signal.SIGKILL)
        eventually("it stays", lambda: is_gone(end.keepers[0]))
        assert end() == 0
        assert node.is_clean()


def test_ctrl_c_while_a_plugin_hangs_ends_the_plugin_too(net, node):
    node.plugin("macvlan", HANGING)
    run = Forked(net, "verify", "--root", node.root)
    eventually(run.output, lambda: len(run.children()) == 2)  # the keeper of the namespace, and the plugin
    pids = run.children()
    run.signal(signal.SIGINT)
    assert run.ended_with() == 130
    assert "ended by SIGINT before all was tried" in run.stderr
    assert "Traceback" not in run.stderr
    assert node.is_clean()
    assert [is_gone(pid) for pid in pids] == [True, True]


def test_what_a_killed_one_reserved_the_next_one_frees_and_the_kernel_takes_the_rest(net, node):
    with node.held() as end:
        assert end(signal.SIGKILL) == -9
        for pid in end.keepers:
            eventually("a keeper stays", lambda pid=pid: is_gone(pid))
        # The kernel takes a namespace away in a worker of its own, some time after the last process in it.
        eventually("the pod is there still", lambda: not net.reaches("peer", "172.16.129.110"))
        assert sorted(node.reserved()) == ["172.16.129.110", "172.16.129.111"]
    found = node.found("--pods", 1)
    assert codes(found) == ["PL699"]
    assert found["pods"][0]["addresses"] == ["172.16.129.112/24"]


def test_what_a_killed_one_reserved_is_found_where_the_record_did_not_outlive_a_boot(node):
    with node.held() as end:
        (record,) = node.records()
        end(signal.SIGKILL)
    (node.root / "run/podlan/verify" / record).unlink()
    with node.held():  # one that lives, and whose addresses stay
        (living,) = node.records()
        assert {one.startswith(f"podlan-verify-{living}") for one in node.reserved().values()} == {True}
    found = node.verify("--pods", 1)
    assert found.stderr.count("PL699") == 1, "the second was killed too"


def test_undo_frees_what_a_killed_one_reserved(net, node):
    with node.held() as end:
        end(signal.SIGKILL)
    assert "PL699" in net.podlan("undo", "--no-restart", root=node.root).stderr
    assert node.is_clean()


def test_a_plugin_that_outlives_a_killed_one_is_waited_for_before_its_address_is_freed(net, node):
    node.plugin("macvlan", WAITING)
    run = Forked(net, "verify", "--root", node.root)
    eventually(run.output, lambda: len(run.children()) == 2)
    plugin = run.children()[1]
    run.signal(signal.SIGKILL)
    run.ended_with()
    node.plugin("macvlan", "exec REAL")
    first = node.verify("--pods", 1)
    assert "PL699" not in first.stderr
    assert len(node.records()) == 1
    node.open_gate()
    eventually("the plugin goes on", lambda: is_gone(plugin))
    node.found("--pods", 1)


def test_two_at_once_have_pods_of_their_own(node):
    node.plugin("macvlan", WAITING)  # so that both are at it at the same time
    waits = [node.start("--format", "json", "--pods", 1) for _ in range(2)]
    assert eventually("both are there", lambda: len(node.records()) == 2)
    node.open_gate()
    for wait in waits:
        wait()
    assert node.is_clean()


def test_an_address_that_a_plugin_does_not_give_back_is_told_and_given_back_by_the_next_one(node):
    node.plugin(
        "macvlan", 'test $CNI_COMMAND = DEL && { echo \'{"code": 11, "msg": "not today"}\'; exit 1; }\nexec REAL'
    )
    refused = node.verify("--pods", 1, code=1)
    assert "verify-1: DEL by plugin macvlan failed: not today" in refused.stderr
    assert node.reserved() == {}, "host-local itself was told"
    node.plugin("macvlan", "exec REAL")
    assert codes(node.found("--pods", 1)) == ["PL699"]


def test_a_run_that_changes_the_network_is_waited_for(node, monkeypatch):
    monkeypatch.setattr(podlan.node.trial._run, "_PATIENCE", 0.5)  # noqa: SLF001 - half a minute in life
    with (node.root / "run/podlan/lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another reconcile holds" in node.verify(code=75).stderr
        monkeypatch.setattr(podlan.node.trial._run, "_PATIENCE", 20)  # noqa: SLF001 - as above
        wait = node.start("--pods", 1)
        time.sleep(0.5)
        assert node.records() == []
        fcntl.flock(lock, fcntl.LOCK_UN)  # forked ones have this descriptor, too
    wait()


def test_a_run_that_comes_meanwhile_is_not_held_up_and_is_told(net, nodes, node):
    node.plugin("macvlan", WAITING)
    wait = node.start("--pods", 1, "--format", "json")
    eventually("it begins", node.records)
    net.ip("link", "set", "eth0", "promisc", "off")
    net.reconcile(nodes / "node-1", "--no-restart", root=node.root)
    assert node.records(), "it is still at work"
    node.open_gate()
    assert "PL738" in wait().stdout
