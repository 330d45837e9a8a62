"""An IPv6 address is given and kept as carefully as an IPv4 one: nobody's is taken, and what failed is told."""

import contextlib
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from forked import eventually
from lan import NODE, SHIM_PLAN
from lan import SHIM as SHIM4

from podlan.plan import Address, Route
from podlan.render import boot_script

pytestmark = pytest.mark.kernel

OWN, SHIM, OTHER = "fd00:81::65", "fd00:81::c7", "fd00:81::66"
WAY = "fd00:81::6e/127"
PLAN = replace(
    SHIM_PLAN,
    addresses=(
        *(replace(one, announce=True) for one in SHIM_PLAN.addresses),
        Address("macvlan0", f"{SHIM}/128", announce=True),
    ),
    routes=(*SHIM_PLAN.routes, Route("macvlan0", WAY, source=SHIM)),
    sysctls={**SHIM_PLAN.sysctls, "net/ipv6/conf/macvlan0/disable_ipv6": "0"},
)
IDENTIFIED = replace(PLAN, identity=(NODE, OWN))


@pytest.fixture
def six(net):
    net.batch("node", [f"addr add {OWN}/64 dev eth0 nodad"])
    net.batch("peer", [f"addr add {OTHER}/64 dev eth0 nodad"])
    return net


def mac_of(net, name, link="eth0"):
    return net.run(name, "cat", f"/sys/class/net/{link}/address").stdout.strip()


def shown(net, address, link="macvlan0"):
    return net.ip("-6", "-o", "addr", "show", "dev", link, "to", address)


def settle(net):
    """Wait until all of the node's links have their own addresses, without which they ask no neighbour for others."""
    eventually("tentative", lambda: not net.ip("-6", "addr", "show", "tentative"))


@contextlib.contextmanager
def running(net, name, program, *arguments):
    """Run Python in a namespace until the block ends; it has begun when it has said so."""
    argv = net.argv(name, sys.executable, "-c", program, *arguments)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()
            yield process
        finally:
            process.kill()


CLAIM = """
import sys, time
from podlan.node import frames
family, build = (0x86DD, frames._solicitation) if ":" in sys.argv[1] else (0x0806, frames._question)
with frames._open("eth0", family) as wire:
    print("ready", flush=True)
    while True:
        frame = build(wire.getsockname()[4], sys.argv[1])
        wire.send(bytes.fromhex(sys.argv[2].replace(":", "")) + frame[6:] if sys.argv[2:] else frame)
        time.sleep(0.05)
"""
LISTEN = """
import sys
from podlan.node import frames
print("ready", flush=True)
frames.claimants([("eth0", sys.argv[1])], (), 3)
"""
HEAR = """
import select, sys, time
from podlan.node import frames
print("ready", flush=True)
with frames._open("eth0", 0x86DD) as wire:
    wire.send(frames._solicitation(wire.getsockname()[4], sys.argv[1]))
    kinds, end = set(), time.monotonic() + 0.5
    while select.select([wire], [], [], max(0, end - time.monotonic()))[0]:
        kinds.add(wire.recv(2048)[54])
    print(*kinds, flush=True)
"""
FLOOD = """
import socket
wire = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
print("ready", flush=True)
while True:
    wire.sendto(bytes(64), ("fd00:81::65", 9))
"""


def test_an_address_that_another_machine_has_is_left_to_it(six):
    six.batch("peer", [f"addr add {SHIM}/128 dev eth0 nodad"])
    before = six.state()
    said = six.reconcile(PLAN, code=1).stderr
    assert f"{SHIM} is answered by {mac_of(six, 'peer')}: another machine has it [PL626]" in said
    assert six.state() == before
    assert not (six.root / "var/lib/podlan/state.json").exists()
    six.batch("node", ["link add macvlan0 link eth0 type macvlan mode bridge", "link set macvlan0 up"])
    assert "PL626" in six.reconcile(PLAN, code=1).stderr, "asked through the child, where there is one"
    six.batch("node", ["link del macvlan0"])
    six.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
    assert "PL626" in six.reconcile(PLAN, code=1).stderr, "heard where IPv6 is off on the master"

    six.batch("peer", [f"addr del {SHIM}/128 dev eth0"])
    six.reconcile(PLAN)
    assert " nodad " in shown(six, SHIM), "the kernel's own question would take a second or two more"


