"""Which node is this machine? Another node's directory is refused, and an address that others have is left to them."""

import subprocess
from dataclasses import replace

import pytest
from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, PEER, SHIM, SHIM_PLAN

from podlan.plan import File, Link, Plan, Route

pytestmark = pytest.mark.kernel

MASTER = Link("eth0", "master")
OWN = {
    "none": Plan("node-1", links=(MASTER,), identity=(NODE,)),
    "shim": replace(SHIM_PLAN, identity=(NODE,)),
    "move": replace(MOVE_PLAN, identity=(NODE,)),
}
KINDS = pytest.mark.parametrize("kind", OWN)


@KINDS
def test_a_machine_without_the_nodes_address_is_left_alone(net, kind):
    net.batch("node", [f"addr del {NODE}/24 dev eth0", "addr add 172.16.129.77/24 dev eth0"])
    before = net.state()
    for options in ([], ["--dry-run"]):
        said = net.reconcile(OWN[kind], *options, code=75).stderr
        assert f"eth0 does not have {NODE} (but 172.16.129.77): is this machine node-1? [PL623]" in said
        assert "PL604" not in said, "one finding for one thing"
    assert net.state() == before
    assert not (net.root / "var/lib/podlan/state.json").exists()


@KINDS
def test_its_own_machine_is_recognized_before_and_after(net, kind):
    for _ in range(2):
        assert "PL62" not in net.reconcile(OWN[kind]).stderr


def test_the_length_of_the_prefix_is_not_the_nodes_identity(net):
    net.batch("node", [f"addr del {NODE}/24 dev eth0", f"addr add {NODE}/16 dev eth0"])
    net.reconcile(OWN["shim"])


def test_one_of_several_masters_has_the_address(net):
    net.batch("node", ["link add eth7 type veth peer name eth8", "link set eth7 up"])
    plan = replace(OWN["none"], links=(Link("eth7", "master"), MASTER))
    net.reconcile(plan)
    said = net.reconcile(replace(plan, identity=(NODE, PEER)), code=75).stderr
    assert f"none of eth7, eth0 has {PEER} (but {NODE})" in said


def test_the_address_is_waited_for(net):
    net.ip("addr", "del", f"{NODE}/24", "dev", "eth0")
    said = net.reconcile(OWN["shim"], "--wait", "0.3", code=75).stderr
    assert "nothing was changed within the 0.3 s of --wait" in said
    assert "--wait SECONDS" not in said
    waits = f"waiting: eth0 does not have {NODE}: is this machine node-1? [PL623]; use the directory of"
    assert said.count(waits) == 1, "it is told at once, and once"
    argv = net.reconcile_argv(net.directory(OWN["shim"]), "--wait", "20")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        net.ip("addr", "add", f"{NODE}/24", "dev", "eth0")
        output, _ = run.communicate()
    assert run.returncode == 0
    assert "ip link add link eth0" in output


def test_who_has_not_waited_is_told_how(net):
    said = net.reconcile(Plan("node-1", links=(Link("eth9", "master"),)), code=75).stderr
    assert "there is no interface eth9 [PL603]; correct its name in the inventory\n" in said
    assert "nothing was changed; --wait SECONDS waits for it" in said


@pytest.mark.parametrize("address", ["", "node-1", "172.16.129.101/24", "fe80::1%eth0"])
def test_an_identity_is_made_of_addresses(net, address):
    assert "identity" in net.reconcile(replace(OWN["shim"], identity=(address,)), code=4).stderr


def test_an_identity_needs_a_master(net):
    assert "there is no master that could have" in net.reconcile(Plan("node-1", identity=(NODE,)), code=4).stderr


def test_a_machine_that_was_another_node_stays_it_until_it_is_renamed(net):
    rc_local = File("/etc/rc.local", block=("true",))
    first = replace(SHIM_PLAN, files=(rc_local,))
    net.reconcile(first)
    before = net.state()
    other = replace(NONE_PLAN, node="node-2")
    for options in ([], ["--dry-run"], ["--wait", "20"]):
        said = net.reconcile(other, *options, code=1).stderr
        assert "this machine is node-1, by /var/lib/podlan/state.json, and the directory is that of node-2" in said
        assert "PL624" in said
        assert "--rename" in said
    assert net.state() == before
    assert net.reconcile(first).stdout.startswith("nothing to do")

    assert "ip link delete" in net.reconcile(other, "--rename").stdout
    assert "macvlan0" not in net.ip("link")
    assert not (net.root / "etc/rc.local").exists()
    assert net.reconcile(other).stdout.startswith("nothing to do")
    net.reconcile(first, code=1)


