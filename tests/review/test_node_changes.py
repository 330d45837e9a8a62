"""What changes on a node, by kind and risk: a pure comparison of compiled files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import replace

import pytest
from handmade import CNI, DROP_IN, PLAN, cni, files
from hypothesis import given
from hypothesis import strategies as st

from podlan.addressing import Addresses, Range
from podlan.diagnostics import PodlanError
from podlan.plan import Address, EnvFlags, File, Link, Release, Route, Runtime
from podlan.review.comparing import compare
from podlan.review.differences import headline, review, summary
from podlan.review.forms import BadOutput, form
from podlan.review.model import Change, Kind, Risk
from podlan.review.sides import Nodes, Side

RELEASE = Release("1.4.0", "https://mirror.example.com/cni.tgz", "ab" * 32, "/opt/cni/bin", ("macvlan",))


def told(old: dict[str, bytes], new: dict[str, bytes]) -> list[tuple[str, str, str]]:
    return [(item.kind.value, item.risk.value, item.what) for item in compare(form("n", old), form("n", new))]


def with_link(**values):
    master, child = PLAN.links
    return replace(PLAN, links=(master, replace(child, **values)))


SLICES = {
    "grown": (["10.0.0.16-10.0.0.47"], ("slice-grown", "none", "10.0.0.0/24: 10.0.0.16-31 -> 10.0.0.16-47"), 0),
    "shrunk": (["10.0.0.16-10.0.0.23"], ("slice-shrunk", "medium", "10.0.0.0/24: 10.0.0.16-31 -> 10.0.0.16-23"), 8),
    "moved": (["10.0.0.32-10.0.0.47"], ("slice-moved", "medium", "10.0.0.0/24: 10.0.0.16-31 -> 10.0.0.32-47"), 16),
    "shifted": (["10.0.0.20-10.0.0.35"], ("slice-moved", "medium", "10.0.0.0/24: 10.0.0.16-31 -> 10.0.0.20-35"), 4),
    "widened by a second range": (
        ["10.0.0.16-10.0.0.31", "10.0.0.64-10.0.0.71"],
        ("slice-grown", "none", "10.0.0.0/24: 10.0.0.16-31 -> 10.0.0.16-31, 10.0.0.64-71"),
        0,
    ),
}


@pytest.mark.parametrize("case", SLICES)
def test_a_slice_is_grown_shrunk_or_moved_by_the_addresses_that_leave(case):
    ranges, expected, leaving = SLICES[case]
    changes = compare(form("n", files()), form("n", files(conf=cni(*ranges))))
    assert [(item.kind.value, item.risk.value, item.what) for item in changes] == [expected]
    assert sum(item.size for item in changes[0].leaves) == leaving


def test_the_same_addresses_in_other_pieces_are_only_text():
    halves = cni("10.0.0.16-10.0.0.23", "10.0.0.24-10.0.0.31")
    assert told(files(), files(conf=halves)) == [("text", "none", f"only text: {CNI}")]


def test_a_subnet_that_was_widened_keeps_its_slice():
    wider = cni("10.0.0.16-10.0.0.31", subnet="10.0.0.0/23")
    kinds = [kind for kind, _, _ in told(files(), files(conf=wider))]
    assert kinds == ["future-pods"]


def test_a_slice_in_another_subnet_leaves_whole():
    (change, *_) = compare(form("n", files()), form("n", files(conf=cni("10.9.0.16-10.9.0.31", subnet="10.9.0.0/24"))))
    assert (change.kind, sum(item.size for item in change.leaves)) == (Kind.SLICE_SHRUNK, 16)


@pytest.mark.parametrize("conf", [cni("10.0.0.16-10.0.0.31", name="other"), cni("10.0.0.16-10.0.0.31", dataDir="/var")])
def test_a_pool_that_host_local_begins_anew_is_the_highest_risk(conf):
    assert told(files(), files(conf=conf))[0][:2] == ("fresh-pool", "high")


HOST = {
    "another master": (
        with_link(master="eth1"),
        ("host-link", "high", "link macvlan0 is recreated: macvlan on eth0 -> macvlan on eth1"),
    ),
    "to passthru": (
        with_link(mode="passthru"),
        ("host-link", "high", "link macvlan0 is recreated: mode bridge -> passthru"),
    ),
    "a VLAN": (
        replace(PLAN, links=(Link("eth0", "vlan", master="eno1", vlan=7), PLAN.links[1])),
        ("host-link", "high", "link eth0 is recreated: master -> vlan 7 on eno1"),
    ),
    "another mode": (
        with_link(mode="vepa"),
        ("host-link", "medium", "link macvlan0 changes in place: mode bridge -> vepa"),
    ),
    "another MAC": (
        with_link(mac="02:00:00:00:00:01"),
        ("host-link", "medium", "link macvlan0 changes in place: MAC 02:70:0a:00:00:c7 -> 02:00:00:00:00:01"),
    ),
    "an MTU": (
        with_link(mtu=1400),
        ("host-link", "low", "link macvlan0 changes in place: MTU its master's -> 1400"),
    ),
    "another alias": (
        with_link(alias="x"),
        ("text", "none", "link macvlan0: alias 'podlan: shim of uplink' -> 'x'"),
    ),
    "no promisc": (
        replace(PLAN, links=(Link("eth0", "master"), PLAN.links[1])),
        ("host-link", "low", "link eth0 changes in place: promisc on -> left alone"),
    ),
    "an altname": (
        replace(PLAN, links=(replace(PLAN.links[0], altnames=("uplink0",)), PLAN.links[1])),
        ("host-link", "low", "link eth0 gets the altname uplink0"),
    ),
    "another shim address": (
        replace(PLAN, addresses=(*PLAN.addresses, Address("macvlan0", "10.0.0.198/32"))),
        ("host-link", "medium", "address 10.0.0.198/32 on macvlan0 is added"),
    ),
    "a default route": (
        replace(PLAN, routes=(*PLAN.routes, Route("macvlan0", "0.0.0.0/0", gateway="10.0.0.254"))),
        ("host-link", "high", "route 0.0.0.0/0 via 10.0.0.254 dev macvlan0 is added"),
    ),
    "a route to part of the own slice": (
        replace(PLAN, routes=(*PLAN.routes, Route("macvlan0", "10.0.0.16/29", source="10.0.0.199"))),
        ("pod-routes", "low", "+10.0.0.16/29"),
    ),
    "a sysctl": (
        replace(PLAN, sysctls={"net/ipv4/conf/eth0/arp_filter": "0"}),
        ("host-link", "medium", "sysctls: net/ipv4/conf/eth0/arp_filter: 1 -> 0"),
    ),
}


@pytest.mark.parametrize("case", HOST)
def test_what_touches_the_host_link_is_told_with_its_risk(case):
    plan, expected = HOST[case]
    assert told(files(), files(plan)) == [expected]


def test_a_child_that_comes_or_goes_is_a_high_risk():
    without = replace(PLAN, links=PLAN.links[:1])
    assert told(files(), files(without)) == [("host-link", "high", "link macvlan0 is deleted")]
    assert told(files(without), files()) == [("host-link", "high", "link macvlan0 is created")]


def test_a_change_of_the_nodes_own_address_on_a_child_is_a_high_risk_and_of_the_shim_beside_it_a_medium_one():
    moved = replace(
        PLAN, addresses=(Address("macvlan0", "10.0.0.1/24", metric=50), Address("eth0", "10.0.0.1/24", 512, adopt=True))
    )
    other = replace(PLAN, addresses=(Address("macvlan0", "10.0.0.1/24", metric=60), moved.addresses[1]))
    assert told(files(moved), files(other)) == [
        ("host-link", "high", "address 10.0.0.1/24 on macvlan0 gets the metric 60 (was 50)")
    ]
    beside = replace(moved, addresses=(*moved.addresses, Address("macvlan0", "fd00::c7/128")))
    assert told(files(moved), files(beside)) == [("host-link", "medium", "address fd00::c7/128 on macvlan0 is added")]


def test_the_cni_file_changes_future_pods_only():
    conf = cni("10.0.0.16-10.0.0.31", routes=[{"dst": "0.0.0.0/0"}])
    assert told(files(), files(conf=conf)) == [("future-pods", "low", f"{CNI}: + ipam.routes[dst 0.0.0.0/0]")]


def test_an_entry_that_is_put_before_others_is_told_alone_and_so_is_another_order():
    routes = [{"dst": "10.96.0.0/12", "gw": "10.0.0.199"}, {"dst": "10.0.0.1/32", "gw": "10.0.0.199"}]
    old = files(conf=cni("10.0.0.16-10.0.0.31", routes=routes))
    more = files(conf=cni("10.0.0.16-10.0.0.31", routes=[{"dst": "0.0.0.0/0"}, *routes]))
    turned = files(conf=cni("10.0.0.16-10.0.0.31", routes=routes[::-1]))
    assert told(old, more) == [("future-pods", "low", f"{CNI}: + ipam.routes[dst 0.0.0.0/0]")]
    assert told(old, turned) == [("future-pods", "low", f"{CNI}: the order of its entries")]


def test_a_kubelet_file_restarts_the_units_that_it_lists():
    changes = compare(form("n", files()), form("n", files(**{f"rootfs{DROP_IN}": '{"maxPods": 32}'})))
    (change,) = changes
    assert (change.kind, change.units) == (Kind.RESTART, ("kubelet.service",))
    assert change.what == f"{DROP_IN}: maxPods: 16 -> 32"
    assert change.cost == "kubelet.service restarts; pods run on"


def test_a_kubelet_flag_restarts_the_kubelet():
    flags = replace(PLAN.files[2], env_flags=EnvFlags("ARGS", ("--node-ip=10.0.0.2", "--max-pods=16")))
    plan = replace(PLAN, files=(*PLAN.files[:2], flags))
    what = "/etc/default/kubelet: --node-ip: 10.0.0.1 -> 10.0.0.2; + --max-pods: 16"
    assert told(files(), files(plan)) == [("restart", "low", what)]


def test_a_runtime_that_restarts_is_named():
    file = File("/etc/crio/crio.conf.d/20-podlan.conf", source="crio", restart=("crio.service",))
    changes = compare(form("n", files()), form("n", files(replace(PLAN, files=(*PLAN.files, file)), crio="[crio]\n")))
    assert [(item.kind, item.cost) for item in changes] == [
        (Kind.RESTART, "crio.service restarts; containers run on, new ones wait")
    ]


@pytest.mark.parametrize("path", ["boot.sh", "manifest.json"])
def test_boot_script_and_manifest_are_only_text(path):
    assert told(files(), files(**{path: "changed"})) == [("text", "none", f"only text: {path}")]


def test_a_unit_and_the_lines_of_rc_local_are_only_text():
    unit, block = File("/etc/systemd/system/x.service", source="unit"), File("/etc/rc.local", block=("/bin/sh x",))
    plan = replace(PLAN, files=(*PLAN.files, unit, block))
    other = replace(PLAN, files=(*PLAN.files, unit, replace(block, block=("/bin/sh y",))))
    assert told(files(plan, unit="# a\n[Unit]\n"), files(other, unit="# b\n[Unit]\n")) == [
        ("text", "none", "only text: /etc/systemd/system/x.service, /etc/rc.local")
    ]


def different(value: object, name: str) -> object:
    """Give another value that a plan may hold there."""
    by_name = {
        "kind": "master",
        "mode": "private",
        "promisc": False,
        "mac": "02:00:00:00:00:09",
        "metric": 7,
        "mtu": 1400,
        "vlan": 101,
        "release": RELEASE,
        "runtime": Runtime("containerd", "/etc/cni/net.d", "/opt/cni/bin"),
    }
    if name in by_name:
        return by_name[name]
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, dict):
        return {**value, "net/ipv4/ip_forward": "1"}
    return (
        {"destination": "10.0.0.24/29", "address": "10.0.0.9/32"}.get(name, "other")
        if isinstance(value, str)
        else ()
        if value
        else ("10.0.0.9",)
    )


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (part, field.name)
        for part in ("links", "addresses", "routes")
        for field in dataclasses.fields(getattr(PLAN, part)[-1])
    ]
    + [("", field.name) for field in dataclasses.fields(PLAN) if field.name not in ("node", "cni", "files")],
)
def test_whatever_differs_in_a_plan_is_told(part, name):
    """A field that is added to the plan must be judged here too."""
    if part:
        *others, last = getattr(PLAN, part)
        plan = replace(PLAN, **{part: (*others, replace(last, **{name: different(getattr(last, name), name)}))})
    else:
        plan = replace(PLAN, **{name: different(getattr(PLAN, name), name)})
    assert told(files(), files(plan))


def test_a_node_that_comes_costs_nothing_and_one_that_goes_gives_up_its_slice():
    (came,) = compare(None, form("n", files()))
    (gone,) = compare(form("n", files()), None)
    assert (came.kind, came.risk, came.what) == (Kind.NEW, Risk.NONE, "slice 10.0.0.16-31 of 10.0.0.0/24")
    assert (gone.kind, gone.leaves) == (Kind.REMOVED, (Range.parse("10.0.0.16-10.0.0.31"),))


def test_the_riskiest_change_comes_first():
    plan = replace(with_link(master="eth1"), sysctls={})
    conf = cni("10.0.0.32-10.0.0.47", routes=[])
    risks = [risk for _, risk, _ in told(files(), files(plan, conf))]
    assert risks == sorted(risks, key=["high", "medium", "low", "none"].index)
    assert set(risks) == {"high", "medium", "low"}


def test_addresses_that_another_node_gets_at_once_are_a_high_risk_and_named():
    old = Side("old", {"a": files(), "b": files(conf=cni("10.0.0.64-10.0.0.79"))})
    new = Side("new", {"a": files(conf=cni("10.0.0.64-10.0.0.79")), "b": files(conf=cni("10.0.0.24-10.0.0.39"))})
    changes = review(old, new).changes
    assert changes["a"][0].risk is Risk.HIGH
    assert changes["a"][0].taken == (("b", Range.parse("10.0.0.24-10.0.0.31")),)
    assert changes["a"][0].cost.endswith("8 of them go to b at once: drain this node first")
    assert changes["b"][0].taken == (("a", Range.parse("10.0.0.64-10.0.0.79")),)


def test_the_summary_counts_nodes_by_what_happens_to_them():
    moved = files(conf=cni("10.0.0.32-10.0.0.47"))
    old = {"gone": files(conf=cni("10.0.0.128-10.0.0.143")), "moved": files(), "text": files(), "same": files()}
    new = {
        "came": files(conf=cni("10.0.0.64-10.0.0.79")),
        "moved": moved,
        "text": files(**{"boot.sh": "x"}),
        "same": files(),
    }
    old["pods"], new["pods"] = files(), files(conf=cni("10.0.0.16-10.0.0.31", routes=[]))
    old["host"], new["host"] = files(), files(with_link(mode="vepa"), **{f"rootfs{DROP_IN}": "{}"})
    assert headline(summary(review(Side("old", old), Side("new", new)))) == (
        "6 nodes change: 1 new, 1 removed (16 addresses leave), 1 with slices moved (16 addresses leave), "
        "1 host link touched, 1 restart, 1 future pods only, 1 text only; 1 stays as it is"
    )


def blocks() -> st.SearchStrategy[list[tuple[int, int]]]:
    """Ranges that do not touch."""
    return st.lists(st.integers(1, 60), unique=True, max_size=5).map(
        lambda starts: [(start * 4, start * 4 + 2) for start in sorted(starts)]
    )


@given(blocks(), blocks())
def test_what_leaves_is_what_was_there_and_is_no_more(before, after):
    def conf(pairs):
        return cni(*(f"10.0.0.{first}-10.0.0.{last}" for first, last in pairs))

    def hosts(pairs):
        return {number for first, last in pairs for number in range(first, last + 1)}

    changes = compare(form("n", files(conf=conf(before))), form("n", files(conf=conf(after))))
    left = {number & 0xFF for item in changes for part in item.leaves for number in range(part.first, part.last + 1)}
    assert left == hosts(before) - hosts(after)
    kinds = {item.kind for item in changes}
    assert (Kind.SLICE_GROWN in kinds) == (hosts(before) < hosts(after))


@given(blocks())
def test_a_node_never_differs_from_itself(pairs):
    conf = cni(*(f"10.0.0.{first}-10.0.0.{last}" for first, last in pairs))
    assert compare(form("n", files(conf=conf)), form("n", files(conf=conf))) == ()


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"plan.json": "{"}, "bad plan"),
        ({f"rootfs{CNI}": json.dumps(cni("10.0.0.9-10.0.0.1"))}, "ranges are not as podlan writes them"),
        ({f"rootfs{CNI}": json.dumps(cni("10.0.1.1-10.0.1.9"))}, "ranges are not as podlan writes them"),
        ({f"rootfs{CNI}": json.dumps(cni("10.0.0.1-10.0.0.9", subnet="lan"))}, "ranges are not as podlan"),
        ({"plan.json": '{"version": 1, "node": "n", "routes": [{"link": "a", "destination": "x"}]}'}, "is no network"),
        ({f"rootfs{CNI}": '{"cniVersion": "1.0.0", "ipam": {"type": "host-local", "ranges": 7}}'}, "ranges are not"),
    ],
)
def test_what_cannot_be_read_is_a_clear_error(broken, says):
    with pytest.raises(PodlanError) as caught:
        form("n", files(**broken))
    assert says in str(caught.value)


def test_a_plan_whose_file_is_missing_is_a_clear_error():
    incomplete = files()
    del incomplete[f"rootfs{CNI}"]
    with pytest.raises(BadOutput, match="which is not there"):
        form("n", incomplete)


def test_ipv6_slices_are_compared_as_they_are():
    old = cni("fd00::10-fd00::1f", subnet="fd00::/64")
    new = cni("fd00::20-fd00::2f", subnet="fd00::/64")
    (change, *_) = compare(form("n", files(conf=old)), form("n", files(conf=new)))
    assert isinstance(change, Change)
    assert Addresses(6, change.leaves).size == 16


def test_a_node_with_another_name_and_the_same_addresses_was_renamed_and_gives_nothing_up():
    named = files(replace(PLAN, node="other"))
    result = review(Side("old", {"node-1": files()}), Side("new", {"other": named}))
    assert {name: [item.what for item in items] for name, items in result.changes.items()} == {
        "other": ["only text: plan.json", "renamed: it was node-1"]
    }
    assert summary(result).leaving_with_nodes == 0


def test_a_node_that_takes_over_a_slice_with_another_address_of_its_own_is_no_rename():
    stranger = files(replace(PLAN, node="other", addresses=(Address("macvlan0", "10.0.0.9/32"),)))
    result = review(Side("old", {"node-1": files()}), Side("new", {"other": stranger}))
    assert result.changes["node-1"][0].taken == (("other", Range.parse("10.0.0.16-10.0.0.31")),)
    assert result.changes["node-1"][0].risk is Risk.HIGH


@pytest.mark.parametrize("depth", [100, 900, 950, 970, 990, 100_000])
def test_however_deep_a_file_is_nested_it_ends_in_a_form_or_a_clear_error(depth):
    deep = '{"a": ' + "[" * depth + "]" * depth + "}"
    with contextlib.suppress(BadOutput):
        assert form("n", files(**{f"rootfs{CNI}": deep})).slices == {}


def test_the_nodes_of_a_side_are_read_when_they_are_asked_for_and_each_once():
    read = []

    def lazily(name):
        read.append(name)
        return files()

    nodes = Nodes(["a", "b"], lazily)
    assert (len(nodes), list(nodes), nodes.get("c"), read) == (2, ["a", "b"], None, [])
    result = review(Side("old", nodes), Side("new", {"a": files(), "b": files(conf=cni("10.0.0.24-10.0.0.39"))}))
    assert (result.same, list(result.changes), read) == (1, ["b"], ["a", "b"])
