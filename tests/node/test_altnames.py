"""Altnames of masters: added where they lack, by them interfaces are found, and taken back only where podlan added."""

import itertools
import json
import os
import subprocess
from dataclasses import replace

import pytest
from faults import traced
from lan import GATEWAY, NODE, NONE_PLAN, POD, SHIM_PLAN

from podlan.node._errors import BadDirectory
from podlan.node.directory import load
from podlan.plan import BadPlan, Link, Plan, Route

pytestmark = pytest.mark.kernel

MASTER = Link("eth0", "master", altnames=("uplink0",))
PLAN = replace(SHIM_PLAN, links=(MASTER, *SHIM_PLAN.links[1:]))


def altnames(net, link="eth0"):
    return json.loads(net.ip("-j", "link", "show", "dev", link))[0].get("altnames", [])


def test_an_altname_is_added_once_and_goes_with_the_plan(net):
    before = net.state()
    assert "+ ip link property add dev eth0 altname uplink0" in net.reconcile(PLAN).stdout
    assert altnames(net) == ["uplink0"]
    assert net.reconcile(PLAN).stdout.startswith("nothing to do")
    net.ip("link", "property", "del", "dev", "eth0", "altname", "uplink0")
    assert net.reconcile(PLAN).stdout == "+ ip link property add dev eth0 altname uplink0\n"
    assert "ip link property del dev eth0 altname uplink0" in net.reconcile(SHIM_PLAN).stdout
    assert altnames(net) == []
    net.reconcile(NONE_PLAN)
    assert net.state() == before


def test_the_lines_of_a_dry_run_give_the_altname(net):
    net.run("node", "sh", "-e", "-c", net.reconcile(PLAN, "--dry-run").stdout)
    assert altnames(net) == ["uplink0"]
    assert net.reconcile(PLAN).stdout.startswith("nothing to do")


def test_an_altname_of_others_stays(net):
    net.ip("link", "property", "add", "dev", "eth0", "altname", "uplink0", "altname", "enp3s0")
    assert "property" not in net.reconcile(PLAN).stdout
    net.reconcile(NONE_PLAN)
    assert altnames(net) == ["uplink0", "enp3s0"]


def test_a_failing_run_takes_the_altname_back(net):
    before = net.state()
    unreachable = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
    net.reconcile(replace(PLAN, routes=(*PLAN.routes, unreachable)), code=1)
    assert net.state() == before


def test_a_run_killed_anywhere_leaves_no_altname_behind_once_the_plan_goes(net):
    before = net.state()
    directory = net.directory(PLAN)
    killed = 0
    for number in itertools.count(1):
        done = traced(net, directory, f"inject=sendto:signal=SIGKILL:when={number}", calls="sendto")
        killed += bool(done.returncode) and "all is as it was before" in done.stderr and not altnames(net)
        net.reconcile(NONE_PLAN)
        assert net.state() == before, number
        if not done.returncode:
            break
    assert killed >= 5


@pytest.mark.parametrize("how", ["name", "altname"])
def test_an_altname_that_another_interface_has_is_refused(net, how):
    name = "uplink0" if how == "name" else "other0"
    net.batch("node", [f"link add {name} type veth peer name other1"])
    if how == "altname":
        net.ip("link", "property", "add", "dev", name, "altname", "uplink0")
    before = net.state()
    error = net.reconcile(PLAN, code=1).stderr
    assert "PL630" in error
    assert "uplink0, which the plan gives to eth0, is " in error
    assert ("an altname of other0" if how == "altname" else "the name of another interface") in error
    assert net.state() == before


def test_podlans_own_altname_goes_from_one_master_to_another(net):
    net.reconcile(Plan("node-1", links=(MASTER,)))
    net.batch("node", ["link add eth1 type veth peer name p1", "link set eth1 up", "link set p1 up"])
    moved = Plan("node-1", links=(Link("eth0", "master"), Link("eth1", "master", altnames=("uplink0",))))
    net.reconcile(moved)
    assert (altnames(net), altnames(net, "eth1")) == ([], ["uplink0"])
    net.reconcile(Plan("node-1", links=(MASTER,)))
    assert (altnames(net), altnames(net, "eth1")) == (["uplink0"], [])


