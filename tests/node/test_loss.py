"""Streams through every step: no packet is lost, and no stream waits longer than when nothing is changed."""

import time
from dataclasses import replace

import pytest
from lan import FAR, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM_PLAN
from traffic import Stream, traffic

from podlan.plan import Route

pytestmark = pytest.mark.kernel

UNREACHABLE = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
FAILING_SHIM = replace(SHIM_PLAN, routes=(*SHIM_PLAN.routes, UNREACHABLE))
FAILING_MOVE = replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, UNREACHABLE))
REMOVALS = {"removal": lambda net: net.reconcile(NONE_PLAN), "undo": lambda net: net.podlan("undo")}
STEPS = {
    "a shim that fails": lambda net: net.reconcile(FAILING_SHIM, code=1),
    "shim": lambda net: net.reconcile(SHIM_PLAN),
    "removal of the shim": None,
    "a move that fails": lambda net: net.reconcile(FAILING_MOVE, code=1),
    "move": lambda net: net.reconcile(MOVE_PLAN),
    "a shim after the move, that fails": lambda net: net.reconcile(FAILING_SHIM, code=1),
    "removal of the move": None,
    "shim again": lambda net: net.reconcile(SHIM_PLAN),
    "a move after the shim, that fails": lambda net: net.reconcile(FAILING_MOVE, code=1),
    "move after the shim": lambda net: net.reconcile(MOVE_PLAN),
    "shim after the move": lambda net: net.reconcile(SHIM_PLAN),
}
NOISE = 12  # beats beyond those of the control; a lost segment costs 50 (200 ms)


def streams(pod):
    """Give both directions for the on-link client, the client behind the gateway, and a pod."""
    return [
        Stream("peer", PEER, "node", NODE),
        Stream("node", NODE, "peer", PEER),
        Stream("far", FAR, "node", NODE),
        Stream("node", NODE, "far", FAR),
        Stream(pod, POD, "far", FAR),
        Stream("peer", PEER, pod, POD),
    ]


def filter_paths(net, rp_filter):
    for link in ("all", "default", "eth0"):
        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)


@pytest.mark.parametrize("rp_filter", ["0", "1", "2"])
@pytest.mark.parametrize("removal", REMOVALS)
def test_no_packet_is_lost_and_no_stream_interrupted_by_any_step(net, removal, rp_filter):
    filter_paths(net, rp_filter)
    net.up_behind_gateway()
    with net.pod() as pod, traffic(net, streams(pod)) as running:
        running.phase("nothing")
        time.sleep(1.2)  # the neighbours' entries are older than a second then, and may change
        for name, step in STEPS.items():
            running.phase(name)
            (step or REMOVALS[removal])(net)
        running.phase("afterwards")
        time.sleep(0.3)
    print(f"\n{running.table()}")  # noqa: T201 - for people
    (_, control), *changes = running.told
    assert len(changes) == len(STEPS) + 1
    noise = max(phase.longest for phase in control)
    for name, phases in changes:
        for stream, phase in zip(running.streams, phases, strict=True):
            assert phase.beats > 10, (name, running.table())
            assert (phase.lost, phase.retransmitted) == (0, 0), (name, str(stream), running.table())
            assert phase.longest <= noise + NOISE, (name, str(stream), running.table())


def test_the_streams_notice_when_the_child_of_a_move_is_just_deleted(net):
    """The opposite of podlan's order: all addresses and routes are valid, and the neighbours know a dead MAC."""
    net.up_behind_gateway()
    # Neighbours that the node knows on eth0 it need not ask, so that they do not learn its MAC from the question.
    assert net.reaches("node", PEER)
    assert net.reaches("node", FAR)
    net.reconcile(MOVE_PLAN)
    with net.pod() as pod, traffic(net, streams(pod)) as running:
        running.phase("nothing")
        time.sleep(1.2)
        running.phase("deleted")
        net.ip("link", "del", "macvlan0")
        time.sleep(0.5)
    (_, control), (_, deleted) = running.told
    assert max(phase.longest for phase in control) <= NOISE
    for stream, phase in zip(running.streams, deleted, strict=True):
        to_the_node = NODE in (stream.source, stream.target)
        assert (phase.lost > NOISE, phase.longest > NOISE) == (to_the_node, to_the_node), running.table()
