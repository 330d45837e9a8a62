"""What is promised, and how a matrix reads."""

import how_to
import pytest

from podlan.lab import State
from podlan.lab.matrix import Try, endpoints
from podlan.lab.node import access
from podlan.lab.report import as_text, report
from podlan.lab.state import NodeState, PodState


def lab(families=(4,), mode="bridge"):
    nodes, pods = [], []
    for name in ("node-1", "node-2"):
        config = how_to.network(name, access="none", mode=mode)
        own, first = (tuple(how_to.NODES[name][family][at] for family in (4, 6)) for at in (0, 1))
        nodes.append(NodeState(name, own, families))
        pods.append(PodState(f"{name}/pod-1", name, first, config, {}))
    return State((), tuple(nodes), tuple(pods), {})


def tries(state, reached):
    points = endpoints(state)
    pairs = [(source, target) for source in points for target in points if source is not target]
    return [
        Try(source, target, address, reached(source, target, address))
        for source, target in pairs
        for address in target.addresses
    ]


def own(source, target):
    return source.node == target.node


def only_by_v4_to_the_own(source, target, address):
    return not (own(source, target) and ":" in address)


def test_host_access_in_one_family_promises_that_family_only():
    state = lab(families=(4,))
    assert report(state, tries(state, only_by_v4_to_the_own), {}).ok
    assert not report(state, tries(state, lambda *_: True), {}).ok


def test_a_cell_tells_which_family_reaches():
    state = lab(families=(4,))
    grid = as_text(report(state, tries(state, only_by_v4_to_the_own), {}))
    assert " 1 node-1       · + 4 +\n" in grid


def test_what_is_reached_against_the_promise_is_told_too():
    state = lab(families=())
    found = report(state, tries(state, lambda *_: True), {})
    assert "node-1 reaches node-1/pod-1 at 172.16.129.110, which its plan does not promise" in found.surprises


def test_many_surprises_are_cut_short():
    state = lab(families=(4, 6))
    text = as_text(report(state, tries(state, lambda *_: False), {}))
    assert text.endswith("… and 4 more\n")
    assert "not as the plans promise:" in text


def test_rows_without_a_try_are_left_out():
    state = State((), lab().nodes, (), {})
    assert [row.key for row in report(state, tries(state, lambda *_: True), {}).rows] == ["hosts"]


@pytest.mark.parametrize(("way", "families"), [("shim", (4,)), ("none", ())])
def test_host_access_is_read_from_the_plan(way, families):
    assert access(how_to.plan("node-1", access=way)) == families