def test_a_renaming_that_fails_leaves_the_machine_the_node_that_it_was(net):
    net.reconcile(SHIM_PLAN)
    before = net.state()
    unreachable = replace(SHIM_PLAN.routes[0], destination="203.0.113.0/24", gateway="198.18.0.1", source="")
    other = replace(SHIM_PLAN, node="node-2", routes=(unreachable,))
    assert "rolled back" in net.reconcile(other, "--rename", code=1).stderr
    assert net.state() == before
    assert "PL624" in net.reconcile(other, code=1).stderr
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")


def test_an_address_that_another_machine_has_is_left_to_it(net):
    net.run("peer", "ip", "addr", "add", f"{SHIM}/32", "dev", "eth0")
    mac = net.run("peer", "cat", "/sys/class/net/eth0/address").stdout.strip()
    before = net.state()
    said = net.reconcile(SHIM_PLAN, code=1).stderr
    assert f"{SHIM} is answered by {mac}: another machine has it [PL626]" in said
    assert "nothing was changed" in said
    assert net.state() == before
    assert not (net.root / "var/lib/podlan/state.json").exists()

    net.batch("node", ["link add macvlan0 link eth0 type macvlan mode bridge", "link set macvlan0 up"])
    assert "PL626" in net.reconcile(SHIM_PLAN, code=1).stderr, "asked through the child, where there is one"

    net.run("peer", "ip", "addr", "del", f"{SHIM}/32", "dev", "eth0")
    net.reconcile(SHIM_PLAN)


def test_what_podlan_has_is_not_asked_for_again(net):
    directory = net.directory(SHIM_PLAN)
    net.reconcile(directory)
    net.run("peer", "ip", "addr", "add", f"{SHIM}/32", "dev", "eth0")
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    net.ip("link", "del", "macvlan0")
    net.reconcile(directory)
    assert SHIM in net.ip("addr", "show", "dev", "macvlan0")


def test_an_address_may_change_its_child(net):
    """The old child still has the address, and answers the new one's question: that is no other machine."""
    net.reconcile(SHIM_PLAN)
    child = replace(SHIM_PLAN.links[1], name="macvlan1", mac="02:00:00:00:00:77")
    plan = replace(
        SHIM_PLAN,
        links=(MASTER, child),
        addresses=tuple(replace(address, link="macvlan1") for address in SHIM_PLAN.addresses),
        routes=tuple(replace(route, link="macvlan1") for route in SHIM_PLAN.routes),
        sysctls={},
    )
    net.ip("link", "add", "macvlan1", "link", "eth0", "type", "macvlan", "mode", "bridge")
    net.ip("link", "set", "macvlan1", "up")
    net.reconcile(plan)
    assert SHIM in net.ip("addr", "show", "dev", "macvlan1")
    assert "macvlan0" not in net.ip("link") + net.ip("route")
    assert net.ip("route").count(f"dev macvlan1 proto 112 scope link src {SHIM}") == 2
    assert net.reconcile(plan).stdout.startswith("nothing to do")

    failing = replace(SHIM_PLAN, routes=(*SHIM_PLAN.routes, Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")))
    before = net.state()
    net.reconcile(failing, code=1)
    assert net.state() == before
    net.reconcile(SHIM_PLAN)
    assert "macvlan1" not in net.ip("link") + net.ip("route")


def test_a_gateway_that_answers_nobody_is_told(net):
    net.batch("gw", ["link set eth0 down"])
    directory = net.directory(MOVE_PLAN)
    said = net.reconcile(directory).stderr
    assert f"warning[PL625]: the gateway {GATEWAY} did not answer" in said
    assert "whether the switch lets a second MAC through" in said
    assert net.reconcile(directory).stderr == ""


def test_a_gateway_that_answers_is_not_told(net):
    assert net.reconcile(MOVE_PLAN).stderr == ""
