"""VLANs that podlan makes: what a run would do, from what is there. The netlink messages themselves: tests/vm."""

from dataclasses import replace

import pytest
from lan import CHILD, SHIM_PLAN

from podlan.node._checked import checked
from podlan.node.diff import diff
from podlan.node.files import Root
from podlan.node.observe import AddressState, LinkState, Observed
from podlan.node.preflight import preflight
from podlan.node.state import State, settled
from podlan.node.vlans import adopting, kept
from podlan.plan import BadPlan, Link, Plan

ALIAS = "podlan: VLAN 101 of uplink"
VLAN = Link("eth0.101", "vlan", master="eth0", vlan=101, alias=ALIAS)
PLAN = Plan("node-1", links=(replace(CHILD, master="eth0.101"), VLAN))
"""The child stands first: order is not the plan's business."""
CHILD_MAC = "02:70:ac:10:81:c7"
POD_MAC = "02:00:00:00:00:77"
ETH0 = LinkState("eth0", 2, mac="02:00:00:00:00:01", up=True, mtu=1500)
MADE = LinkState("eth0.101", 3, "vlan", "eth0", mac=ETH0.mac, alias=ALIAS, up=True, mtu=1500, vlan=101)
SHIM = LinkState("macvlan0", 4, "macvlan", "eth0.101", mode="bridge", mac=CHILD_MAC, alias=CHILD.alias, up=True)
SHIM = replace(SHIM, mtu=1500)
BOTH = State(links=("eth0.101", "macvlan0"))


def seen(*links, **more):
    return Observed({link.name: link for link in (ETH0, *links)}, **more)


def operations(observed, plan=PLAN, last=BOTH):
    return [str(operation) for operation in diff(plan, last, observed)]


def findings(observed, plan=PLAN, last=BOTH):
    return [(found.code, found.message) for found in preflight(plan, last, observed, Root("/"))]


def test_a_vlan_comes_before_its_children_and_goes_after_them():
    assert operations(seen(), last=State()) == [
        "ip link add link eth0 name eth0.101 type vlan id 101",
        f"ip link set dev eth0.101 alias '{ALIAS}'",
        f"ip link add link eth0.101 name macvlan0 address {CHILD_MAC} type macvlan mode bridge",
        "ip link set dev macvlan0 alias 'podlan: child of eth0'",
        "ip link set dev eth0.101 up",
        "ip link set dev macvlan0 up",
    ]
    assert operations(seen(MADE, SHIM)) == []
    assert operations(seen(MADE, SHIM), Plan("node-1")) == [
        "ip link delete dev macvlan0",
        "ip link delete dev eth0.101",
    ]


@pytest.mark.parametrize(
    ("drift", "operation"),
    [
        ({"up": False}, "ip link set dev eth0.101 up"),
        ({"alias": "other"}, f"ip link set dev eth0.101 alias '{ALIAS}'"),
    ],
)
def test_drift_of_a_vlan_is_repaired_in_place(drift, operation):
    assert operations(seen(replace(MADE, **drift), SHIM)) == [operation]


@pytest.mark.parametrize("drift", [{"vlan": 102}, {"master": "eth1"}, {"vlan": 0}])
def test_podlans_own_vlan_of_another_number_or_link_is_made_anew_with_its_children(drift):
    lines = operations(seen(replace(MADE, **drift), SHIM))
    assert lines[:3] == [
        "ip link delete dev macvlan0",
        "ip link delete dev eth0.101",
        "ip link add link eth0 name eth0.101 type vlan id 101",
    ]
    assert lines[-2:] == ["ip link set dev eth0.101 up", "ip link set dev macvlan0 up"]
    assert findings(seen(replace(MADE, **drift), SHIM)) == []


