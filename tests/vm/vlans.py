"""VLANs that podlan makes, on a kernel that knows them: run in a machine of its own, by `make e2e-vm`."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from lan import CHILD, GATEWAY, POD, SHIM, SHIM_PLAN, forked_in, write_directory

from podlan.plan import Link, Plan, Probe, Route
from podlan.render import boot_script

HOME = Path("/run/podlan-vm")
VLAN = Link("eth0.101", "vlan", promisc=True, master="eth0", vlan=101, alias="podlan: VLAN 101 of uplink", mtu=1400)
UNADVERTISED = {f"net/ipv6/conf/eth0.101/{key}": "0" for key in ("accept_ra", "autoconf")}
PLAN = Plan(
    "node-1",
    links=(VLAN, replace(CHILD, master="eth0.101", mtu=1400)),
    addresses=SHIM_PLAN.addresses,
    routes=SHIM_PLAN.routes,
    sysctls={
        **UNADVERTISED,
        "net/ipv4/conf/eth0.101/arp_filter": "1",
        "net/ipv4/conf/macvlan0/arp_filter": "1",
        "net/ipv4/conf/macvlan0/arp_announce": "2",
    },
    probes=(Probe("eth0.101", GATEWAY),),
)
NONE = Plan("node-1")
DIRECTORIES = iter(range(1000))


def ip(namespace, *words, check=True):
    argv = ["ip", "-n", namespace, *words]
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout


def reaches(namespace, address):
    argv = ["ip", "netns", "exec", namespace, "ping", "-q", "-c", "1", "-W", "2", address]
    return not subprocess.run(argv, check=False, capture_output=True).returncode


def reconcile(plan, *options, code=0):
    directory = write_directory(HOME / f"plan-{next(DIRECTORIES)}", plan, {"boot.sh": boot_script(plan)})
    arguments = ["reconcile", "--root", str(HOME / "root"), *options, str(directory)]
    done = forked_in("node", HOME, arguments)
    assert done.returncode == code, done
    return done


def settled(plan):
    done = reconcile(plan)
    assert reconcile(plan).stdout.startswith("nothing to do"), done
    return done


def state():
    """Give all that a run could leave behind, and not what follows by itself in the kernel's own time."""
    links = re.sub(r"(?m)^\d+: |,?(LOWER_UP|NO-CARRIER|M-DOWN)|state \w+|@if\d+", "", ip("node", "-d", "-o", "link"))
    routes = [line for line in ip("node", "-6", "route").splitlines() if not line.startswith("fe80:")]
    addresses = [line.partition(" ")[2] for line in ip("node", "-4", "-o", "address").splitlines()]
    return links, addresses, ip("node", "route"), routes


def expect(before):
    assert state() == before, "\n".join(map(str, (*before, "", *state())))


def wire():
    HOME.mkdir()
    (HOME / "root").mkdir()
    for name in ("node", "peer", "pod"):
        subprocess.run(["ip", "netns", "add", name], check=True)
    ip("node", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "peer")
    for name in ("node", "peer"):
        ip(name, "link", "set", "eth0", "up")
    ip("peer", "link", "add", "link", "eth0", "name", "lan", "type", "vlan", "id", "101")
    ip("peer", "address", "add", f"{GATEWAY}/24", "dev", "lan")
    ip("peer", "link", "set", "lan", "up")


def attach_pod():
    ip("node", "link", "add", "link", "eth0.101", "name", "pod0", "netns", "pod", "type", "macvlan", "mode", "bridge")
    ip("pod", "address", "add", f"{POD}/24", "dev", "pod0")
    ip("pod", "link", "set", "pod0", "up")
    ip("peer", "neighbour", "flush", "dev", "lan")  # an earlier pod had another MAC


def it_is_made_kept_and_removed():
    before = state()
    done = settled(PLAN)
    assert "+ ip link add link eth0 name eth0.101 mtu 1400 type vlan id 101\n" in done.stdout, done
    shown = ip("node", "-d", "-o", "link", "show", "eth0.101")
    for words in (
        "eth0.101@eth0",
        "vlan protocol 802.1Q id 101",
        "alias podlan: VLAN 101",
        "mtu 1400",
        "PROMISC",
        ",UP",
    ):
        assert words in shown, (words, shown)
    attach_pod()
    for one, other in (("node", POD), ("pod", SHIM), ("peer", POD), ("pod", GATEWAY)):
        assert reaches(one, other), (one, other)
    for drift, repair in (
        (("mtu", "1300"), "mtu 1400"),
        (("alias", "x"), "alias 'podlan: VLAN 101 of uplink'"),
        (("promisc", "off"), "promisc on"),
    ):
        ip("node", "link", "set", "eth0.101", *drift)
        assert f"+ ip link set dev eth0.101 {repair}\n" in reconcile(PLAN).stdout, drift
    ip("node", "link", "set", "eth0", "down")
    assert "[PL605]" in reconcile(PLAN, code=75).stderr
    ip("node", "link", "set", "eth0", "up")
    settled(PLAN)

    other = replace(PLAN, links=(replace(VLAN, vlan=102), PLAN.links[1]), probes=())
    assert "[PL652]" in reconcile(other, code=1).stderr
    said = reconcile(NONE)
    assert "[PL653]" in said.stderr, said
    assert "+ ip link delete dev macvlan0\n" in said.stdout
    assert reaches("peer", POD), "nothing is taken from pods"
    assert reconcile(NONE).stdout.startswith("nothing to do")
    settled(PLAN)
    ip("pod", "link", "delete", "pod0")
    # On the other VLAN nobody answers: with a probe the run goes back to the one where somebody does.
    assert f"{GATEWAY} answered before" in reconcile(replace(other, probes=PLAN.probes), code=1).stderr
    assert "id 101" in ip("node", "-d", "link", "show", "eth0.101")
    settled(other)
    assert "id 102" in ip("node", "-d", "link", "show", "eth0.101")
    renamed = replace(
        PLAN, links=(replace(VLAN, name="lan0"), replace(PLAN.links[1], master="lan0")), sysctls={}, probes=()
    )
    settled(PLAN)
    settled(renamed)
    assert "eth0.101" not in ip("node", "link")
    settled(NONE)
    expect(before)


