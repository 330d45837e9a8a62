"""Whoever speaks first after a shim or a move: all reach all, and each address is answered by one MAC."""

import contextlib
import itertools
import os
import time
from dataclasses import dataclass, replace

import pytest
from lan import FAR, GATEWAY, MAC, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM, SHIM_PLAN, Net
from speaking import Asker, Speaker, orders, who_answers
from traffic import inside

from podlan.plan import Address, Link, Plan, Route

pytestmark = pytest.mark.kernel

OTHER_POD, PEERS_POD, PEERS_OTHER_POD = "172.16.129.111", "172.16.129.120", "172.16.129.121"
PEERS_SHIM = "172.16.129.198"
SHIM_NOW = replace(SHIM_PLAN, addresses=(Address("macvlan0", f"{SHIM}/32", announce=True),))
PEERS_PLAN = Plan(
    "node-2",
    links=(Link("eth0", "master"), Link("macvlan0", "macvlan", master="eth0", mac="02:70:ac:10:81:c6")),
    addresses=(Address("macvlan0", f"{PEERS_SHIM}/32", announce=True),),
    routes=(Route("macvlan0", f"{PEERS_POD}/31", source=PEERS_SHIM),),
    sysctls=SHIM_PLAN.sysctls,
)
PLANS = {"shim": SHIM_NOW, "move": MOVE_PLAN}
ANNOUNCE = {"net/ipv4/conf/macvlan0/arp_announce": "2"}
FILTER = {f"net/ipv4/conf/{link}/arp_filter": "1" for link in ("eth0", "macvlan0")}


@dataclass(frozen=True)
class Case:
    """One LAN's part in a round."""

    order: int
    plan: str | Plan
    rp_filter: str
    arp_ignore: str

    @property
    def planned(self):
        return PLANS[self.plan] if isinstance(self.plan, str) else self.plan

    def __str__(self):
        return f"order {self.order}, {self.plan}, rp_filter={self.rp_filter}, arp_ignore={self.arp_ignore}"


class Lan:
    """Two nodes with two pods each, a gateway, and a client behind it; the other node has its own shim all the time."""

    def __init__(self, home, stack):
        home.mkdir()
        self.net = Net(home)
        stack.callback(self.net.down)
        self.net.up()
        self.net.up_behind_gateway()
        addresses = {NODE: "node", POD: "", OTHER_POD: "", PEER: "peer", PEERS_POD: "", PEERS_OTHER_POD: ""}
        for address, node in ((POD, "node"), (OTHER_POD, "node"), (PEERS_POD, "peer"), (PEERS_OTHER_POD, "peer")):
            addresses[address] = stack.enter_context(self.net.pod(address, node))
        addresses |= {GATEWAY: "gw", FAR: "far"}
        self.speakers = [Speaker(name, self.net.prefix + name, address) for address, name in addresses.items()]
        for speaker in self.speakers:
            # A node asks from the shim's address too, to its own pods.
            speaker.open(bound=speaker.name in ("node", "peer"))
            stack.callback(speaker.close)
        self.own_pods = (addresses[POD], addresses[OTHER_POD])
        for address in (PEERS_POD, PEERS_OTHER_POD):
            self.net.batch(addresses[address], [f"route add {PEER}/32 via {PEERS_SHIM}"])
        (home / "peer").mkdir()
        self.net.reconcile(PEERS_PLAN, root=home / "peer", name="peer")
        self.outside, self.within = Asker(self.speakers[6]), Asker(self.speakers[1])
        for asker in (self.outside, self.within):
            stack.callback(asker.wire.close)
        self.macs = {speaker.address: self.mac(speaker.name) for speaker in self.speakers[:6]}

    def mac(self, name):
        return self.net.run(name, "cat", "/sys/class/net/eth0/address").stdout.strip()

    def prepare(self, case):
        """Set what the case is about, and let everybody know everybody, as it is before the step."""
        for node, links in (("node", ("all", "default", "eth0")), ("peer", ("all", "default", "eth0", "macvlan0"))):
            with inside(self.net.prefix + node):
                for link in links:
                    write(f"net/ipv4/conf/{link}/rp_filter", case.rp_filter)
                write("net/ipv4/conf/all/arp_ignore", case.arp_ignore)
        for pod in self.own_pods:
            # A compiled CNI file has this route where there is a shim.
            verb = "del" if case.plan == "move" else "replace"
            self.net.run(pod, "ip", "route", verb, f"{NODE}/32", "via", SHIM, check=False)
        for speaker in self.speakers:
            self.net.run(speaker.name, "ip", "neigh", "flush", "all")
        assert self.unreached(range(len(self.speakers)), but=self.own_pods) == set(), case

    def unreached(self, order, seconds=1.0, but=()):
        """Let them speak in this order, each to all others; give who did not reach whom within so long.

        `but`: pods that the node and they do not ask each other: without a child of its own a master reaches none.
        """
        speakers = [self.speakers[number] for number in order]
        return {
            (speaker.name, other.name)
            for speaker in speakers
            for other in speakers
            if other is not speaker
            and not ("node" in (speaker.name, other.name) and {speaker.name, other.name} & set(but))
            and not speaker.reaches(other.address, seconds)
        }

    def believed(self, name, address):
        """Give the MAC at which a host believes an address to be, without asking anybody."""
        with inside(self.net.prefix + name), open("/proc/thread-self/net/arp", encoding="ascii") as file:  # noqa: PTH123 - below /proc
            return next((line.split()[3] for line in file if line.startswith(f"{address} ")), "")