@pytest.mark.parametrize("address", [SHIM, SHIM4])
def test_who_asks_for_the_address_at_the_same_time_may_take_it(six, address):
    with running(six, "peer", CLAIM, address):
        before = six.state()
        assert f"{address} is answered by {mac_of(six, 'peer')}" in six.reconcile(PLAN, code=1).stderr
        assert six.state() == before
    with running(six, "peer", CLAIM, address, mac_of(six, "node")):  # a switch that keeps track of its ports
        six.reconcile(PLAN)


def test_switches_that_watch_groups_are_told_who_asks(six):
    """The network delivers a group's frames where the group is; so does a network card, to its host."""
    with running(six, "node", LISTEN, SHIM):
        eventually("not in time", lambda: "ff02::1:ff00:c7" in six.ip("maddr", "show", "dev", "eth0"))
    six.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
    groups = "33:33:00:00:00:01", "33:33:ff:00:00:c7"
    assert not any(group in six.ip("maddr", "show", "dev", "eth0") for group in groups)
    with running(six, "node", LISTEN, SHIM):
        eventually("not in time", lambda: all(group in six.ip("maddr", "show", "dev", "eth0") for group in groups))


def test_of_all_that_a_busy_link_carries_only_answers_are_heard(six):
    with running(six, "peer", FLOOD), running(six, "node", HEAR, OTHER) as hearing:
        heard = hearing.stdout.readline().split()
    assert {"136"} <= set(heard) <= {"135", "136"}


def test_what_the_kernel_found_to_be_anothers_is_told_and_repaired_when_it_is_free(six):
    directory = six.directory(PLAN)
    six.reconcile(directory)
    six.batch("node", [f"addr del {SHIM}/128 dev macvlan0"])
    six.batch("peer", [f"addr add {SHIM}/128 dev eth0 nodad"])
    six.batch("node", [f"addr add {SHIM}/128 dev macvlan0"])
    eventually("not in time", lambda: "dadfailed" in shown(six, SHIM))
    before = six.state()
    said = six.reconcile(directory, code=1).stderr
    assert f"{SHIM} on macvlan0 stays unused: {mac_of(six, 'peer')} has it, on another machine [PL655]" in said
    assert six.state() == before

    six.batch("peer", [f"addr del {SHIM}/128 dev eth0"])
    done = six.reconcile(directory).stdout
    assert f"ip address delete {SHIM}/128 dev macvlan0" in done
    assert "dadfailed" not in shown(six, SHIM)
    assert f"{WAY} dev macvlan0 proto 112 src {SHIM}" in six.ip("-6", "route")
    assert six.reaches("node", OTHER)
    assert six.reconcile(directory).stdout.startswith("nothing to do")


def test_a_repair_that_fails_leaves_the_address_as_unused_as_it_was(six):
    six.reconcile(PLAN)
    six.batch("peer", [f"addr add {SHIM}/128 dev eth0 nodad"])
    six.batch("node", [f"addr del {SHIM}/128 dev macvlan0", f"addr add {SHIM}/128 dev macvlan0"])
    eventually("not in time", lambda: "dadfailed" in shown(six, SHIM))
    six.batch("peer", [f"addr del {SHIM}/128 dev eth0"])
    failing = replace(PLAN, routes=(*PLAN.routes, Route("macvlan0", "fd00:99::/64", gateway="fd00:98::1")))
    assert "rolled back" in six.reconcile(failing, code=1).stderr
    assert " nodad " not in shown(six, SHIM), "the kernel asks for it again"
    assert SHIM in shown(six, SHIM)


def test_an_address_of_podlans_that_the_kernel_still_asks_for_is_waited_for(six):
    directory = six.directory(PLAN)
    six.reconcile(directory)
    six.batch("node", [f"addr del {SHIM}/128 dev macvlan0", f"addr add {SHIM}/128 dev macvlan0"])
    assert f"{SHIM} on macvlan0 is tentative [PL657]" in six.reconcile(directory, code=75).stderr
    assert f"{WAY} src {SHIM}" in six.reconcile(directory, "--wait", "5").stdout.replace(" dev macvlan0 proto 112", "")
    assert six.reconcile(directory).stdout.startswith("nothing to do")


