"""Tables of minimal change: what the allocator gives, and what it leaves where it is."""

from __future__ import annotations

import pytest
from sites import allocated, site

from podlan.addressing import Lock, natural, read_lock

LAN = {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}


def slices(result) -> dict[str, str]:
    assert not result.findings, result.findings
    return {node: ",".join(map(str, held)) for (_, node), held in sorted(result.slices.items())}


def quarantine(result) -> set[str]:
    return {entry.line for entry in result.lock.quarantine}


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
    assert quarantine(shrunk) == {"quarantine lan a 10.0.0.40-10.0.0.63"}
    assert slices(allocated(site({"a": {"pods": 32}}), shrunk.lock)) == slices(first), "its own again when it grows"


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
    assert quarantine(moved) == {"quarantine lan b 10.0.0.16-10.0.0.23"}
    assert slices(allocated(grown, moved.lock, move={"b"})) == slices(moved), "moving again changes nothing"


def test_what_a_removed_node_held_is_given_to_nobody_and_comes_back_with_it():
    first = allocated(site({"a": {}, "b": {}}))
    without = allocated(site({"b": {}}), first.lock)
    assert quarantine(without) == {"quarantine lan a 10.0.0.8-10.0.0.15", "quarantine lan a 10.0.0.253"}
    newcomer = allocated(site({"b": {}, "c": {}}), without.lock)
    assert slices(newcomer)["c"] == "10.0.0.24-31"
    back = allocated(site({"a": {}, "b": {}, "c": {}}), newcomer.lock)
    assert slices(back)["a"] == "10.0.0.8-15"
    assert back.shims["lan", "a"] == first.shims["lan", "a"]
    assert not back.lock.quarantine


