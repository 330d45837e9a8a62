"""What stands in for what older kernels lack, done on this one: it takes no more than those."""

import contextlib
import ctypes
import os
from dataclasses import replace

import pytest
from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM, SHIM_PLAN

from podlan.diagnostics import PodlanError
from podlan.node.abilities import Abilities, abilities
from podlan.node.files import Root
from podlan.node.observe import Observed
from podlan.node.preflight import preflight
from podlan.node.reconcile import Options, reconcile
from podlan.node.state import State
from podlan.node.undo import undo
from podlan.plan import Address, Link, Plan, Route

OLD = abilities("4.15.0-213-generic")
PREFIX = "172.16.129.0/24"
KERNELS_OWN = f"{PREFIX} dev eth0 proto 2 scope link src {NODE}"
REFUSED = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")
on_the_kernel = pytest.mark.kernel


def run(net, plan, can=OLD):
    """Reconcile, or undo without a plan, in a process that knows only this of the kernel; give what it did."""
    directory = net.directory(plan) if plan is not None else None
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException), os.fdopen(writing, "w") as told:
            with open(f"/run/netns/{net.prefix}node", "rb") as file:  # noqa: PTH123 - a descriptor is what is wanted
                assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0
            try:
                options = Options(root=str(net.root), abilities=can)
                done = reconcile(str(directory), options) if directory else undo(options)
                text = "\n".join(done.operations)
            except PodlanError as error:
                text = f"error: {error}"
            told.write(text)
            told.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(pid, 0)
    return text


def prefix_routes(net):
    return net.ip("route", "show", PREFIX).splitlines()


@pytest.mark.parametrize(
    ("release", "lacking"),
    [
        ("3.8.13", {"macvlan", "metrics", "altnames", "protocols"}),
        ("4.15.0-213-generic", {"metrics", "altnames", "protocols"}),
        ("5.5.0-rc1", {"protocols"}),
        ("5.18.0", set()),
        ("6.18.5+deb14-cloud-amd64", set()),
        ("unheard of", set()),
    ],
)
def test_abilities_follow_the_release(release, lacking):
    assert abilities(release) == replace(Abilities(release), **dict.fromkeys(lacking, False))
    assert abilities().release == os.uname().release


def test_a_finding_names_what_is_lacking_and_only_what_nothing_stands_in_for():
    plan = Plan("n", links=(Link("eth0", "master", altnames=("lan0",)), Link("macvlan0", "macvlan", master="eth0")))

    def told(plan, release):
        seen = Observed(sysctls=dict.fromkeys(plan.sysctls), abilities=abilities(release))
        found = preflight(plan, State(), seen, Root("/"))
        return [one.message for one in found if one.code == "PL602"]

    assert told(plan, "3.8.0") == [
        "Linux 3.8.0 has no macvlan: that came with 3.9",
        "Linux 3.8.0 has no second names of links, such as lan0: that came with 5.5",
    ]
    assert told(MOVE_PLAN, "5.6.0") == []
    moved = replace(SHIM_PLAN, addresses=(Address("macvlan0", "fd00::1/64", metric=50),))
    assert told(moved, "4.17.0") == ["Linux 4.17.0 has no metrics of addresses: that came with 4.18"]


