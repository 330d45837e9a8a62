"""What is promised, and how a matrix reads."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import how_to
import pytest

from podlan.lab import State
from podlan.lab._junit import junit
from podlan.lab.matrix import Try
from podlan.lab.node import access
from podlan.lab.promise import Promise, pairs
from podlan.lab.report import as_text, report
from podlan.lab.state import Before, InterfaceState, LanState, NodeState, PodState, Port

LANS = (LanState("lan0"),)


def lab(families=(4,), mode="bridge", **state):
    nodes, pods = [], []
    for name in ("node-1", "node-2"):
        config = how_to.network(name, access="none", mode=mode)
        lengths = {4: 24, 6: 64}
        own, first = (
            tuple(f"{how_to.NODES[name][family][at]}/{lengths[family]}" for family in (4, 6)) for at in (0, 1)
        )
        nodes.append(NodeState(name, (Port("eth0", "lan0", own, access=families),)))
        result = {"ips": [{"address": address} for address in first]}
        bare = tuple(address.partition("/")[0] for address in first)
        pods.append(PodState(f"{name}/pod-1", name, (InterfaceState("eth0", "eth0", bare, config, result),)))
    return State(LANS, tuple(nodes), tuple(pods), {}, **state)


def tries(state, reached):
    promise = Promise(state)
    return [Try(*pair, reached(*pair), promise.path(pair)) for pair in pairs(state)]


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
    state = State(LANS, lab().nodes, (), {})
    assert [row.key for row in report(state, tries(state, lambda *_: True), {}).rows] == ["hosts"]


def suites(found):
    return {suite.get("name"): suite for suite in ET.fromstring(junit(found))}  # noqa: S314 - our own output


def test_junit_has_a_suite_a_row_and_a_case_a_node_that_fails_with_its_pairs():
    state = lab(families=(4, 6))
    bad = "node-1 does not reach node-2 at 172.16.129.102\nnode-1 does not reach node-2 at fd00:129::2"
    found = report(
        state, tries(state, lambda source, target, _: (source.name, target.name) != ("node-1", "node-2")), {}
    )
    told = suites(found)
    assert set(told) == {row.name for row in found.rows}
    failing = {name for name, suite in told.items() if suite.get("failures") != "0"}
    assert failing == {"hosts and hosts"}
    hosts = told["hosts and hosts"]
    assert (hosts.get("tests"), hosts.get("failures"), hosts.get("errors"), hosts.get("skipped")) == (
        "2",
        "1",
        "0",
        "0",
    )
    case, other = hosts
    assert (case.get("classname"), case.get("name")) == ("podlan.lab.hosts", "node-1: hosts and hosts")
    assert (case[0].tag, case[0].text, case[0].get("message")) == ("failure", bad, "2 of 2 not as the plans promise")
    assert not len(other)


def test_junit_of_many_surprises_is_cut_short_and_tells_the_faults():
    state = lab(families=(4, 6))
    one = next(pair for pair in tries(state, lambda *_: False) if pair.source.kind == pair.target.kind == "node")
    found = report(state, [one] * 60, {}, faults=["<&\x1b"])
    ((failure,),) = next(iter(suites(found).values()))
    assert failure.get("message") == "60 of 60 not as the plans promise"
    assert failure.text.endswith("\n… and 10 more\nfault: <&\N{REPLACEMENT CHARACTER}")


def test_junit_of_a_lab_in_which_nobody_is_to_be_reached_is_not_empty():
    assert [suite.get("tests") for suite in suites(report(State((), (), (), {}), [], {})).values()] == ["1"]


@pytest.mark.parametrize(("way", "families"), [("shim", (4,)), ("none", ())])
def test_host_access_is_read_from_the_plan(way, families):
    assert access(how_to.plan("node-1", access=way), "eth0") == families


def test_what_was_reached_before_host_access_is_the_fourth_row_and_a_surprise():
    state = lab(families=(4, 6), before=Before(8, ("node-1/pod-1 to 172.16.129.101",)))
    found = report(state, tries(state, lambda *_: True), {})
    fourth = next(row for row in found.rows if row.key == "pod-and-own-without")
    assert (fourth.tried, fourth.reached, fourth.expected, fourth.ok) == (8, 1, 0, False)
    assert found.surprises == ("without host access node-1/pod-1 to 172.16.129.101 was reached all the same",)


def test_a_large_lab_shows_its_grid_only_when_asked():
    state = lab()
    found = report(state, tries(state, lambda *_: True), {})
    assert "row reaches column" in as_text(found)
    assert "row reaches column" not in as_text(found, grid=False)


def test_a_route_to_the_subnet_itself_is_no_excuse_for_not_reaching_a_neighbour():
    state = lab(families=(4,))
    route = {"routes": [{"dst": "172.16.129.0/24", "gw": "172.16.129.254"}]}
    pods = tuple(
        replace(pod, interfaces=tuple(replace(one, result=one.result | route) for one in pod.interfaces))
        for pod in state.pods
    )
    promise = Promise(replace(state, pods=pods))
    paths = [promise.path(pair) for pair in pairs(state) if pair.source.kind == pair.target.kind == "pod"]
    assert [(path.kind, path.works) for path in paths] == [("link", True)] * 4