def test_an_interface_may_have_the_name_itself(net):
    net.batch("node", ["link set eth0 down", "link set eth0 name uplink0", "link set uplink0 up"])
    plan = Plan("node-1", links=(Link("uplink0", "master", altnames=("uplink0",)),))
    net.reconcile(plan)
    assert net.reconcile(plan).stdout.startswith("nothing to do")
    assert altnames(net, "uplink0") == []


def test_a_plan_may_name_a_master_by_its_altname(net):
    """The same state as by its own name, down to the settings below /proc/sys, which know no altnames."""
    before = net.state()
    net.reconcile(PLAN)
    state = net.state()
    text = json.dumps([PLAN.sysctls, *(str(link) for link in PLAN.links)])
    assert "eth0" in text
    by_altname = replace(
        PLAN,
        links=tuple(
            replace(link, name=link.name.replace("eth0", "uplink0"), master=link.master.replace("eth0", "uplink0"))
            for link in PLAN.links
        ),
        sysctls={key.replace("eth0", "uplink0"): value for key, value in PLAN.sysctls.items()},
        identity=(NODE,),
    )
    assert net.reconcile(by_altname).stdout.count("\n") == 1, "the copy of the directory alone"
    assert net.state() == state
    net.reconcile(NONE_PLAN)
    assert net.state() == before
    net.ip("link", "property", "add", "dev", "eth0", "altname", "uplink0")
    net.reconcile(by_altname)
    assert net.sysctl("net/ipv4/conf/eth0/arp_filter") == "1"
    assert net.reaches("peer", NODE)


def test_a_child_whose_name_is_an_altname_of_others_is_refused(net):
    net.ip("link", "property", "add", "dev", "eth0", "altname", "macvlan0")
    assert "macvlan0 is an altname of eth0 [PL608]" in net.reconcile(SHIM_PLAN, code=1).stderr


def test_a_kernel_without_altnames_is_refused(net):
    argv = net.reconcile_argv(net.directory(PLAN))
    old = subprocess.run([*argv[:4], "setarch", "--uname-2.6", *argv[4:]], capture_output=True, text=True, check=False)
    assert old.returncode == 4
    assert "PL602" in old.stderr
    assert "no second names of links, such as uplink0: that came with 5.5" in old.stderr
    assert altnames(net) == []


def test_the_plugin_takes_the_altname_as_its_master(net):
    net.reconcile(PLAN)
    config = {
        "cniVersion": "1.0.0",
        "name": "k8s-pod-network",
        "type": "macvlan",
        "master": "uplink0",
        "ipam": {"type": "static", "addresses": [{"address": f"{POD}/24", "gateway": GATEWAY}]},
    }
    net.add("pod")
    environment = {
        **os.environ,
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "pod",
        "CNI_NETNS": f"/run/netns/{net.prefix}pod",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/usr/lib/cni",
    }
    net.run("node", "/usr/lib/cni/macvlan", input=json.dumps(config), env=environment)
    for name in ("peer", "node"):
        assert net.reaches(name, POD, 2)


BAD = {
    "an altname that is no name": (Link("eth0", "master", altnames=("a/b",)),),
    "an altname that is too long for a plugin": (Link("eth0", "master", altnames=("a" * 16,)),),
    "an altname twice": (MASTER, Link("eth1", "master", altnames=("uplink0",))),
    "an altname that is another link": (MASTER, Link("uplink0", "master")),
    "an altname of a child": (MASTER, replace(SHIM_PLAN.links[1], altnames=("x0",))),
}


@pytest.mark.parametrize("case", BAD)
def test_an_altname_that_cannot_be_is_refused(net, case):
    with pytest.raises((BadPlan, BadDirectory)):
        load(str(net.directory(Plan("node-1", links=BAD[case]))))
