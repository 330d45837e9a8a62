"""From any site to any other in one compile: no address goes from one node to another without a release."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sites import allocated, site

from podlan.addressing import Lock, read_lock

NAMES = ["a", "b", "c", "d", "e"]
first = st.integers(1, 60)
ranges = st.builds(lambda start, size: f"10.0.0.{start}-{start + size}", first, st.integers(0, 12))
nodes = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(
        st.just({}),
        st.builds(lambda pods: {"pods": pods}, st.integers(1, 24)),
        st.builds(lambda item: {"ranges": [item]}, ranges),
        st.builds(lambda host: {"address": f"10.0.0.{host}"}, st.integers(61, 69)),
    ),
    max_size=5,
)
lan = st.fixed_dictionaries(
    {"cidr": st.just("10.0.0.0/25"), "gateway": st.just("10.0.0.126")},
    optional={
        "pool": st.sampled_from([["10.0.0.0-63"], ["10.0.0.8-99"], ["10.0.0.64-120", "10.0.0.1-20"]]),
        "reserved": st.lists(ranges, max_size=2).map(lambda items: [{"range": one, "reason": "x"} for one in items]),
    },
)
masters = st.fixed_dictionaries(
    {"hostAccess": st.sampled_from([{"via": "none"}, {"via": "shim"}, {"via": "shim", "pool": ["10.0.0.100-110"]}])},
    optional={"allocate": st.just("packed"), "fragmented": st.sampled_from([True])},
)
sites = st.tuples(nodes, lan, st.booleans(), masters)
some = st.sets(st.sampled_from(NAMES))


def make(description: tuple[dict[str, Any], dict[str, Any], bool, dict[str, Any]], *, reverse: bool = False) -> Any:
    named, subnet, dual, master = description
    subnets = {"lan": subnet}
    if dual:
        subnets["six"] = {"cidr": "fd00::/120", "gateway": "fd00::1"}
    ordered = dict(reversed(named.items())) if reverse else named
    return site(ordered, subnets, **master)


def owners(lock: Lock) -> dict[tuple[int, int], set[str]]:
    """Give who holds, or gave up, every address of a lock, read from its text alone."""
    again, findings = read_lock("podlan.lock", lock.text())
    assert not findings
    found: dict[tuple[int, int], set[str]] = {}
    held = [(node, item) for (_, node), items in again.slices.items() for item in items]
    held += [(node, item) for (_, node), item in again.shims.items()]
    held += [(entry.node, item) for entry in again.quarantine for item in entry.ranges]
    for node, item in held:
        for address in range(item.first, item.last + 1):
            found.setdefault((item.family, address), set()).add(node)
    return found


def errors(result: Any) -> list[str]:
    return [finding.code for finding in result.findings if finding.severity.value == "error"]


@settings(max_examples=400, deadline=None)
@given(sites, sites, some, some)
def test_no_address_goes_from_one_node_to_another(before, after, move, shrink):
    start = allocated(make(before))
    if errors(start):
        return
    result = allocated(make(after), start.lock, move=move, shrink=shrink)
    if errors(result):
        return
    was, now = owners(start.lock), owners(result.lock)
    assert all(len(holders) == 1 for holders in now.values()), "an address has one owner, the quarantine counted"
    for address, holders in was.items():
        assert now.get(address, holders) == holders
    assert set(was) <= set(now), "what somebody held is held or quarantined"
    again = allocated(make(after), result.lock)
    assert not errors(again)
    assert again.lock == result.lock, "compiling again changes nothing"
    assert allocated(make(after, reverse=True), start.lock, move=move, shrink=shrink).lock == result.lock


@settings(max_examples=150, deadline=None)
@given(sites, nodes, st.sampled_from(["keep", "base"]))
def test_after_a_merge_everybody_has_addresses_of_his_own(base, added, how):
    """Two branches change the same base; their locks are joined line by line."""
    start = allocated(make(base))
    theirs_nodes = {f"{name}{name}": node for name, node in added.items() if "address" not in node}
    ours = allocated(make(({**base[0], "f": {}}, *base[1:])), start.lock)
    theirs = allocated(make(({**base[0], **theirs_nodes}, *base[1:])), start.lock)
    if errors(start) or errors(ours) or errors(theirs):
        return
    lines = sorted({*ours.lock.text().splitlines()[1:], *theirs.lock.text().splitlines()[1:]})
    joined, findings = read_lock("podlan.lock", "podlan.lock 1\n" + "".join(f"{line}\n" for line in lines))
    assert not findings
    decided = {"keep": {"f"}} if how == "keep" else {"base": ours.lock}
    merged = allocated(make(({**base[0], "f": {}, **theirs_nodes}, *base[1:])), joined, **decided)
    if errors(merged):
        return
    assert all(len(holders) == 1 for holders in owners(merged.lock).values())
    for key, held in ours.slices.items():
        assert merged.slices[key] == held, "who was first stays"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.sets(st.integers(1, 30), max_size=12),
    st.sampled_from(["packed", "aligned"]),
)
def test_what_the_allocator_calls_full_is_full(sizes, reserved, policy):
    """Beside the slices that it gave, brute force finds no room either for any node that it turned away."""
    subnet = {
        "cidr": "10.0.0.0/27",
        "gateway": "10.0.0.30",
        "reserved": [{"range": f"10.0.0.{host}", "reason": "x"} for host in sorted(reserved - {30})],
    }
    asked = {f"n{number}": {"pods": pods} for number, pods in enumerate(sizes)}
    result = allocated(site(asked, {"lan": subnet}, allocate=policy, hostAccess={"via": "none"}))
    base = 10 << 24
    free = set(range(1, 31)) - reserved - {30}
    for items in result.slices.values():
        for item in items:
            free -= set(range(item.first - base, item.last - base + 1))
    turned_away = [name for name in asked if ("lan", name) not in result.slices]
    assert bool(turned_away) == bool(errors(result))
    for name in turned_away:
        pods = asked[name]["pods"]
        size = pods if policy == "packed" else 1 << (pods - 1).bit_length()
        starts = range(32 - size + 1) if policy == "packed" else range(0, 32, size)
        assert not any(set(range(start, start + size)) <= free for start in starts)
