"""What must hold whatever happens to a site: random histories, and a checker that shares no code with podlan."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sites import allocated, site

from podlan.addressing import Lock, read_lock

NAMES = st.sampled_from([f"n{number}" for number in range(12)])
RESERVABLE = st.integers(min_value=10, max_value=250)


def addresses(text: str) -> set[int]:
    """Read the lock's own notation, by ipaddress alone."""
    found: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("-")
        found |= set(range(int(ip_address(first)), int(ip_address(last or first)) + 1))
    return found


class History(RuleBasedStateMachine):
    """Nodes come, go, grow, are pinned and released; a change that podlan refuses does not happen."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, dict[str, Any]] = {}
        self.reserved: list[str] = []
        self.policy = "aligned"
        self.text = ""

    def lock(self) -> Lock:
        if not self.text:
            return Lock()
        lock, findings = read_lock("podlan.lock", self.text)
        assert not findings
        return lock

    def apply(self, nodes: dict[str, dict[str, Any]], reserved: list[str] | None = None, **options: Any) -> bool:
        reserved = self.reserved if reserved is None else reserved
        subnet = {
            "cidr": "10.0.0.0/24",
            "gateway": "10.0.0.254",
            "reserved": [{"range": item, "reason": "test"} for item in reserved],
        }
        where = site(nodes, {"lan": subnet}, allocate=self.policy)
        result = allocated(where, self.lock(), **options)
        if result.findings:
            return False
        self.nodes, self.reserved, self.text = nodes, reserved, result.lock.text()
        again = allocated(where, self.lock())
        assert not again.findings
        assert again.lock.text() == self.text, "compiling again changes nothing"
        reordered = site(dict(reversed(nodes.items())), {"lan": subnet}, allocate=self.policy)
        assert allocated(reordered, self.lock()).lock.text() == self.text, "the order of keys does not matter"
        return True

    def facts(self, kind: str) -> dict[tuple[str, str], set[int]]:
        lines = [line.split(" ") for line in self.text.splitlines()[1:]]
        return {
            (node, text): addresses(text)
            for what, _, node, text in [line for line in lines if len(line) == 4]
            if what == kind
        }

    def unmoved_but(self, before: dict[tuple[str, str], set[int]], name: str) -> None:
        after = self.facts("slice")
        for node, text in before:
            if node != name:
                assert (node, text) in after, f"the slice of {node} moved because of {name}"

    @rule(name=NAMES, pods=st.integers(1, 40))
    def add(self, name, pods):
        before = self.facts("slice")
        if name not in self.nodes and self.apply({**self.nodes, name: {"pods": pods}}):
            self.unmoved_but(before, name)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def remove(self, data):
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        before = self.facts("slice")
        assert self.apply({key: value for key, value in self.nodes.items() if key != name})
        self.unmoved_but(before, name)
        held = {key for key in before if key[0] == name}
        quarantined = set().union(*self.facts("quarantine").values()) if self.facts("quarantine") else set()
        assert all(before[key] <= quarantined for key in held), "what a node gave up is quarantined"
        again = (self.nodes, self.text)
        if self.apply({**self.nodes, name: {"pods": sum(len(before[key]) for key in held)}}):
            back = {key for key in self.facts("slice") if key[0] == name}
            earlier = {f"quarantine lan {node} {text}" for node, text in back}
            assert earlier <= set(again[1].splitlines()), "and it comes back to what it had"
        self.nodes, self.text = again

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), pods=st.integers(1, 60), move=st.booleans())
    def resize(self, data, pods, move):
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        before = self.facts("slice")
        if self.apply({**self.nodes, name: {"pods": pods}}, move={name} if move else set()):
            self.unmoved_but(before, name)

    @rule(name=NAMES, first=RESERVABLE, size=st.integers(1, 12))
    def pin(self, name, first, size):
        before = self.facts("slice")
        item = f"10.0.0.{first}-{min(first + size, 253)}"
        if first <= 253 and self.apply({**self.nodes, name: {"ranges": [item]}}):
            self.unmoved_but(before, name)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), new=NAMES)
    def rename(self, data, new):
        """A renamed node keeps its slice; a name that was used before is somebody else's history."""
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        if new in self.nodes or f" {new} " in self.text:
            return
        before = self.facts("slice")
        rest = {key: value for key, value in self.nodes.items() if key != name}
        assert self.apply({**rest, new: {**self.nodes[name], "was": name}})
        after = self.facts("slice")
        assert {text for _, text in before} == {text for _, text in after}
        assert {node for node, _ in after} == {new if node == name else node for node, _ in before}
        self.nodes[new].pop("was")

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def shrink(self, data):
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        before = self.facts("slice")
        if "pods" in self.nodes[name] and self.apply(self.nodes, shrink={name}):
            self.unmoved_but(before, name)
            kept = {text: held for (node, text), held in self.facts("slice").items() if node == name}
            given = {text: held for (node, text), held in before.items() if node == name}
            assert all(set(held) <= set.union(*given.values()) for held in kept.values())

    @precondition(lambda self: len(self.nodes) > 0)
    @rule(ours=NAMES, theirs=NAMES, pods=st.integers(1, 12), keep=st.booleans())
    def merge(self, ours, theirs, pods, keep):
        """Two branches each add a node; their locks are joined line by line, as git does at best."""
        if ours == theirs or ours in self.nodes or theirs in self.nodes:
            return
        if f" {ours} " in self.text or f" {theirs} " in self.text:
            return
        start = (dict(self.nodes), self.text)
        before = self.facts("slice")
        if not self.apply({**start[0], ours: {"pods": pods}}):
            return
        first = self.text
        self.nodes, self.text = start
        if not self.apply({**start[0], theirs: {"pods": pods}}):
            return
        second = self.text
        lines = sorted({*first.splitlines()[1:], *second.splitlines()[1:]}, key=str.encode)
        self.text = "podlan.lock 1\n" + "".join(f"{line}\n" for line in lines)
        both = {**start[0], ours: {"pods": pods}, theirs: {"pods": pods}}
        decided = {"keep": {ours}} if keep else {"base": read_lock("podlan.lock", first)[0]}
        if self.apply(both, **decided):
            self.unmoved_but(before, theirs)
            kept = {key for key in self.facts("slice") if key[0] == ours}
            assert f"slice lan {ours} {next(iter(kept))[1]}" in first, "who was first stays"
        else:
            self.nodes, self.text = start

    @rule(first=RESERVABLE)
    def reserve(self, first):
        before = self.facts("slice")
        if self.apply(self.nodes, [*self.reserved, f"10.0.0.{first}"]):
            self.unmoved_but(before, "")

    @precondition(lambda self: "quarantine" in self.text)
    @rule()
    def release(self):
        kept = [line for line in self.text.splitlines() if not line.startswith("quarantine")]
        self.text = "\n".join(kept) + "\n"

    @invariant()
    def nobody_shares_an_address(self):
        seen: dict[int, str] = {int(ip_address("10.0.0.0")): "network", int(ip_address("10.0.0.255")): "broadcast"}
        seen[int(ip_address("10.0.0.254"))] = "gateway"
        for item in self.reserved:
            seen |= dict.fromkeys(addresses(item), "reserved")
        for kind in ("slice", "shim"):
            for (node, _), held in self.facts(kind).items():
                for address in held:
                    assert address not in seen, f"{ip_address(address)} is {node}'s and {seen[address]}'s"
                    seen[address] = node
        for (node, _), held in self.facts("quarantine").items():
            assert not any(seen.get(address, node) not in (node, "reserved") for address in held)

    @invariant()
    def every_node_has_what_it_asked_for(self):
        sizes: dict[str, int] = {}
        for (node, _), held in self.facts("slice").items():
            sizes[node] = len(held)
        for name, node in self.nodes.items():
            assert sizes[name] >= node.get("pods", 0)


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


class PackedHistory(History):
    def __init__(self) -> None:
        super().__init__()
        self.policy = "packed"


TestPackedHistory = PackedHistory.TestCase
TestPackedHistory.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
