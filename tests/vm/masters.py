"""Masters that this machine's kernel may lack: bonds, VLANs on an interface and on a bond; failover while pods talk.

Virtual machines and a node in a network namespace are one compiled site on one switch; by `make e2e-vm`. Here podlan
meets a master that is not there yet by itself, and ends with 75: no systemd boots in these machines, since that alone
takes a quarter of a minute of each. How the unit waits for the devices of its masters tests/e2e proves.
"""

import contextlib
import itertools
import json
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from lan import GATEWAY
from streams import phase, say, streams_begin
from switch import OWN, Pod
from traffic import inside

SITE = Path(__file__).with_name("site")
DIRECTORY = "/root/compiled"  # where a node's directory is delivered to
PLUGINS = "/usr/lib/cni"
PODS = ("talks", "listens")
BOUNDS = {"bonded": 1.0, "mixed": 3.5}
"""Seconds of silence that a failover may cost a stream.

A bond that looks at the carrier every 100 ms has moved by the next look. One that asks a neighbour by ARP, here four
times a second, needs up to six questions; hearing nothing on any interface for a moment it is then without a carrier,
so pods ask anew for the MACs of their neighbours, and again after a second if that was too early.
"""
REBALANCED = 45.0  # seconds in which a bond must have moved a stream to another interface
SETTLED = 2.0  # seconds until a bond that begins to ask has heard something on each interface
WATCHED = "/run/watched"
ROUTER = "172.16.131.254"  # in the VLAN that a machine's operating system makes
UPLINK = "/etc/cni/net.d/05-podlan.conflist"
STORAGE = "/etc/cni/multus/net.d/storage.conflist"

# What operating systems set up on virtual machines before podlan comes.
BOND = (
    "link add bond0 type bond mode active-backup miimon 100",
    "link set eth0 master bond0",
    "link set eth1 master bond0",
    "link set bond0 type bond primary eth0",
    "link set bond0 up",
)
SYSTEM = {
    "bonded": (
        "bond0",
        (
            *BOND,
            f"address add {OWN['bonded']}/24 dev bond0",
            f"route add default via {GATEWAY}",
            "link add link bond0 name bond0.101 type vlan id 101",
            f"address add {ROUTER}/24 dev bond0.101",
            "link set bond0.101 up",
        ),
    ),
    "mixed": (
        "bond0",
        (
            *BOND,
            f"address add {OWN['mixed']}/24 dev bond0",
            f"route add default via {GATEWAY}",
            "link set eth2 up",
        ),
    ),
    "tagged": (
        "eth0.101",
        (
            "link set eth0 up",
            "link add link eth0 name eth0.101 type vlan id 101",
            f"address add {OWN['tagged']}/24 dev eth0.101",
            "link set eth0.101 up",
            f"route add default via {ROUTER}",
        ),
    ),
}
"""By the names of nodes: the interface that podlan misses until their operating system has made it, and how it does."""


# --- building it


def all_nodes_start(site):
    site.each(lambda node: node.run("true"))


def each_node_gets_its_directory(site):
    output = site.net.home / "output"
    compiling = [sys.executable, "-m", "podlan", "compile", "--locked", "--quiet", SITE, "-o", output]
    subprocess.run(compiling, check=True)

    def write(node):
        tree = output / "nodes" / node.name
        files = [path for path in tree.rglob("*") if path.is_file()]
        node.ask(write={f"{DIRECTORY}/{file.relative_to(tree)}": file.read_text() for file in files})

    site.each(write)


def podlan_waits_for_masters_that_the_system_makes(site):
    def reconcile(node):
        arguments = ("reconcile", "--no-restart", DIRECTORY)
        if node.name in SYSTEM:
            missing, lines = SYSTEM[node.name]
            early = node.podlan(*arguments, code=75)
            assert f"there is no interface {missing}" in early, early
            node.ip("link set lo up", *lines)
        said = node.podlan(*arguments)
        again = node.podlan(*arguments)
        assert again.startswith("nothing to do"), again
        node.podlan("reconcile", "--check", DIRECTORY)
        return said

    the_gateway_knows_the_way_into_the_vlan(site)
    said = site.each(reconcile)
    assert "+ ip link add link bond0 name bond0.100 type vlan id 100\n" in said["bonded"], said
    assert "+ ip link add link eth2 name eth2.100 type vlan id 100\n" in said["mixed"], said
    assert "type vlan" not in said["tagged"], said
    assert "+ ip link add link eth0.101 name macvlan0 " in said["tagged"], said


