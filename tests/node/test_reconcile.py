"""Runs on a real kernel: what the first one makes, and that the next one does nothing."""

import json
import subprocess
from dataclasses import replace

import pytest
from lan import (
    CHILD,
    GATEWAY,
    MAC,
    MOVE_PLAN,
    NODE,
    NONE_PLAN,
    PEER,
    POD,
    SHIM,
    SHIM_PLAN,
)

from podlan.plan import Address, Link, Plan, Route

pytestmark = pytest.mark.kernel

PLANS = pytest.mark.parametrize("plan", [SHIM_PLAN, MOVE_PLAN], ids=["shim", "move"])


@PLANS
def test_a_first_run_makes_what_is_planned_and_a_second_run_does_nothing(net, plan):
    first = net.reconcile(plan)
    state = net.state()
    assert "+ ip link add link eth0 name macvlan0" in first.stdout
    assert "nothing to do" not in first.stdout

    second = net.reconcile(plan)
    assert second.stdout == "nothing to do: node-1 is as planned\n"
    assert second.stderr == ""
    assert net.state() == state


def test_a_shim_is_on_the_kernel_as_in_the_plan(net):
    net.reconcile(SHIM_PLAN)
    child = net.ip("-d", "link", "show", "macvlan0")
    assert MAC in child
    assert "macvlan mode bridge" in child
    assert "alias podlan: child of eth0" in child
    assert "PROMISC" in net.ip("link", "show", "eth0")
    assert f"172.16.129.110/31 proto 112 scope link src {SHIM}" in net.ip("route", "show", "dev", "macvlan0")
    assert net.sysctl("net/ipv4/conf/macvlan0/arp_announce") == "2"


@PLANS
def test_a_dry_run_changes_nothing_and_its_lines_run_by_sh_give_the_same_state(net, plan):
    directory = net.directory(plan)
    before = net.state()
    lines = net.reconcile(directory, "--dry-run").stdout
    assert net.state() == before
    assert not list(net.root.iterdir())

    net.run("node", "sh", "-e", "-c", lines)
    made_by_sh = net.state()
    assert net.reconcile(directory).stdout == "nothing to do: node-1 is as planned\n"
    assert net.state() == made_by_sh


@PLANS
def test_check_tells_drift_by_its_exit_code(net, plan):
    directory = net.directory(plan)
    assert "ip link add" in net.reconcile(directory, "--check", code=3).stdout
    net.reconcile(directory)
    assert net.reconcile(directory, "--check").stdout == "# nothing to do: node-1 is as planned\n"


def test_json_says_what_was_done(net):
    directory = net.directory(SHIM_PLAN)
    preview = json.loads(net.reconcile(directory, "--dry-run", "--format", "json").stdout)
    done = json.loads(net.reconcile(directory, "--format", "json").stdout)
    assert (preview["differs"], preview["changed"]) == (True, False)
    assert (done["differs"], done["changed"]) == (False, True)
    assert done["operations"] == preview["operations"]
    again = json.loads(net.reconcile(directory, "--format", "json").stdout)
    assert (again["changed"], again["operations"], again["findings"]) == (False, [], [])


DRIFTS = {
    "mode": (["link", "set", "macvlan0", "type", "macvlan", "mode", "private"], "type macvlan mode bridge"),
    "mac": (["link", "set", "macvlan0", "address", "02:00:00:00:00:09"], f"address {MAC}"),
    "alias": (["link", "set", "macvlan0", "alias", "other"], "alias 'podlan: child of eth0'"),
    "promisc": (["link", "set", "eth0", "promisc", "off"], "ip link set dev eth0 promisc on"),
    "route": (["route", "del", "172.16.129.110/31"], "ip route add 172.16.129.110/31"),
    "route source": (
        ["route", "replace", "172.16.129.110/31", "dev", "macvlan0", "src", NODE],
        "ip route replace 172.16.129.110/31",
    ),
    "metric": (["addr", "change", f"{SHIM}/32", "dev", "macvlan0", "metric", "9"], "ip address change"),
    "sysctl": (["sysctl", "net/ipv4/conf/macvlan0/arp_announce=0"], "arp_announce=2"),
    "route of an earlier plan": (
        ["route", "add", "192.0.2.0/24", "dev", "macvlan0", "proto", "112"],
        "ip route delete 192.0.2.0/24",
    ),
}


def test_every_kind_of_drift_is_repaired_by_one_operation(net):
    directory = net.directory(SHIM_PLAN)
    net.reconcile(directory)
    state = net.state()
    for kind, (command, expected) in DRIFTS.items():
        if command[0] == "sysctl":
            net.run("node", "sysctl", "-qw", *command[1:])
        else:
            net.ip(*command)
        lines = net.reconcile(directory).stdout.splitlines()
        assert len(lines) == 1, (kind, lines)
        assert expected in lines[0], kind
        assert net.state() == state, kind


