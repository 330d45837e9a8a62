"""What the audit says of many files together is what sets of addresses say."""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from ipaddress import ip_address
from pathlib import Path

import pytest
from cni_files import audited, codes, config, rng
from hypothesis import given, settings
from hypothesis import strategies as st

from podlan.audit import audit, read_own
from podlan.audit._addresses import Span
from podlan.audit._sweep import sweep

BASE = int(ip_address("10.0.0.0"))


def node(number: int) -> str:
    return f"n{number}/etc/cni/net.d/05-pods.conf"


spans = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
claims = st.lists(st.tuples(spans, st.sampled_from("abcd")), max_size=12)


@given(claims, st.sets(st.integers(0, 55), max_size=6))
def test_the_sweep_agrees_with_sets(written, points):
    holders = defaultdict(set)
    for (first, last), owner in written:
        for address in range(first, last + 1):
            holders[address].add(owner)
    found = list(sweep([(Span(4, *ends), owner, owner) for ends, owner in written], [(4, point) for point in points]))
    stretches = [held for held in found if not held.is_point]
    shared = {address: set(held.claims) for held in stretches for address in range(held.span.first, held.span.last + 1)}
    assert shared == {address: owners for address, owners in holders.items() if len(owners) > 1}
    assert all(held.owners == len(held.claims) for held in found), "four are shown, and there are four"
    assert {held.span.first: set(held.claims) for held in found if held.is_point} == {
        point: holders[point] for point in points if point in holders
    }
    for one, two in itertools.pairwise(stretches):
        is_split = one.span.last + 1 == two.span.first and set(one.claims) == set(two.claims)
        assert not is_split, "what the same owners share is told once"


def test_the_sweep_keeps_families_apart():
    found = sweep([(Span(4, 1, 9), "a", 1), (Span(6, 1, 9), "b", 2)], [(6, 3), (4, 20)])
    assert [(held.span, held.claims) for held in found] == [(Span(6, 3, 3), (2,))]


node_ranges = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 30), st.integers(0, 255)).map(
        lambda drawn: (drawn[0], min(255, drawn[0] + drawn[1]), drawn[2])
    ),
    min_size=1,
    max_size=2,
)


def given_out(ranges: list[tuple[int, int, int]]) -> set[int]:
    """Count on fingers what a node hands out: ranges without their own gateways; nothing where two overlap."""
    if len(ranges) > 1 and ranges[0][0] <= ranges[1][1] and ranges[1][0] <= ranges[0][1]:
        return set()
    return {octet for first, last, gateway in ranges for octet in range(first, last + 1) if octet != gateway}


@settings(deadline=None)
@given(st.lists(node_ranges, min_size=1, max_size=5), st.sets(st.integers(1, 254), max_size=3))
def test_the_audit_of_any_files_agrees_with_sets(nodes, own):
    files = {
        node(number): config([rng(first, last, gateway=f"10.0.0.{gateway}") for first, last, gateway in ranges])
        for number, ranges in enumerate(nodes)
    }
    known = [read_own(f"own{octet}", f"10.0.0.{octet}") for octet in own]
    with tempfile.TemporaryDirectory() as root:
        report = audited(Path(root), files, own=known)
    handed = [given_out(ranges) for ranges in nodes]
    anybody = set().union(*handed)
    gateways = {gateway for ranges, given in zip(nodes, handed, strict=True) for *_, gateway in ranges if given}
    found = defaultdict(set)
    for finding in report.findings:
        words = finding.message.split()
        if finding.code in {"PL722", "PL723", "PL724"}:
            found[finding.code].add(int(words[0].rpartition(".")[2]))
        elif finding.code == "PL720":
            first, _, last = words[-1].rpartition(".")[2].partition("-")
            found["PL720"] |= set(range(int(first), int(last or first) + 1))
    twice = {octet for octet in range(256) if sum(octet in given for given in handed) > 1}
    assert found["PL720"] == twice
    assert found["PL723"] == own & anybody
    assert found["PL724"] == {0, 255} & anybody
    assert found["PL722"] >= (gateways & anybody), "a gateway that is another's pod"
    assert report.addresses == len(anybody)
    assert report.failed == (
        bool(twice or own & anybody or {0, 255} & anybody or gateways & anybody) or not all(handed_or_empty(nodes))
    )