def test_a_renamed_vlan_goes_before_the_new_one_comes():
    plan = replace(PLAN, links=(replace(CHILD, master="lan0"), replace(VLAN, name="lan0")))
    lines = operations(seen(MADE, SHIM), plan)
    assert lines[:3] == [
        "ip link delete dev macvlan0",
        "ip link delete dev eth0.101",
        "ip link add link eth0 name lan0 type vlan id 101",
    ]
    assert "eth0.101" not in "".join(lines[3:])


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ({"users": (CHILD_MAC, POD_MAC)}, f"pods or others have children of it ({POD_MAC})"),
        ({"controller": "br0"}, "it is a port of br0"),
    ],
)
def test_what_others_hang_on_is_neither_made_anew_nor_removed(more, who):
    held = replace(MADE, **more)
    ((code, message),) = findings(seen(replace(held, vlan=102), SHIM))
    assert code == "PL652"
    assert message == f"VLAN 102 of eth0 would have to go for eth0.101, VLAN 101 of eth0: {who}"

    observed = seen(held, SHIM)
    assert operations(observed, Plan("node-1")) == ["ip link delete dev macvlan0"]
    assert findings(observed, Plan("node-1")) == [("PL653", f"eth0.101 is no longer in the plan, and stays: {who}")]
    left = settled(replace(BOTH, kept=kept(Plan("node-1"), BOTH, observed)), Plan("node-1"), ())
    assert (left.links, left.kept) == ((), ("eth0.101",))
    assert operations(seen(held), Plan("node-1"), left) == []
    assert operations(seen(MADE), Plan("node-1"), left) == ["ip link delete dev eth0.101"], "once they are gone"


def test_an_address_or_a_child_of_others_keeps_a_vlan():
    foreign = LinkState("mine", 9, "macvlan", "eth0.101", mac=POD_MAC)
    with_address = seen(
        MADE, addresses=(AddressState("eth0.101", "10.1.0.1/24"), AddressState("eth0.101", "fe80::1/64"))
    )
    for observed, who in ((seen(MADE, foreign), "mine is a child of it"), (with_address, "it has 10.1.0.1/24")):
        assert operations(observed, Plan("node-1")) == []
        assert findings(observed, Plan("node-1"))[0][1].endswith(f"stays: {who}")


def test_a_vlan_of_others_that_fits_is_used_and_never_changed():
    theirs = replace(MADE, alias="", up=True, mtu=1400)
    plan = adopting(PLAN, State(), seen(theirs))
    assert plan.links[1] == Link("eth0.101", "master", vlan=101)
    assert findings(seen(theirs), plan, State()) == [("PL654", "eth0.101, VLAN 101, is there, and others made it")]
    settings = {"net/ipv6/conf/eth0.101/accept_ra": "0", "net/ipv4/conf/eth0.101/arp_filter": "1"}
    left = adopting(replace(PLAN, sysctls=settings), State(), seen(theirs)).sysctls
    assert list(left) == ["net/ipv4/conf/eth0.101/arp_filter"]
    assert "eth0.101 " not in "".join(line for line in operations(seen(theirs), plan, State()) if "macvlan" not in line)
    assert settled(State(), plan, ()).links == ("macvlan0",)
    gone = operations(seen(theirs, SHIM), Plan("node-1"), State(links=("macvlan0",)))
    assert gone == ["ip link delete dev macvlan0"]
    assert adopting(PLAN, BOTH, seen(MADE)) is PLAN, "podlan's own stays its own"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(MADE, alias="", vlan=102), "eth0.101 exists, and is VLAN 102 of eth0, not VLAN 101 of eth0"),
        (
            replace(MADE, alias="", kind="bridge", vlan=0),
            "eth0.101 exists, and is no VLAN (bridge), not VLAN 101 of eth0",
        ),
    ],
)
def test_an_interface_of_others_with_that_name_is_refused(other, told):
    assert adopting(PLAN, State(), seen(other)) is PLAN
    assert findings(seen(other), last=State()) == [("PL608", told)]


def test_a_vlan_of_others_under_another_name_is_refused():
    other = replace(MADE, name="lan0", alias="")
    assert findings(seen(other), last=State()) == [("PL651", "VLAN 101 of eth0 is there already, as lan0")]
    assert findings(seen(owners={"eth0.101": "eth7"}), last=State()) == [("PL608", "eth0.101 is an altname of eth7")]