def the_gateway_knows_the_way_into_the_vlan(site):
    """This machine's kernel may have no VLANs, so a virtual one leads from the LAN into that of the node `tagged`."""
    for key in ("ip_forward=1", "conf.all.send_redirects=0", "conf.eth0.send_redirects=0"):
        site.net.run("gw", "sysctl", "-qw", f"net.ipv4.{key}")
    site.net.run("gw", "ip", "route", "add", "172.16.131.0/24", "via", OWN["bonded"])
    site.nodes["bonded"].run("sysctl", "-qw", "net.ipv4.ip_forward=1")


# --- pods


def attached(node, pod, file, interface):
    """Attach a pod with the plugins that the file names; give its address."""
    document = json.loads(node.run("cat", file))
    result = None
    for plugin in document["plugins"]:
        config = {**plugin, "name": document["name"], "cniVersion": document["cniVersion"]}
        environment = {
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": interface,
            "CNI_PATH": PLUGINS,
        }
        for command in ("ADD", "CHECK"):
            told = node.run(
                f"{PLUGINS}/{plugin['type']}",
                input=json.dumps(config if result is None else config | {"prevResult": result}),
                environment=environment | {"CNI_COMMAND": command},
            )
            result = result or json.loads(told)
    return result["ips"][0]["address"].partition("/")[0]


def pods_are_attached_by_the_plugins(site):
    def attach(node):
        for name in PODS:
            node.ip(f"netns add {name}")
            node.run("ip", "-n", name, "link", "set", "lo", "up")
            uplink = attached(node, name, UPLINK, "eth0")
            storage = attached(node, name, STORAGE, "net1") if node.name in {"bonded", "mixed"} else ""
            site.pods[f"{node.name}/{name}"] = Pod(node.name, name, uplink, storage)

    site.each(attach)


def everybody_reaches_everybody(site):
    """Pods each other and all nodes, where they share the network; nodes all pods, their own by the shim."""

    def pings(node):
        script = []
        own = [pod for pod in site.pods.values() if pod.node == node.name]
        uplinks = OWN | {str(pod): pod.uplink for pod in site.pods.values()}
        stores = {f"{pod} (storage)": pod.storage for pod in site.pods.values() if pod.storage}
        for pod in own:
            targets = uplinks | (stores if pod.storage else {})
            script.append(_pings(f"nsenter --net=/run/netns/{pod.name} ", str(pod), targets))
        by_shim = {f"{pod} (storage)": pod.storage for pod in own if pod.storage}
        script.append(_pings("", node.name, uplinks | by_shim))
        return node.run("sh", "-c", "\n".join(script)).splitlines()

    missed = list(itertools.chain.from_iterable(site.each(pings).values()))
    assert not missed, "\n".join(missed)


def _pings(enter, source, targets):
    """Give the words that try all targets at once, and tell of those that do not answer."""
    tries = (f"ping -q -c 1 -W 5 {to} >&2 || echo '{source} does not reach {name}' &" for name, to in targets.items())
    return f'{enter}sh -c "{" ".join(tries)} wait"'


# --- what happens to it


def failovers_cost_less_than_their_bound(site):
    bonded, mixed = site.nodes["bonded"], site.nodes["mixed"]
    watch = watching(bonded)
    streams_begin(site)
    mixed.ip(f"link set bond0 type bond arp_interval 250 arp_ip_target {GATEWAY}")
    time.sleep(SETTLED)
    calm = phase(site, "nothing happens", lambda: None)
    assert (len(calm.told), calm.worst("lost")) == (16, 0), calm.told

    def plugged(on):
        site.net.run("sw", "ip", "link", "set", "bonded-0", "up" if on else "down")
        bonded.qemu("set_link", name="eth0", up=on)

    def enabled(on):
        site.net.run("sw", "ip", "link", "set", "mixed-0", "up" if on else "down")

    for node, name, change in (
        (bonded, "the active interface is set down", lambda: bonded.ip("link set eth0 down")),
        (bonded, "it is set up", lambda: bonded.ip("link set eth0 up")),
        (bonded, "its cable is pulled out", lambda: plugged(on=False)),
        (bonded, "its cable is plugged in", lambda: plugged(on=True)),
        (mixed, "the switch's port is off, with a carrier", lambda: enabled(on=False)),
        (mixed, "the switch's port is on", lambda: enabled(on=True)),
    ):
        before = active(node)
        done = phase(site, f"{node.name}: {name}", change, concerns=node.name)
        assert active(node) != before, (node.name, before)
        assert len(done.told) == 12, done.told
        assert done.worst("silence") < BOUNDS[node.name], done.told
        the_switch_knows(site, node)
    mixed.ip("link set bond0 type bond miimon 100")
    everybody_reaches_everybody(site)
    site.each(lambda node: node.podlan("reconcile", "--check", DIRECTORY))
    bonded.run("kill", watch)
    said = bonded.run("cat", WATCHED)
    assert "+ " not in said, said