def handed_or_empty(nodes: list[list[tuple[int, int, int]]]) -> list[bool]:
    """Tell of each node whether host-local takes its configuration at all."""
    return [len(ranges) < 2 or bool(given_out(ranges)) or not overlaps(ranges) for ranges in nodes]


def overlaps(ranges: list[tuple[int, int, int]]) -> bool:
    return ranges[0][0] <= ranges[1][1] and ranges[1][0] <= ranges[0][1]


def test_nodes_side_by_side_are_clean(tmp_path):
    report = audited(tmp_path, {node(1): config([rng(1, 9)]), node(2): config([rng(10, 19)])})
    assert (report.findings, report.files, report.nodes, report.addresses) == ([], 2, 2, 19)


def test_what_two_nodes_share_is_shown_in_both_files(tmp_path):
    report = audited(tmp_path, {node(1): config([rng(1, 9)]), node(2): config([rng(8, 19)])})
    (finding,) = report.findings
    assert finding.code == "PL720"
    assert finding.message == "n1 and n2 could both hand out 10.0.0.8-9"
    lines = (tmp_path / node(1)).read_text(encoding="utf-8").splitlines()
    assert lines[finding.place.line - 1][finding.place.column - 1 :].startswith('"10.0.0.1"')
    assert [place.label for place in finding.also] == ["n2: 10.0.0.8-19"]
    assert finding.also[0].file == str(tmp_path / node(2))


def test_what_a_thousand_nodes_share_is_one_finding(tmp_path):
    report = audited(tmp_path, {node(number): config([rng(1, 9)]) for number in range(1000)})
    (finding,) = report.findings
    assert finding.message == "n0, n1, n10 and 997 others could all hand out 10.0.0.1-9"


def test_a_gateway_is_nobody_elses_address(tmp_path):
    files = {node(1): config([rng(1, 9)]), node(2): config([rng(10, 19, gateway="10.0.0.5")])}
    report = audited(tmp_path, files)
    assert codes(report) == ["PL722", "PL734"]
    assert report.findings[-1].message == "10.0.0.5 is the gateway as n2 knows it, and n1 could hand it out"


def test_a_gateway_that_nobody_wrote_counts_too(tmp_path):
    first = {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.19"}
    report = audited(tmp_path, {node(1): config([first]), node(2): config([rng(1, 9)])})
    assert codes(report) == ["PL722"]
    assert "since no gateway is given" in report.findings[0].message


def test_a_gateway_in_its_own_range_is_withheld_and_told(tmp_path):
    report = audited(tmp_path, {node(1): config([rng(1, 9, gateway="10.0.0.5")])})
    assert (codes(report), report.addresses, report.failed) == (["PL730"], 8, False)


def test_the_next_hop_of_a_route_is_somebodys_address(tmp_path):
    files = {
        node(1): config([rng(1, 9)], routes=[{"dst": "10.96.0.0/12", "gw": "10.0.0.15"}]),
        node(2): config([rng(10, 19)]),
    }
    assert codes(audited(tmp_path, files)) == ["PL725"]


def test_two_networks_of_one_node_share_nothing(tmp_path):
    second = {**config([rng(9, 12)]), "name": "second"}
    files = {node(1): config([rng(1, 9)]), "n1/etc/cni/multus/net.d/second.conf": second}
    report = audited(tmp_path, files)
    (finding,) = report.findings
    assert finding.code == "PL721"
    assert finding.message == "n1 could hand out 10.0.0.9 twice: networks 'pods' and 'second' hold it"


def test_networks_of_multus_are_compared_with_those_of_other_nodes(tmp_path):
    second = {**config([rng(20, 29)]), "name": "second"}
    files = {node(1): config([rng(1, 9)]), "n2/etc/cni/multus/net.d/second.conf": second}
    assert codes(audited(tmp_path, files)) == [], "a second network has a name of its own"
    files["n3/etc/cni/multus/net.d/second.conf"] = second
    assert codes(audited(tmp_path, files)) == ["PL720"]


def test_masqueraded_networks_stay_on_their_node(tmp_path):
    podman = {**config([rng(1, 9)]), "type": "bridge", "ipMasq": True}
    report = audited(tmp_path, {node(1): podman, node(2): podman})
    assert (codes(report), report.failed) == (["PL711", "PL711"], False)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (config([rng(10, 19, subnet="10.0.0.0/16")]), "PL733"),
        (config([rng(10, 19, gateway="10.0.0.253")]), "PL734"),
        ({**config([rng(10, 19)]), "name": "other"}, "PL735"),
        (config([rng(10, 19)], dataDir="/run/x"), "PL736"),
    ],
)
def test_nodes_of_one_wire_that_differ_are_warned_of(tmp_path, change, code):
    files = {node(1): config([rng(1, 9)]), node(2): config([rng(20, 29)]), node(3): change}
    report = audited(tmp_path, files)
    assert (codes(report), report.failed) == ([code], False)
    assert report.findings[0].place.file == str(tmp_path / node(3)), "the odd one out is to blame"
    assert "(n1 and n2)" in report.findings[0].message


