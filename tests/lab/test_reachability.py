"""The how-to's results, on the real kernel with the real plugins."""

import dataclasses
import json
import subprocess

import how_to
import pytest

from podlan.lab import Options, verify
from podlan.lab.life import opened, up
from podlan.lab.namespaces import in_node
from podlan.lab.report import as_json, as_text

pytestmark = pytest.mark.kernel

OWN = "pods and their own host, with host access"
WITHOUT = "pods and their own host, without host access"


def verified(name):
    with opened(name) as lab:
        return verify(lab)


def row(report, begins):
    return next(row for row in report.rows if row.name.startswith(begins))


def test_with_a_shim_everybody_reaches_everybody(build, name):
    build(options=Options())
    report = verified(name)
    assert report.ok
    fourth = report.rows[3]
    assert (fourth.tried, fourth.reached, fourth.expected, fourth.ok) == (12, 0, 0, True)
    assert all(row.reached == row.tried == row.expected for row in report.rows if row is not fourth)
    document = json.loads(as_json(report))
    assert (document["ok"], len(document["endpoints"]), len(document["tries"])) == (True, 10, 90)
    names = [row.name for row in report.rows[:5]]
    assert names == [
        "pods on different hosts (跨主机容器互通)",
        "pods on the same host (同一宿主机的容器互通)",
        "pods and other nodes (容器和其他节点互通)",
        "pods and their own host, without host access (容器和宿主机不互通)",
        "pods and their own host, with host access (容器和宿主机互通)",
    ]


@pytest.mark.parametrize(
    ("access", "rp_filter", "arp_ignore"),
    [
        ("shim", "0", "1"),
        ("shim", "1", "0"),
        ("shim", "1", "1"),
        ("shim", "2", "0"),
        ("shim", "2", "1"),
        ("move", "0", "0"),
        ("move", "1", "0"),
        ("move", "2", "0"),
    ],
)
def test_host_access_holds_whatever_the_operating_system_filters(build, name, access, rp_filter, arp_ignore):
    filters = [
        (f"net/ipv4/conf/{scope}/{key}", value)
        for scope in ("all", "default", "eth0")
        for key, value in (("rp_filter", rp_filter), ("arp_ignore", arp_ignore))
    ]
    build(access, only=("node-1", "node-2"), sysctls=tuple(filters))
    report = verified(name)
    assert report.ok, as_text(report)


def test_without_host_access_only_the_own_host_is_out_of_reach_and_that_is_as_promised(build, name):
    build("none")
    report = verified(name)
    assert report.ok
    own = row(report, WITHOUT)
    assert (own.tried, own.reached, own.expected, own.ok) == (12, 0, 0, True)
    assert not any(other.name.startswith(OWN) for other in report.rows)
    assert all(other.reached == other.tried for other in report.rows if other is not own)
    assert "x" in as_text(report)


def test_private_mode_keeps_pods_of_one_host_apart_and_that_is_as_promised(build, name):
    build("none", mode="private")
    report = verified(name)
    assert report.ok
    assert row(report, "pods on the same host").reached == 0


def test_both_families_are_tried(build, name):
    build("shim", families=(4, 6))
    report = verified(name)
    assert report.ok, as_text(report)
    assert {":" in one.address for one in report.tries} == {True, False}


def test_a_promise_that_the_node_breaks_is_told_by_name(build, name):
    home, _ = build()
    subprocess.run(in_node(home, "node-2", "ip", "link", "delete", "macvlan0"), check=True)
    report = verified(name)
    assert not report.ok
    assert not row(report, OWN).ok
    assert row(report, OWN).reached == row(report, OWN).tried - 4
    assert "node-2 does not reach node-2/pod-1 at 172.16.129.128" in report.surprises
    assert "WRONG" in as_text(report)


def test_a_second_answer_for_a_hosts_address_is_told(build, name):
    home, _ = build()
    unfilter = "for scope in eth0 macvlan0; do echo 0 >/proc/sys/net/ipv4/conf/$scope/arp_filter; done"
    subprocess.run(in_node(home, "node-1", "sh", "-c", unfilter), check=True)
    report = verified(name)
    assert not row(report, "one MAC").ok
    assert any(text.startswith("172.16.129.101 is answered by") for text in report.surprises)


def test_the_gateway_forwards_nothing_between_neighbours(name, tmp_path):
    topology = how_to.topology(tmp_path, "none")
    first = topology.nodes[0]
    # A node that believes its neighbours to be behind the gateway.
    wire = dataclasses.replace(first.wires[0], addresses=("172.16.129.101/32",), gateways=())
    nodes = (dataclasses.replace(first, wires=(wire,)), *topology.nodes[1:])
    with opened(name) as lab:
        up(lab, dataclasses.replace(topology, nodes=nodes), Options(pods=0))
        for route in ("172.16.129.254 dev eth0", "default via 172.16.129.254 dev eth0"):
            subprocess.run(in_node(lab.home, "node-1", "ip", "route", "add", *route.split()), check=True)
        report = verify(lab)
    assert row(report, "hosts and hosts").reached == 2
    assert row(report, "hosts and the gateway").reached == 6