def watching(node):
    """Start what repairs drift on a node: a failover is none; gives its process number."""
    argv = shlex.join([sys.executable, "-m", "podlan.node", "reconcile", "--watch", "--no-restart", DIRECTORY])
    pid = node.run("sh", "-c", f"{argv} >{WATCHED} 2>&1 & echo $!").strip()
    node.run("sh", "-c", f"until grep -q 'watched from now on' {WATCHED}; do kill -0 {pid} && sleep 0.2 || exit; done")
    return pid


def active(node):
    return node.run("cat", "/sys/class/net/bond0/bonding/active_slave").strip()


def the_switch_knows(site, node):
    """The switch sends by the active port what is for any MAC of the bond, also those of pods that never say a word."""
    port = f"{node.name}-{active(node).removeprefix('eth')}"
    links = node.run("ip", "-o", "link", "show", "type", "macvlan").splitlines()
    for name in PODS:
        links += node.run("ip", "-n", name, "-o", "link", "show", "type", "macvlan").splitlines()
    for link in links:
        mac = _mac(link)
        on_bond = node.name == "bonded" or not any(word in link for word in ("net1@", "mv-storage@"))
        assert not on_bond or site.port(mac) == port, (link, site.port(mac), port)


def a_bond_that_gives_pods_other_macs_is_told(site):
    """The modes that balance what a machine sends: a pod's frames leave with its own MAC by one interface only."""
    mixed = site.nodes["mixed"]
    ports = {"mixed-0", "mixed-1"}
    own = {_mac(link) for link in mixed.run("ip", "-n", "talks", "-o", "link", "show", "dev", "eth0").splitlines()}
    address = socket.inet_aton(site.pods["mixed/talks"].uplink)
    for said in site.each(lambda node: node.podlan("doctor", "--no-wire", DIRECTORY)).values():
        assert "[PL695]" not in said, said
    assert senders(site, ports, address) == own
    mixed.ip(
        "link set bond0 down",
        *(f"link set eth{number} {what}" for number in (0, 1) for what in ("nomaster", "down")),
        "link set bond0 type bond mode balance-alb miimon 100",
        *(f"link set eth{number} master bond0" for number in (0, 1)),
        "link set bond0 up",
        f"route replace default via {GATEWAY}",
    )
    said = mixed.podlan("doctor", "--no-wire", DIRECTORY)
    assert "bond0 is a bond in mode balance-alb, and pods' frames leave by it" in said, said
    seen = senders(site, ports, address, beside=own)
    assert seen - own, (seen, own)
    say(f"  balance-alb: packets of a pod, {', '.join(own)}, come to the switch from {', '.join(seen - own)}")


def senders(site, ports, address, beside=()):
    """Give the MACs with which IPv4 packets from an address come to the switch, until one comes that is not `beside`.

    Without those it listens for some seconds; a bond in such a mode looks every 10 s where to send what.
    """
    found = set()
    with inside(f"{site.net.prefix}sw"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.settimeout(0.5)
        end = time.monotonic() + (REBALANCED if beside else 2.0)
        while time.monotonic() < end and not (beside and found - beside):
            with contextlib.suppress(TimeoutError):
                frame, (port, _, kind, *_) = wire.recvfrom(2048)
                incoming = port in ports and kind != socket.PACKET_OUTGOING
                if incoming and frame[12:14] == b"\x08\0" and frame[26:30] == address:
                    found.add(frame[6:12].hex(":"))
    return found


def _mac(link):
    """Take it from a line of `ip -o link`."""
    return link.partition(" link/ether ")[2].split()[0]