def test_a_clone_is_known_by_the_address_that_the_kernel_does_not_use(six, tmp_path):
    six.batch("peer", [f"addr add {OWN}/64 dev eth0 nodad"])
    six.batch("node", [f"addr del {OWN}/64 dev eth0", f"addr add {OWN}/64 dev eth0"])
    before = six.state()
    first = six.reconcile(IDENTIFIED, code=75).stderr
    assert f"{OWN} on eth0 is tentative [PL657]" in first
    said = six.reconcile(IDENTIFIED, "--wait", "5", code=1).stderr
    assert f"another machine has {OWN}, so eth0 does not use it [PL656]" in said
    script = tmp_path / "boot.sh"
    script.write_bytes(boot_script(IDENTIFIED).replace(b"tries=60", b"tries=1"))
    done = six.run("node", "sh", script, check=False)
    assert (done.returncode, done.stderr) == (75, f"boot.sh: {OWN} of node-1 is not there\n")
    assert [part.replace("tentative", "dadfailed tentative") for part in before[1:2]] == [six.state()[1]]
    assert "macvlan0" not in six.ip("link")


def test_without_a_carrier_nobody_waits_for_what_cannot_be_asked(six):
    six.batch("sw", ["link set p-node down"])
    six.batch("node", [f"addr del {OWN}/64 dev eth0", f"addr add {OWN}/64 dev eth0"])
    assert "tentative" in shown(six, OWN, "eth0")
    six.reconcile(IDENTIFIED)


def test_a_node_whose_ipv6_is_off_by_default_has_it_on_its_child(six):
    six.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    without = replace(PLAN, sysctls=SHIM_PLAN.sysctls)
    assert "IPv6 is disabled on this device" in six.reconcile(without, code=1).stderr
    six.reconcile(PLAN)
    settle(six)
    assert six.reaches("peer", SHIM)


ADVERTISE = """
import socket, struct, time
from podlan.node import frames
prefix = socket.inet_pton(socket.AF_INET6, "fd00:77::")
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + prefix
with frames._open("eth0", 0x86DD) as wire:
    mac = wire.getsockname()[4]
    own = socket.inet_pton(socket.AF_INET6, "fe80::1")
    wire.send(frames._icmp6(mac, own, frames._ALL_NODES, body))
"""


def test_a_router_gives_the_master_what_it_advertises_and_the_child_nothing(six):
    six.sysctl("net/ipv6/conf/all/forwarding", "0")
    six.reconcile(PLAN)
    settle(six)
    six.run("gw", sys.executable, "-c", ADVERTISE)
    eventually("not in time", lambda: "fd00:77:" in six.ip("-6", "addr", "show", "dev", "eth0"))
    assert "fd00:77:" not in six.ip("-6", "addr", "show", "dev", "macvlan0")
    assert "default" in six.ip("-6", "route", "show", "dev", "eth0")
    assert "default" not in six.ip("-6", "route", "show", "dev", "macvlan0")
    assert "fe80::" in six.ip("-6", "addr", "show", "dev", "macvlan0"), "its own, which neighbour discovery needs"


def known(net, name, *addresses):
    """Give the MACs that a machine believes the addresses to be at."""
    macs = {}
    for line in net.run(name, "ip", "neigh").stdout.splitlines():
        words = line.split()
        if words[0] in addresses and "lladdr" in words:
            macs[words[0]] = words[words.index("lladdr") + 1]
    return [macs.get(address) for address in addresses]


def test_neighbours_learn_at_once_that_an_address_has_another_mac(six):
    """The own pods know the child in both families; the LAN knows it by IPv6, and by IPv4 its master."""
    six.reconcile(PLAN)
    with six.pod() as pod:
        six.batch(pod, ["addr add fd00:81::6e/64 dev eth0 nodad"])
        settle(six)
        macs = [mac_of(six, "node", "macvlan0"), "02:70:ac:10:81:99"]
        for change in ("link set macvlan0 down", "link del macvlan0"):
            assert all(six.reaches(name, SHIM) for name in ("peer", pod))
            assert six.reaches(pod, SHIM4)
            time.sleep(1.1)  # a Linux neighbour keeps what it learned less than a second ago
            assert [*known(six, "peer", SHIM), *known(six, pod, SHIM, SHIM4)] == [macs[0]] * 3
            macs.reverse()
            six.batch("node", [change])
            six.reconcile(replace(PLAN, links=(PLAN.links[0], replace(PLAN.links[1], mac=macs[0]))))
            assert [*known(six, "peer", SHIM), *known(six, pod, SHIM, SHIM4)] == [macs[0]] * 3
            settle(six)