def test_the_link_must_be_there_up_and_nobodys_port_before_a_vlan_is_made():
    assert findings(Observed(), last=State()) == [("PL603", "there is no interface eth0")]
    down = Observed({"eth0": replace(ETH0, up=False, controller="bond0")})
    assert findings(down, last=State()) == [
        ("PL605", "eth0 is down"),
        ("PL606", "eth0 is a port of bond0: frames of a VLAN are to come by that"),
    ]


def with_mtu(mtu):
    return replace(PLAN, links=tuple(replace(link, mtu=mtu) for link in PLAN.links))


def test_an_mtu_goes_up_from_the_link_and_comes_down_to_it():
    low, high = (replace(one, mtu=1400) for one in (MADE, SHIM)), with_mtu(1500)
    assert operations(seen(*low), high) == [f"ip link set dev {name} mtu 1500" for name in ("eth0.101", "macvlan0")]
    lower = with_mtu(1400)
    assert operations(seen(MADE, SHIM), lower) == [
        f"ip link set dev {name} mtu 1400" for name in ("macvlan0", "eth0.101")
    ]
    set_ = replace(BOTH, mtus=("eth0.101", "macvlan0"))
    small = [replace(one, mtu=1400) for one in (MADE, SHIM)]
    assert operations(seen(*small), PLAN, set_) == operations(seen(*small), high), "what both had at first"
    assert findings(seen(MADE, SHIM), with_mtu(9000)) == [
        ("PL650", "eth0.101 is to have an MTU of 9000, and eth0 has 1500")
    ]


def test_promisc_and_altnames_come_with_a_vlan_and_go_with_it():
    plan = replace(PLAN, links=(PLAN.links[0], replace(VLAN, promisc=True, altnames=("uplink0",))))
    lines = operations(seen(), plan, State())
    assert lines.index("ip link property add dev eth0.101 altname uplink0") > 0
    assert lines[-1] == "ip link set dev eth0.101 promisc on"
    dressed = replace(MADE, promisc=True, altnames=("uplink0",))
    last = replace(BOTH, promisc={"eth0.101": "off"}, altnames=(("eth0.101", "uplink0"),))
    assert operations(seen(dressed, SHIM), plan, last) == []
    gone = operations(seen(dressed, SHIM), Plan("node-1"), last)
    assert gone[-2:] == ["ip link set dev eth0.101 promisc off", "ip link delete dev eth0.101"]


@pytest.mark.parametrize(
    "links",
    [
        (replace(VLAN, vlan=0),),
        (replace(VLAN, mac=POD_MAC),),
        (replace(VLAN, master="eth0.101"),),
        (replace(VLAN, master=""),),
        (Link("eth0", "master", vlan=7),),
        (VLAN, replace(VLAN, name="x", master="eth0.101")),
        (CHILD, replace(VLAN, master="macvlan0")),
    ],
)
def test_a_plan_that_cannot_be_is_refused(links):
    with pytest.raises(BadPlan):
        checked(Plan("node-1", links=links), "plan.json", frozenset())


@pytest.mark.kernel
def test_on_this_kernel_a_vlan_is_made_kept_and_removed_or_nothing_is_changed(net):
    plan = replace(SHIM_PLAN, links=(replace(CHILD, master="eth0.101"), VLAN), sysctls={})
    before = net.state()
    made = "ip link add link eth0 name eth0.101 type vlan id 101"
    directory = net.directory(plan)
    assert net.reconcile(directory, "--dry-run").stdout.startswith(f"{made}\n")
    knows_vlans = not net.run("node", *made.split(), check=False).returncode
    if knows_vlans:
        net.ip("link", "del", "eth0.101")
        net.reconcile(directory)
        assert net.reconcile(directory).stdout.startswith("nothing to do")
        net.reconcile(Plan("node-1"))
    else:
        assert f"{made}: Unknown device type" in net.reconcile(directory, code=1).stderr
    assert net.state() == before
