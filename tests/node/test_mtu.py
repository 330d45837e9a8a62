"""The MTU of the child on the host: set, kept, given back, never more than its master has."""

from dataclasses import replace

import pytest
from lan import CHILD, MAC, NODE, POD, SHIM_PLAN

from podlan.plan import Link, Plan, Route

pytestmark = pytest.mark.kernel

REFUSED = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")


def planned(mtu, **changes):
    links = (Link("eth0", "master", promisc=True, mtu=mtu), replace(CHILD, mtu=mtu))
    return replace(SHIM_PLAN, links=links, **changes)


def mtu(net, link="macvlan0"):
    return int(net.ip("-o", "link", "show", "dev", link).split(" mtu ")[1].split()[0])


def test_a_child_has_the_mtu_of_the_plan_from_its_first_moment_and_keeps_it(net):
    directory = net.directory(planned(1400))
    done = net.reconcile(directory)
    assert f"+ ip link add link eth0 name macvlan0 address {MAC} mtu 1400 type macvlan mode bridge" in done.stdout
    assert (mtu(net), mtu(net, "eth0")) == (1400, 1500)
    assert net.reconcile(directory).stdout.startswith("nothing to do")

    net.ip("link", "set", "macvlan0", "mtu", "1300")
    assert net.reconcile(directory).stdout == "+ ip link set dev macvlan0 mtu 1400\n"
    # The kernel lowers a child with its master and does not raise it again.
    net.batch("node", ["link set eth0 mtu 1300", "link set eth0 mtu 1500"])
    assert net.reconcile(directory).stdout == "+ ip link set dev macvlan0 mtu 1400\n"

    net.reconcile(planned(1350, routes=(*SHIM_PLAN.routes, REFUSED)), code=1)
    assert mtu(net) == 1400, "taken back"
    net.reconcile(SHIM_PLAN)
    assert mtu(net) == 1500, "what a child has of whom nobody says it"
    net.ip("link", "set", "macvlan0", "mtu", "1450")
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do"), "left alone"


def test_an_mtu_above_the_masters_is_refused_before_anything_changes_and_waited_for(net):
    before = net.state()
    for plan in (planned(9000), Plan("node-1", links=(Link("eth0", "master", mtu=9000),))):
        said = net.reconcile(plan, code=75).stderr
        assert said.count("[PL650]") == 1
        assert "pods' MTU is 9000, and eth0, which carries them, has 1500" in said
        assert net.state() == before
    net.run("sw", "ip", "link", "set", "p-node", "mtu", "9000")
    net.ip("link", "set", "eth0", "mtu", "9000")
    net.reconcile(planned(9000))
    assert mtu(net) == 9000
    with net.pod() as pod:
        assert not net.run("node", "ping", "-q", "-c", "1", "-W", "1", "-M", "do", "-s", "8972", POD).returncode
        assert net.reaches(pod, NODE)


def test_an_mtu_too_small_for_ipv6_and_back_again(net):
    """Below 1280 the kernel takes IPv6 off a link, and its settings away; the plan has none of them then."""
    small = planned(576, sysctls={key: value for key, value in SHIM_PLAN.sysctls.items() if "ipv6" not in key})
    net.reconcile(SHIM_PLAN)
    state = net.state()
    setting = net.sysctl("net/ipv6/conf/macvlan0/accept_ra")
    net.reconcile(replace(small, routes=(*SHIM_PLAN.routes, REFUSED)), code=1)
    assert net.state() == state
    assert net.sysctl("net/ipv6/conf/macvlan0/accept_ra") == setting == "0"

    net.reconcile(small)
    assert mtu(net) == 576
    assert net.reconcile(small).stdout.startswith("nothing to do")
    net.reconcile(SHIM_PLAN)
    assert (mtu(net), net.sysctl("net/ipv6/conf/macvlan0/accept_ra")) == (1500, "0")
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")
