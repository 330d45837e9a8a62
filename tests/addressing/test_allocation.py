"""Tables of minimal change: what the allocator gives, and what it leaves where it is."""

from __future__ import annotations

import pytest
from sites import allocated, site

from podlan.addressing import Lock, Range, natural

LAN = {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}


def slices(result) -> dict[str, str]:
    assert not result.findings, result.findings
    return {node: ",".join(map(str, held)) for (_, node), held in sorted(result.slices.items())}


def test_slices_are_aligned_blocks_from_the_bottom_and_shims_come_from_the_top():
    result = allocated(site({"a": {}, "b": {"pods": 20}}))
    assert slices(result) == {"a": "10.0.0.8-15", "b": "10.0.0.32-63"}
    assert {node: str(shim) for (_, node), shim in result.shims.items()} == {"a": "10.0.0.253", "b": "10.0.0.252"}


def test_packed_slices_have_the_exact_size():
    assert slices(allocated(site({"a": {}, "b": {"pods": 20}}, allocate="packed"))) == {
        "a": "10.0.0.21-28",
        "b": "10.0.0.1-20",
    }


def test_the_first_fit_goes_around_everything_that_is_taken():
    lan = {**LAN, "pool": ["10.0.0.0/27"], "reserved": [{"range": "10.0.0.9", "reason": "router"}]}
    where = site({"a": {"address": "10.0.0.17"}, "b": {}}, {"lan": lan}, hostAccess={"via": "none"}, podsPerNode=4)
    assert slices(allocated(where)) == {"a": "10.0.0.4-7", "b": "10.0.0.12-15"}


def test_a_pin_stays_a_slice_when_it_is_no_longer_pinned():
    pinned = allocated(site({"a": {"ranges": ["10.0.0.100-109"]}}))
    assert slices(allocated(site({"a": {}}), pinned.lock)) == {"a": "10.0.0.100-109"}


def test_a_slice_that_is_larger_than_asked_for_stays():
    first = allocated(site({"a": {"pods": 32}}))
    assert slices(allocated(site({"a": {"pods": 4}}), first.lock)) == slices(first)


def test_a_slice_grows_in_place_where_its_neighbours_allow():
    first = allocated(site({"a": {"pods": 8}}))
    assert slices(first) == {"a": "10.0.0.8-15"}
    assert slices(allocated(site({"a": {"pods": 16}}), first.lock)) == {"a": "10.0.0.8-23"}


def test_a_block_is_cut_around_what_is_taken_where_no_clean_one_is_left():
    lan = {"cidr": "10.0.0.0/27", "gateway": "10.0.0.30", "reserved": [{"range": "10.0.0.20", "reason": "printer"}]}
    where = site({"a": {}, "b": {}}, {"lan": lan}, podsPerNode=11, hostAccess={"via": "none"})
    assert slices(allocated(where)) == {"a": "10.0.0.1-15", "b": "10.0.0.16-19,10.0.0.21-29"}


def test_a_slice_is_in_pieces_only_where_that_is_asked_for():
    lan = {"cidr": "10.0.0.0/28", "gateway": "10.0.0.8"}
    nodes = {"a": {}, "b": {"pods": 6}}
    plain = {"podsPerNode": 4, "allocate": "packed", "hostAccess": {"via": "none"}}
    taken = {**lan, "reserved": [{"range": "10.0.0.4", "reason": "x"}]}
    assert [finding.code for finding in allocated(site(nodes, {"lan": taken}, **plain)).findings] == ["PL205"]
    pieces = allocated(site(nodes, {"lan": taken}, fragmented=True, **plain))
    assert slices(pieces) == {"a": "10.0.0.1-3,10.0.0.5", "b": "10.0.0.9-14"}


def test_shrinking_is_a_decision_and_keeps_the_front():
    first = allocated(site({"a": {"pods": 32}}))
    smaller = site({"a": {"pods": 6}})
    assert slices(allocated(smaller, first.lock)) == {"a": "10.0.0.32-63"}
    shrunk = allocated(smaller, first.lock, shrink={"a"})
    assert slices(shrunk) == {"a": "10.0.0.32-39"}
    assert shrunk.lock.quarantine == {("lan", "a", Range.parse("10.0.0.40-10.0.0.63"))}


def test_a_renamed_node_keeps_its_slice_and_its_shim():
    first = allocated(site({"a": {}, "b": {}}))
    renamed = site({"a": {}, "z": {"was": "b"}})
    after = allocated(renamed, first.lock)
    assert slices(after) == {"a": "10.0.0.8-15", "z": "10.0.0.16-23"}
    assert str(after.shims["lan", "z"]) == str(first.shims["lan", "b"])
    assert not after.lock.quarantine
    assert allocated(renamed, after.lock).lock == after.lock, "`was` may stay"