def test_a_subnet_that_is_gone_leaves_its_slices_in_quarantine():
    both = {"lan": LAN, "six": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
    first = allocated(site({"a": {}}, both))
    assert len(first.slices) == 2
    after = allocated(site({"a": {}}), first.lock)
    assert {entry.subnet for entry in after.lock.quarantine} == {"six"}


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


LAN_WITH = {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}
NONE = {"hostAccess": {"via": "none"}}


def codes(result) -> set[str]:
    return {finding.code for finding in result.findings}


def test_a_slice_does_not_grow_into_the_addresses_of_shims():
    shims = {"hostAccess": {"via": "shim", "pool": ["10.0.0.80-95", "10.0.0.200"]}}
    first = allocated(site({"n1": {"ranges": ["10.0.0.64-79"]}}, **shims))
    grown = allocated(site({"n1": {"pods": 32}, "n2": {}}, **shims), first.lock)
    assert codes(grown) == {"PL505"}


def test_a_renamed_subnet_keeps_its_slices_where_it_says_so_and_is_refused_where_not():
    first = allocated(site({"n9": {}, "n1": {}}, {"lan": LAN_WITH}))
    assert codes(allocated(site({"n9": {}, "n1": {}}, {"net": LAN_WITH}), first.lock)) == {"PL509"}
    renamed = allocated(site({"n9": {}, "n1": {}}, {"net": {**LAN_WITH, "was": "lan"}}), first.lock)
    assert slices(renamed) == slices(first)
    assert not renamed.lock.quarantine


def test_what_was_given_up_under_another_name_of_the_subnet_is_given_to_nobody():
    text = "podlan.lock 1\nquarantine lan gone 10.0.0.8-10.0.0.15\nquarantine lan gone 10.0.0.253\n"
    lock, _ = read_lock("podlan.lock", text)
    result = allocated(site({"a": {}}, {"net": LAN_WITH}), lock)
    assert slices(result) == {"a": "10.0.0.16-23"}
    assert str(result.shims["net", "a"]) == "10.0.0.252"
    assert quarantine(result) == set(text.splitlines()[1:])


@pytest.mark.parametrize(
    "nodes",
    [{"n1": {"ranges": ["10.0.0.16-23"]}}, {"n1": {"ranges": ["10.0.0.16-23"]}, "n2": {"ranges": ["10.0.0.64-71"]}}],
)
def test_a_pin_on_what_another_leaves_is_refused_in_one_step_as_in_two(nodes):
    first = allocated(site({"n1": {}, "n2": {}}, **NONE))
    assert slices(first)["n2"] == "10.0.0.16-23"
    assert codes(allocated(site(nodes, **NONE), first.lock)) == {"PL504"}


def test_moving_away_from_a_pin_does_not_hand_living_addresses_over():
    first = allocated(site({"n1": {}, "n2": {}}, **NONE))
    pinned = site({"n1": {"ranges": ["10.0.0.16-23"]}, "n2": {}}, **NONE)
    assert codes(allocated(pinned, first.lock)) == {"PL508"}
    assert codes(allocated(pinned, first.lock, move={"n2"})) == {"PL504"}


def test_a_slice_of_pieces_and_a_slice_of_one_come_back_whole():
    lan = {**LAN_WITH, "reserved": [{"range": "10.0.0.5", "reason": "x"}]}
    pieces = site({"a": {"ranges": ["10.0.0.1-4", "10.0.0.6-15"]}, "b": {"pods": 1}}, {"lan": lan})
    first = allocated(pieces)
    away = allocated(site({}, {"lan": lan}), first.lock)
    back = allocated(site({"a": {"pods": 14}, "b": {"pods": 1}}, {"lan": lan}), away.lock)
    assert slices(back) == slices(first)
    assert back.shims == first.shims
    assert not back.lock.quarantine


def test_a_shim_that_was_switched_off_has_its_address_back():
    pool = {"pool": ["10.0.0.200"]}
    first = allocated(site({"a": {}}, hostAccess={"via": "shim", **pool}))
    off = allocated(site({"a": {}}, hostAccess={"via": "none", **pool}), first.lock)
    assert quarantine(off) == {"quarantine lan a 10.0.0.200"}
    on = allocated(site({"a": {}}, hostAccess={"via": "shim", **pool}), off.lock)
    assert on.shims == first.shims


def test_moving_moves_only_what_is_in_the_way():
    both = {"lan": LAN_WITH, "six": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
    first = allocated(site({"a": {}}, both))
    taken = {**both, "lan": {**LAN_WITH, "reserved": [{"range": "10.0.0.253", "reason": "x"}]}}
    moved = allocated(site({"a": {}}, taken), first.lock, move={"a"})
    assert slices(moved) == slices(first)
    assert moved.shims["six", "a"] == first.shims["six", "a"]
    assert str(moved.shims["lan", "a"]) == "10.0.0.252"


def test_after_a_merge_an_old_node_that_grew_keeps_what_it_had():
    base = allocated(site({"n1": {}}, **NONE))
    branch = allocated(site({"n1": {"pods": 16}}, **NONE), base.lock)
    main = allocated(site({"n1": {}, "n2": {}}, **NONE), base.lock)
    both = Lock(base.lock.meta, {**main.slices, **branch.slices})
    merged = site({"n1": {"pods": 16}, "n2": {}}, **NONE)
    assert codes(allocated(merged, both)) == {"PL503"}
    decided = allocated(merged, both, base=main.lock)
    assert codes(decided) == {"PL505"}, "it cannot grow any more, and says so"
    moved = allocated(merged, both, base=main.lock, move={"n1"})
    assert slices(moved) == {"n1": "10.0.0.32-47", "n2": "10.0.0.16-23"}
    assert quarantine(moved) == {"quarantine lan n1 10.0.0.8-10.0.0.15"}


def test_another_family_under_the_same_name_does_not_touch_the_quarantine():
    first = allocated(site({"a": {}, "b": {}}, **NONE))
    away = allocated(site({"a": {}}, **NONE), first.lock)
    six = allocated(site({"a": {}}, {"lan": {"cidr": "fd00::/64", "gateway": "fd00::1"}}, **NONE), away.lock)
    assert quarantine(six) == {"quarantine lan a 10.0.0.8-10.0.0.15", "quarantine lan b 10.0.0.16-10.0.0.23"}


def test_a_slice_outside_the_pool_stays_and_a_warning_says_so():
    pinned = allocated(site({"a": {"ranges": ["10.0.0.100-109"]}}, **NONE))
    lan = {**LAN_WITH, "pool": ["10.0.0.16-31"]}
    stays = allocated(site({"a": {}}, {"lan": lan}, **NONE), pinned.lock)
    assert codes(stays) == {"PL511"}
    assert [str(item) for item in stays.slices["lan", "a"]] == ["10.0.0.100-109"]


def test_dual_stack_counts_all_pinned_ranges_of_a_family():
    both = {"lan": LAN_WITH, "six": {"cidr": "fd00::/64", "gateway": "fd00::1"}}
    result = allocated(site({"a": {"ranges": ["10.0.0.20-29", "10.0.0.40-49"]}}, both, podsPerNode=None))
    assert result.slices["six", "a"][0].size == 32


DUAL = {"lan": LAN, "six": {"cidr": "fd00::/112", "gateway": "fd00::fffe"}}
OWN = {
    "a": {"masters": {"uplink": {"addresses": ["10.0.0.1"]}}},
    "b": {"masters": {"uplink": {"addresses": ["10.0.0.2"]}}},
}


def lines(result) -> set[str]:
    assert not result.findings, result.findings
    return set(result.lock.text().splitlines())


def test_a_moved_address_has_a_shim_of_ipv6_and_none_of_ipv4_beside_it():
    result = allocated(site(OWN, DUAL, hostAccess={"via": "move"}))
    assert {(subnet, node): str(shim) for (subnet, node), shim in result.shims.items()} == {
        ("six", "a"): "fd00::ffff",
        ("six", "b"): "fd00::fffd",
    }


def test_a_lock_from_before_moved_addresses_had_shims_gains_lines_and_loses_none():
    before = allocated(site(OWN, DUAL, hostAccess={"via": "none"}))
    after = allocated(site(OWN, DUAL, hostAccess={"via": "move"}), before.lock)
    assert lines(after) - lines(before) == {"shim six a fd00::ffff", "shim six b fd00::fffd"}
    assert lines(before) <= lines(after)
    assert lines(allocated(site(OWN, DUAL, hostAccess={"via": "move"}), after.lock)) == lines(after)


def test_from_shim_to_move_the_ipv6_shim_stays_and_comes_back():
    shim = allocated(site(OWN, DUAL))
    move = allocated(site(OWN, DUAL, hostAccess={"via": "move"}), shim.lock)
    assert move.slices == shim.slices
    assert {key: item for key, item in shim.shims.items() if key[0] == "six"} == move.shims
    assert quarantine(move) == {"quarantine lan a 10.0.0.253", "quarantine lan b 10.0.0.252"}
    assert lines(allocated(site(OWN, DUAL), move.lock)) == lines(shim)


def test_where_an_ipv6_pool_has_no_room_for_the_shim_of_a_moved_address_it_is_told():
    six = {"cidr": "fd00::/112", "gateway": "fd00::fffe", "pool": ["fd00::8-fd00::17"]}
    full = allocated(site(OWN, {"lan": LAN, "six": six}, hostAccess={"via": "none"}))
    assert len(full.slices) == 4
    again = allocated(site(OWN, {"lan": LAN, "six": six}, hostAccess={"via": "move"}), full.lock)
    assert {finding.code for finding in again.findings} == {"PL205"}
    beside = {"via": "move", "pool": ["fd00::20-fd00::2f"]}
    assert allocated(site(OWN, {"lan": LAN, "six": six}, hostAccess=beside), full.lock).slices == full.slices