@dataclass(frozen=True)
class Outcome:
    """What came of a round in one LAN: who did not reach whom, who answers on the LAN, what the others believe."""

    unreached: set
    answers: dict
    answers_within: dict
    believed: set

    def harm(self):
        """Give what is wrong with the node's own address."""
        return {
            *(["cut"] if self.unreached else []),
            *(["two MACs"] if len(self.answers[NODE]) > 1 else []),
            *(["misled"] if MAC in self.believed else []),
        }


def write(key, value):
    with open(f"/proc/sys/{key}", "w", encoding="ascii") as file:  # noqa: PTH123 - below /proc
        file.write(value)


def play(lans, cases, seconds=1.0):
    """Play one case in each LAN, all at the same time; everything is as before afterwards."""
    played = list(zip(lans, cases, strict=False))
    for lan, case in played:
        lan.prepare(case)
    time.sleep(1.1)  # the kernel ignores what would change a neighbour's entry that is younger than a second
    for finish in [lan.net.start_reconcile(case.planned) for lan, case in played]:
        finish()
    unreached = [lan.unreached(orders(len(lan.speakers))[case.order], seconds) for lan, case in played]
    believed = [{lan.believed(name, NODE) for name in ("gw", "peer")} for lan, _ in played]
    outside = who_answers([lan.outside for lan, _ in played], [*lans[0].macs, SHIM, PEERS_SHIM])
    within = who_answers([lan.within for lan, _ in played], [NODE, SHIM, OTHER_POD, PEER])
    for finish in [lan.net.start_reconcile(NONE_PLAN) for lan, _ in played]:
        finish()
    return [Outcome(*one) for one in zip(unreached, outside, within, believed, strict=True)]


@pytest.fixture(scope="module")
def lans(tmp_path_factory):
    home = tmp_path_factory.mktemp("lans")
    with contextlib.ExitStack() as stack:
        yield [Lan(home / str(number), stack) for number in range(8)]


def rounds():
    """Give rounds in which every order meets every rp_filter, and every two other values meet; or all there is."""
    values = [(plan, rp, ignore) for plan in PLANS for rp in "012" for ignore in "01"]
    if os.environ.get("PROOF"):
        return [[Case(order, *one) for order in range(8)] for one in values]
    return [
        [
            Case(order, list(PLANS)[(order // 2 + number) % 2], str(number), str((order + number) % 2))
            for order in range(8)
        ]
        for number in range(3)
    ]


def test_whoever_speaks_first_all_reach_all_and_each_address_has_one_mac(lans):
    for cases in rounds():
        for lan, case, outcome in zip(lans, cases, play(lans, cases), strict=True):
            right(lan, case, outcome)


def right(lan, case, outcome):
    assert outcome.unreached == set(), case
    here = MAC if case.plan == "move" else lan.macs[NODE]
    # A filtered child leaves answers to the link that leads to who asks, for the shim's address too; that link is
    # silent about what is not its own where it is told to be (arp_ignore). On the LAN nobody needs the address.
    shims = {PEERS_SHIM: lan.macs[PEER]} | ({} if case.plan == "move" else {SHIM: here})
    expected = lan.macs | {NODE: here} | (shims if case.arp_ignore == "0" else {})
    assert outcome.answers == {address: {mac} for address, mac in expected.items()}, case
    assert outcome.believed == {here}, case
    assert all(len(macs) == 1 for macs in outcome.answers_within.values()), (case, outcome.answers_within)


def test_without_the_settings_of_a_shim_the_same_round_shows_the_harm(lans):
    bare, filtered, announcing = (replace(SHIM_NOW, sysctls=some) for some in ({}, FILTER, ANNOUNCE))
    plans = {"bare": bare, "filtered": filtered, "announcing": announcing, "shim": "shim"}
    cases = [Case(0, plan, rp_filter, "0") for plan in plans.values() for rp_filter in "01"]
    played = play(lans, cases, 0.1)
    harm = dict(zip(itertools.product(plans, "01"), (outcome.harm() for outcome in played), strict=True))
    assert harm == {
        ("bare", "0"): {"two MACs", "misled"},
        ("bare", "1"): {"cut", "misled"},
        ("filtered", "0"): {"misled"},
        ("filtered", "1"): {"cut", "misled"},
        ("announcing", "0"): {"two MACs"},
        ("announcing", "1"): set(),
        ("shim", "0"): set(),
        ("shim", "1"): set(),
    }