def a_failure_takes_all_of_it_back():
    before = state()
    refused = replace(PLAN, routes=(*PLAN.routes, Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")))
    assert "rolled back" in reconcile(refused, code=1).stderr
    expect(before)
    settled(PLAN)
    made = state()
    # Deleting and making anew is undone, too: the other VLAN's run fails after it.
    moved = replace(refused, links=(replace(VLAN, vlan=102), PLAN.links[1]))
    reconcile(moved, code=1)
    expect(made)
    assert reconcile(PLAN).stdout.startswith("nothing to do")
    settled(NONE)


def a_vlan_of_others_is_used_or_refused():
    ip("node", "link", "add", "link", "eth0", "name", "eth0.101", "type", "vlan", "id", "101")
    ip("node", "link", "set", "eth0.101", "up")
    done = settled(PLAN)
    assert "type vlan" not in done.stdout, done
    assert "accept_ra" not in done.stdout, "whoever made it decides about its addresses"
    assert "[PL654]" in done.stderr
    assert "alias" not in ip("node", "-o", "link", "show", "eth0.101")
    settled(NONE)
    assert "eth0.101" in ip("node", "link")
    foreign = replace(VLAN, vlan=7), PLAN.links[1]
    assert "[PL608]" in reconcile(replace(PLAN, links=foreign), code=1).stderr
    named = replace(VLAN, name="lan0"), replace(PLAN.links[1], master="lan0")
    assert "[PL651]" in reconcile(replace(PLAN, links=named, sysctls={}, probes=()), code=1).stderr
    ip("node", "link", "delete", "eth0.101")


def boot_sh_makes_the_same():
    settled(PLAN)
    reconciled = state()
    settled(NONE)
    script = HOME / "boot.sh"
    script.write_bytes(boot_script(PLAN))
    run = ["ip", "netns", "exec", "node", "sh", script]

    def told():
        done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout
        expect(reconciled)
        return done

    assert "+ ip link add link eth0 name eth0.101 type vlan id 101\n" in told()
    assert told() == "# nothing to do: the network is as planned\n"
    ip("node", "link", "set", "eth0.101", "mtu", "1300", "promisc", "off", "down")
    assert "+ ip link set dev eth0.101 mtu 1400 " in told()
    ip("node", "link", "set", "eth0.101", "promisc", "off")
    ip("node", "link", "delete", "eth0.101")
    ip("node", "link", "add", "link", "eth0", "name", "eth0.101", "type", "vlan", "id", "7")
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    assert (done.returncode, "eth0.101 is there, and is not VLAN 101 of eth0" in done.stderr) == (1, True), done
    ip("node", "link", "delete", "eth0.101")
    assert told()
    assert "+ ip" not in reconcile(PLAN).stdout
    settled(NONE)
    lines = reconcile(PLAN, "--dry-run").stdout
    subprocess.run(["ip", "netns", "exec", "node", "sh", "-e", "-c", lines], check=True)
    assert reconcile(PLAN).stdout.startswith("nothing to do")
    expect(reconciled)
    settled(NONE)


def undo_finds_it_by_its_mark():
    before = state()
    subprocess.run(["ip", "netns", "exec", "node", "sh", HOME / "boot.sh"], check=True, stdout=subprocess.DEVNULL)
    attach_pod()
    arguments = ["undo", "--root", str(HOME / "fresh")]
    (HOME / "fresh").mkdir()
    done = forked_in("node", HOME, arguments)
    assert (done.returncode, "[PL653]" in done.stderr) == (0, True), done
    assert "+ ip link delete dev macvlan0\n" in done.stdout
    assert reaches("peer", POD)
    ip("pod", "link", "delete", "pod0")
    done = forked_in("node", HOME, arguments)
    assert "+ ip link delete dev eth0.101\n" in done.stdout, done
    expect(before)


if __name__ == "__main__":
    wire()
    for scenario in (
        it_is_made_kept_and_removed,
        a_failure_takes_all_of_it_back,
        a_vlan_of_others_is_used_or_refused,
        boot_sh_makes_the_same,
        undo_finds_it_by_its_mark,
    ):
        begun = time.monotonic()
        scenario()
        sys.stdout.write(f"{scenario.__name__.replace('_', ' ')}: {time.monotonic() - begun:.1f} s\n")
        sys.stdout.flush()
