"""A switch that lets one MAC a port through: a move is refused before it changes anything, a shim does no harm."""

import pytest
from lan import FAR, GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM, SHIM_PLAN

pytestmark = pytest.mark.kernel


def lock_port(net):
    mac = net.run("node", "cat", "/sys/class/net/eth0/address").stdout.strip()
    net.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    net.run("sw", "bridge", "fdb", "replace", mac, "dev", "p-node", "master", "static")


def test_a_move_is_refused_with_nothing_changed_byte_for_byte(net):
    lock_port(net)
    with net.pod():
        assert net.reaches("peer", NODE)
        before = net.snapshot()
        assert "the network refuses a second MAC" in net.reconcile(MOVE_PLAN, code=1).stderr
        assert net.snapshot() == before
        assert net.reaches("peer", NODE)


def test_a_shim_keeps_the_lan_and_the_hosts_way_to_its_pods_though_the_pods_have_no_lan(net):
    net.up_behind_gateway()
    lock_port(net)
    before = net.snapshot()
    with net.pod() as pod:
        net.ip("-n", f"{net.prefix}{pod}", "route", "add", f"{NODE}/32", "via", SHIM)
        assert not net.reaches("node", POD)
        net.reconcile(SHIM_PLAN)
        for address in (PEER, GATEWAY, FAR, POD):
            assert net.reaches("node", address, 3), address
        for name in ("peer", "gw", "far", pod):
            assert net.reaches(name, NODE, 3), name
        assert not net.reaches(pod, GATEWAY)
        assert not net.reaches("peer", POD)
        assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")
        net.reconcile(NONE_PLAN)
    assert net.snapshot()[:-1] == before[:-1]  # all but the node's own copy of the plan that is empty