def test_drift_of_a_moved_address_is_repaired_by_one_operation_each(net):
    directory = net.directory(MOVE_PLAN)
    net.reconcile(directory)
    state = net.state()
    for command, expected in (
        (["addr", "change", f"{NODE}/24", "dev", "eth0", "metric", "7"], "ip address change"),
        (["route", "replace", "default", "via", GATEWAY, "dev", "eth0"], "ip route replace default"),
        (["route", "del", "default", "metric", "1024"], "ip route add default"),
    ):
        net.ip(*command)
        lines = net.reconcile(directory).stdout.splitlines()
        assert len(lines) == 1, lines
        assert expected in lines[0]
        assert net.state() == state


def test_a_deleted_child_comes_back(net):
    directory = net.directory(MOVE_PLAN)
    net.reconcile(directory)
    state = net.state()
    net.ip("link", "del", "macvlan0")
    net.reconcile(directory)
    assert net.state() == state
    assert net.reaches("peer", NODE)


def test_what_others_own_is_never_touched(net):
    foreign = [
        "link add macvlan9 link eth0 type macvlan mode bridge",
        "link set macvlan9 up alias mine",
        "addr add 192.0.2.9/24 dev eth0",
        "addr add 192.0.2.10/32 dev macvlan9",
        "route add 203.0.113.0/24 via 172.16.129.254 proto static",
        "route add 203.0.113.0/24 dev macvlan9 metric 77",
    ]
    net.batch("node", foreign)
    before = net.state()
    for plan in (SHIM_PLAN, MOVE_PLAN, NONE_PLAN):
        net.reconcile(plan)
        net.ip("addr", "show", "dev", "macvlan9")
        assert "203.0.113.0/24 via 172.16.129.254 dev eth0 proto static" in net.ip("route")
        assert "203.0.113.0/24 dev macvlan9 scope link metric 77" in net.ip("route")
        assert "192.0.2.9/24" in net.ip("addr", "show", "dev", "eth0")
        assert "alias mine" in net.ip("link", "show", "macvlan9")
    assert net.state() == before


def test_an_address_of_others_on_the_own_child_stays_and_one_that_was_planned_goes(net):
    net.reconcile(SHIM_PLAN)
    net.ip("addr", "add", "192.0.2.77/32", "dev", "macvlan0")
    plan = replace(
        SHIM_PLAN,
        addresses=(Address("macvlan0", "172.16.129.198/32"),),
        routes=tuple(replace(route, source="172.16.129.198") for route in SHIM_PLAN.routes),
    )
    net.reconcile(plan)
    addresses = net.ip("addr", "show", "dev", "macvlan0")
    assert "192.0.2.77/32" in addresses
    assert "172.16.129.198/32" in addresses
    assert SHIM not in addresses
    assert net.ip("route").count("src 172.16.129.198") == 2
    assert net.reconcile(plan).stdout.startswith("nothing to do")


def test_an_address_may_follow_another_of_the_same_prefix(net):
    """The kernel deletes the secondary addresses of a prefix with the first one; podlan does not lose its new one."""
    first = replace(SHIM_PLAN, addresses=(Address("macvlan0", "192.0.2.1/24"),), routes=())
    second = replace(SHIM_PLAN, addresses=(Address("macvlan0", "192.0.2.2/24"),), routes=())
    net.reconcile(first)
    net.reconcile(second)
    assert "192.0.2.2/24" in net.ip("addr", "show", "dev", "macvlan0")
    assert "192.0.2.1/24" not in net.ip("addr", "show", "dev", "macvlan0")


@pytest.mark.parametrize("plans", [[SHIM_PLAN], [MOVE_PLAN], [MOVE_PLAN, SHIM_PLAN], [SHIM_PLAN, MOVE_PLAN]])
def test_a_plan_without_links_gives_back_all_that_podlan_displaced(net, plans):
    before = net.state()
    for plan in plans:
        net.reconcile(plan)
    net.reconcile(NONE_PLAN)
    assert net.state() == before
    assert net.reaches("peer", NODE)
    assert net.reconcile(NONE_PLAN).stdout.startswith("nothing to do")


def test_what_podlan_made_is_recognized_without_its_state(net):
    net.reconcile(SHIM_PLAN)
    (net.root / "var/lib/podlan/state.json").unlink()
    net.reconcile(NONE_PLAN)
    assert "macvlan0" not in net.ip("link")


def test_a_fitting_child_is_adopted_and_another_is_set_right_in_place(net):
    net.batch("node", [f"link add macvlan0 link eth0 address {MAC} type macvlan mode private"])
    index = net.ip("-o", "link", "show", "macvlan0").split(":")[0]
    lines = net.reconcile(SHIM_PLAN).stdout
    assert "link add" not in lines
    assert "mode bridge" in lines
    assert net.ip("-o", "link", "show", "macvlan0").split(":")[0] == index