def test_nodes_of_different_wires_may_differ(tmp_path):
    other = config([{"subnet": "10.1.0.0/24", "gateway": "10.1.0.254", "rangeEnd": "10.1.0.9"}], dataDir="/run/x")
    assert codes(audited(tmp_path, {node(1): config([rng(1, 9)]), node(2): {**other, "name": "other"}})) == []


def test_two_nodes_have_two_addresses(tmp_path):
    own = [read_own("a", "10.0.0.200"), read_own("b", "10.0.0.200/24")]
    report = audited(tmp_path, {node(1): config([rng(1, 9)])}, own=own)
    assert [finding.message for finding in report.findings] == ["a and b have the same address 10.0.0.200"]


def test_a_plan_tells_the_nodes_own_addresses(tmp_path):
    plan = {
        "version": 1,
        "node": "web",
        "addresses": [
            {"link": "eth0", "address": "10.0.0.2/24", "adopt": True},
            {"link": "macvlan0", "address": "10.0.0.3/32"},
        ],
        "files": [
            {"path": "/k", "envFlags": {"variable": "X", "flags": ["--node-ip=10.0.0.4,fd00::4", "--v=2"]}},
            {"path": "/l", "source": "rootfs/l"},
        ],
        "routes": [{"link": "macvlan0", "destination": "10.0.0.8/29", "source": "10.0.0.5"}],
    }
    files = {
        "nodes/web/plan.json": plan,
        "nodes/web/rootfs/etc/cni/net.d/05.conflist": {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [config([rng(1, 9)])],
        },
    }
    report = audited(tmp_path, files)
    assert [finding.message.partition(",")[0] for finding in report.findings] == [
        "10.0.0.2 is web's address",
        "10.0.0.3 is web's address on macvlan0",
        "10.0.0.4 is web's address",
        "10.0.0.5 is web's address",
    ]
    assert {finding.also[0].file for finding in report.findings} == {str(tmp_path / "nodes/web/plan.json")}


def test_an_address_of_static_is_an_address_too(tmp_path):
    static = {**config(), "ipam": {"type": "static", "addresses": [{"address": "10.0.0.5/24"}, {"address": "x"}]}}
    report = audited(tmp_path, {node(1): config([rng(1, 9)]), node(2): static})
    assert codes(report) == ["PL710", "PL720", "PL736"]


def test_a_directory_is_named_once_whatever_it_is_called(tmp_path, monkeypatch):
    audited(tmp_path, {node(1): config([rng(1, 9)])})
    monkeypatch.chdir(tmp_path)
    assert audit([".", "n1", str(tmp_path / node(1)), "n1/../n1/etc"]).files == 1