def test_of_two_nodes_with_the_same_addresses_the_decision_says_who_moves():
    base = allocated(site({"a": {}}))
    ours = allocated(site({"a": {}, "b": {}}), base.lock).lock
    theirs = allocated(site({"a": {}, "c": {}}), base.lock).lock
    both = Lock(ours.meta, {**ours.slices, **theirs.slices}, {**ours.shims, **theirs.shims})
    merged = site({"a": {}, "b": {}, "c": {}})
    assert {finding.code for finding in allocated(merged, both).findings} == {"PL503"}
    for decided in ({"keep": {"b"}}, {"base": ours}):
        result = allocated(merged, both, **decided)
        assert slices(result) == {"a": "10.0.0.8-15", "b": "10.0.0.16-23", "c": "10.0.0.24-31"}
        assert not result.lock.quarantine, "what the other keeps is in use, not in quarantine"
        assert len(set(result.shims.values())) == 3


def test_a_slice_between_neighbours_does_not_grow_but_moves_when_told():
    first = allocated(site({"a": {}, "b": {}, "c": {}}))
    grown = site({"a": {}, "b": {"pods": 30}, "c": {}})
    refused = allocated(grown, first.lock)
    assert [finding.code for finding in refused.findings] == ["PL505"]
    assert "--move b" in refused.findings[0].hint
    moved = allocated(grown, first.lock, move={"b"})
    assert slices(moved) == {"a": "10.0.0.8-15", "b": "10.0.0.32-63", "c": "10.0.0.24-31"}
    assert ("lan", "b", Range.parse("10.0.0.16-10.0.0.23")) in moved.lock.quarantine


def test_what_a_removed_node_held_is_given_to_nobody_and_comes_back_with_it():
    first = allocated(site({"a": {}, "b": {}}))
    without = allocated(site({"b": {}}), first.lock)
    assert {str(item) for _, node, item in without.lock.quarantine if node == "a"} == {"10.0.0.8-15", "10.0.0.253"}
    newcomer = allocated(site({"b": {}, "c": {}}), without.lock)
    assert slices(newcomer)["c"] == "10.0.0.24-31"
    back = allocated(site({"a": {}, "b": {}, "c": {}}), newcomer.lock)
    assert slices(back)["a"] == "10.0.0.8-15"


def test_a_subnet_that_is_gone_leaves_its_slices_in_quarantine():
    both = {"lan": LAN, "six": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
    first = allocated(site({"a": {}}, both))
    assert len(first.slices) == 2
    after = allocated(site({"a": {}}), first.lock)
    assert {subnet for subnet, _, _ in after.lock.quarantine} == {"six"}


def test_dual_stack_gives_a_slice_of_each_family():
    both = {"lan": LAN, "six": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
    result = allocated(site({"a": {}}, both))
    assert [str(held[0]) for _, held in sorted(result.slices.items())] == ["10.0.0.8-15", "fd00::8-fd00::f"]
    assert str(result.shims["six", "a"]) == "fd00::ffff:ffff:ffff:ffff"


def test_shims_come_from_a_pool_of_their_own_where_one_is_given():
    where = site({"a": {}}, hostAccess={"pool": ["10.0.0.8-15"]})
    result = allocated(where)
    assert str(result.shims["lan", "a"]) == "10.0.0.15"
    assert slices(result) == {"a": "10.0.0.16-23"}


def test_an_exhausted_pool_says_who_finds_no_place_and_how_much_is_left():
    result = allocated(site({"a": {"pods": 60}, "b": {"pods": 60}, "c": {"pods": 60}, "d": {"pods": 120}}))
    (finding,) = result.findings
    assert finding.code == "PL205"
    assert "b, c need 128 addresses in aligned blocks of 64; 58 are free" in finding.message
    assert "slices hold 191 (d 127, a 64); 128 more are needed" in finding.hint


def test_the_lock_is_sorted_bytewise_and_reads_back_as_it_was_written():
    lock = allocated(site({"a": {}, "B".lower(): {}, "a-1": {}})).lock
    lines = lock.text().splitlines()
    assert lines[0] == "podlan.lock 1"
    assert lines[1:] == sorted(lines[1:], key=str.encode)


@pytest.mark.parametrize(("first", "second"), [("node-9", "node-10"), ("a", "b"), ("n1", "n1-x"), ("1", "a")])
def test_names_sort_as_people_count(first, second):
    assert sorted([second, first], key=natural) == [first, second]


def test_ten_thousand_nodes_find_their_slices_and_keep_them():
    lan = {"cidr": "10.0.0.0/8", "gateway": "10.255.255.254"}
    where = site({f"node-{number}": {} for number in range(10_000)}, {"lan": lan}, podsPerNode=64)
    first = allocated(where)
    assert len(set(first.slices.values())) == 10_000
    assert allocated(where, first.lock).lock == first.lock
    assert Lock() != first.lock


def test_a_block_with_another_s_slice_in_it_is_not_shared():
    lan = {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254", "pool": ["10.0.0.8-15"]}
    nodes = {"a": {"ranges": ["10.0.0.8-9"]}, "b": {"pods": 5}}
    result = allocated(site(nodes, {"lan": lan}, hostAccess={"via": "none"}))
    assert [finding.code for finding in result.findings] == ["PL205"]