def test_a_child_is_recreated_where_the_kernel_cannot_change_it(net):
    passthru = replace(SHIM_PLAN, links=(Link("eth0", "master"), replace(CHILD, mode="passthru")))
    net.reconcile(passthru)
    assert "mode passthru" in net.ip("-d", "link", "show", "macvlan0")
    net.reconcile(SHIM_PLAN)
    assert "mode bridge" in net.ip("-d", "link", "show", "macvlan0")
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")


def test_dual_stack_settles_at_once(net):
    net.batch("node", ["addr add fd00:81::65/64 dev eth0 nodad"])
    plan = replace(
        SHIM_PLAN,
        addresses=(*SHIM_PLAN.addresses, Address("macvlan0", "fd00:81::c7/128")),
        routes=(*SHIM_PLAN.routes, Route("macvlan0", "fd00:81::6e/127", source="fd00:81::c7")),
    )
    net.reconcile(plan)
    assert "fd00:81::6e/127 dev macvlan0 proto 112 src fd00:81::c7 metric 1024" in net.ip("-6", "route")
    assert net.reconcile(plan).stdout.startswith("nothing to do")
    net.reconcile(NONE_PLAN)
    assert "fd00:81::c7" not in net.ip("-6", "addr")


@pytest.mark.parametrize("rp_filter", ["0", "1", "2"])
@PLANS
def test_host_pods_and_peers_reach_each_other(net, plan, rp_filter):
    for link in ("all", "default", "eth0"):
        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
    assert net.reaches("peer", NODE)
    net.reconcile(plan)
    with net.pod() as pod:
        assert net.reaches("node", POD, 2)
        assert net.reaches(pod, NODE, 2)
        for name in ("peer", "gw"):
            assert net.reaches(name, NODE, 2)
            assert net.reaches(name, POD, 2)
        for address in (PEER, GATEWAY, "198.51.100.1"):
            assert net.reaches("node", address, 2)
            assert net.reaches(pod, PEER, 2)


@pytest.mark.parametrize("rp_filter", ["0", "1"])
def test_a_move_there_and_back_loses_no_packet_of_a_peer(net, rp_filter):
    for link in ("all", "default", "eth0"):
        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
    unreachable = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
    with net.pinging("peer", NODE) as counts:
        net.reconcile(replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, unreachable)), code=1)
        net.reconcile(MOVE_PLAN)
        net.reconcile(SHIM_PLAN)
        net.reconcile(NONE_PLAN)
    sent, received = counts
    assert sent > 200
    assert received == sent


def test_the_address_of_the_system_is_never_away_while_its_metric_changes(net):
    argv = net.argv("node", "ip", "-o", "monitor", "address")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as monitor:
        net.reconcile(MOVE_PLAN)
        net.reconcile(NONE_PLAN)
        monitor.terminate()
        output, _ = monitor.communicate()
    assert f"{NODE}/24 metric 512" in output
    assert not [line for line in output.splitlines() if line.startswith("Deleted") and " eth0 " in line]


def test_a_lease_keeps_its_time_when_its_metric_changes(net):
    net.ip("addr", "change", f"{NODE}/24", "dev", "eth0", "valid_lft", "3000", "preferred_lft", "2000")
    net.reconcile(MOVE_PLAN)
    assert "dynamic" in net.ip("addr", "show", "dev", "eth0")
    net.reconcile(NONE_PLAN)
    assert "valid_lft 3000sec" in net.ip("addr", "show", "dev", "eth0") or "valid_lft 29" in net.ip(
        "addr", "show", "dev", "eth0"
    )


def test_an_address_whose_prefix_route_others_manage_keeps_its_metric(net):
    net.batch(
        "node",
        [
            "addr flush dev eth0",
            f"addr add {NODE}/24 dev eth0 noprefixroute",
            f"route add 172.16.129.0/24 dev eth0 proto kernel scope link src {NODE} metric 100",
            f"route add default via {GATEWAY} dev eth0 metric 100",
        ],
    )
    done = net.reconcile(MOVE_PLAN)
    assert "PL615" in done.stderr
    assert "ip address change" not in done.stdout
    assert net.reaches("peer", NODE)
    assert net.reconcile(MOVE_PLAN).stdout.startswith("nothing to do")


def test_a_master_may_have_a_dot_in_its_name(net):
    net.batch("node", ["link set eth0 down", "link set eth0 name en0.7", "link set en0.7 up"])
    plan = Plan(
        "node-1",
        links=(Link("en0.7", "master"), replace(CHILD, master="en0.7")),
        sysctls={"net/ipv4/conf/en0.7/arp_filter": "1"},
    )
    lines = net.reconcile(plan, "--dry-run").stdout
    net.run("node", "sh", "-e", "-c", lines)
    assert net.sysctl("net/ipv4/conf/en0.7/arp_filter") == "1"