@on_the_kernel
def test_without_metrics_an_address_moves_by_routes_and_comes_back_exactly(net):
    before = net.state()
    lines = run(net, MOVE_PLAN).splitlines()
    assert f"ip address add {NODE}/24 dev macvlan0" in lines
    assert lines.index(f"ip route add {PREFIX} dev eth0 proto 112 scope link src {NODE} metric 512") < lines.index(
        f"ip route delete {KERNELS_OWN}"
    )
    assert not [line for line in lines if "metric 50" in line or "address change" in line]
    assert [line.split(" src")[0].strip() for line in prefix_routes(net)] == [
        f"{PREFIX} dev macvlan0 proto kernel scope link",
        f"{PREFIX} dev eth0 proto 112 scope link",
    ]
    assert "proto 0x70" not in net.ip("address", "show", "dev", "macvlan0"), "no protocol of addresses either"
    state = net.state()
    assert run(net, MOVE_PLAN) == ""
    with net.pod() as pod:
        assert net.reaches("node", POD, 2)
        assert net.reaches(pod, NODE, 2)
        for name in ("peer", "gw"):
            assert net.reaches(name, NODE)
        for address in (PEER, GATEWAY, "198.51.100.1"):
            assert net.reaches("node", address)

    for command, repair in (
        (f"route append {KERNELS_OWN}", f"ip route delete {KERNELS_OWN}"),
        (
            f"route del {PREFIX} metric 512",
            f"ip route add {PREFIX} dev eth0 proto 112 scope link src {NODE} metric 512",
        ),
    ):
        net.ip(*command.split())
        assert run(net, MOVE_PLAN) == repair
        assert net.state() == state
    assert "rolled back" in run(net, replace(NONE_PLAN, links=MOVE_PLAN.links, routes=(REFUSED,)))
    assert net.state() == state, "giving back is taken back"

    run(net, NONE_PLAN)
    assert net.state() == before
    assert run(net, NONE_PLAN) == ""


@on_the_kernel
def test_without_metrics_what_fails_is_taken_back_and_a_lost_child_costs_nothing(net):
    before = net.state()
    assert "rolled back" in run(net, replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, REFUSED)))
    assert net.state() == before

    run(net, MOVE_PLAN)
    state = net.state()
    net.ip("link", "del", "macvlan0")
    assert net.reaches("node", PEER)
    run(net, MOVE_PLAN)
    assert net.state() == state
    net.ip("link", "del", "macvlan0")
    run(net, NONE_PLAN)
    assert net.state() == before
    # A link that goes down and up has the kernel's own route again.
    run(net, MOVE_PLAN)
    net.batch("node", ["link set eth0 down", "link set eth0 up"])
    run(net, MOVE_PLAN)
    assert net.state() == state
    run(net, None)
    assert [line.strip() for line in prefix_routes(net)] == [f"{PREFIX} dev eth0 proto kernel scope link src {NODE}"]


@on_the_kernel
@pytest.mark.parametrize("rp_filter", ["0", "1"])
def test_without_metrics_a_move_there_and_back_loses_no_packet_of_a_peer(net, rp_filter):
    for link in ("all", "default", "eth0"):
        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
    with net.pinging("peer", NODE) as counts, net.pinging("node", PEER) as own:
        assert "rolled back" in run(net, replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, REFUSED)))
        run(net, MOVE_PLAN)
        run(net, SHIM_PLAN)
        run(net, MOVE_PLAN)
        run(net, NONE_PLAN)
    for sent, received in (counts, own):
        assert sent > 200
        assert received == sent


@on_the_kernel
def test_without_protocols_the_state_file_alone_tells_whose_an_address_is(net):
    run(net, SHIM_PLAN)
    assert run(net, SHIM_PLAN) == ""
    net.ip("address", "add", "172.16.129.77/32", "dev", "macvlan0")
    other = replace(SHIM_PLAN, addresses=(Address("macvlan0", "172.16.129.198/32"),), routes=())
    assert f"ip address delete {SHIM}/32 dev macvlan0" in run(net, other)
    addresses = net.ip("address", "show", "dev", "macvlan0")
    assert "172.16.129.198/32" in addresses
    assert "172.16.129.77/32" in addresses, "not podlan's"
    assert "0x70" not in addresses
    # What was made without a number is known to a run that gives numbers, and the other way round.
    assert run(net, other, Abilities()) == ""
    assert f"ip address delete {'172.16.129.198'}/32" in run(net, SHIM_PLAN, Abilities())
    assert run(net, SHIM_PLAN) == ""
    before = net.state()
    assert "rolled back" in run(net, replace(other, routes=(REFUSED,)))
    assert net.state() == before
