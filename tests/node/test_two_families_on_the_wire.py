"""A compiled site of both families on the wire: one MAC an address, and no packet lost on the way there and back."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from forked import eventually
from lan import GATEWAY, NODE, NONE_PLAN, PEER, forked_in

from podlan import pipeline

pytestmark = pytest.mark.kernel

NODE6, PEER6, GATEWAY6 = "fd00:81::65", "fd00:81::66", "fd00:81::fe"
SHIM6 = "fd00:81::c7"
SITE = f"""\
version: 1
site: lab
cluster: {{kubernetes: "1.31", runtime: containerd}}
cni: {{name: pods}}
subnets:
  lan: {{cidr: 172.16.129.0/24, gateway: {GATEWAY}, routes: [{{dst: 0.0.0.0/0}}]}}
  six: {{cidr: "fd00:81::/64", gateway: "{GATEWAY6}", routes: [{{dst: "::/0"}}]}}
masters:
  uplink:
    interface: eth0
    subnets: [lan, six]
    hostAccess: {{via: VIA, pool: ["fd00:81::c6-fd00:81::c7", 172.16.129.198-199]}}
nodes:
  node-1:
    masters: {{uplink: {{addresses: [{NODE}, "{NODE6}"], ranges: [172.16.129.110-111, "fd00:81::110/124"]}}}}
  node-2:
    masters: {{uplink: {{addresses: [{PEER}, "{PEER6}"], ranges: [172.16.129.120-121, "fd00:81::120/124"]}}}}
"""
ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 7777), family=family) as door:
    print("ready", flush=True)
    stream = door.accept()[0]
    while part := stream.recv(4096):
        stream.sendall(part)
"""
TALK = """
import select, socket, sys
with socket.create_connection((sys.argv[1], 7777)) as stream:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("ready", flush=True)
    said = 0
    while not select.select([sys.stdin], [], [], 0.003)[0]:
        stream.sendall(bytes(64))
        assert stream.recv(4096)
        said += 1
    retransmissions = int.from_bytes(stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[100:], sys.byteorder)
    print(said, retransmissions)
"""
PING = 'for one; do ping -qc1 -W1 "$one" >&2 || echo "$one"; done'
WHO = """
import json, select, socket, sys, time
from podlan.node import frames
wires, found = {}, {address: set() for address in sys.argv[2:]}
for address in found:
    wire = frames._open("eth0", 0x86DD if ":" in address else 0x0806)
    wires[wire], mac = address, wire.getsockname()[4]
    if ":" in address:
        wire.send(frames._solicitation(mac, address))
    else:  # by name: arp_filter asks for the way back to who asks
        wire.send(frames._arp(mac, 1, socket.inet_aton(sys.argv[1]), bytes(6), socket.inet_aton(address)))
end = time.monotonic() + 0.3
while heard := select.select(list(wires), [], [], max(0, end - time.monotonic()))[0]:
    for wire in heard:
        frame = wire.recv(2048)
        if frames._claims(frame, wires[wire]):
            found[wires[wire]].add(frame[6:12].hex(":"))
print(json.dumps({address: sorted(macs) for address, macs in found.items()}))
"""


@pytest.fixture
def lan(net):
    net.batch("node", [f"addr add {NODE6}/64 dev eth0 nodad", f"route add default via {GATEWAY6}"])
    net.batch("peer", [f"addr add {PEER6}/64 dev eth0 nodad", f"route add default via {GATEWAY6}"])
    net.batch("gw", [f"addr add {GATEWAY6}/64 dev eth0 nodad"])
    return net


def settle(net):
    show = ("ip", "-6", "addr", "show", "tentative")
    eventually("tentative", lambda: not any(net.run(name, *show).stdout for name in ("node", "peer", "gw")))


def compiled(via, home):
    (home / "site").mkdir()
    (home / "site/site.yaml").write_text(SITE.replace("VIA", via), encoding="utf-8")
    done = pipeline.compile_site(home / "site", home / "out")
    assert not done.failed, done.checked.findings
    return home / "out/nodes"


def mac_of(net, name, link="eth0"):
    return net.run(name, "cat", f"/sys/class/net/{link}/address").stdout.strip()


@contextlib.contextmanager
def talking(net, source, target, address):
    """Keep a TCP connection busy during the block; the list that it gives holds what was said, and sent again."""
    counts = []
    echo, talk = (
        net.argv(name, sys.executable, "-c", text, address) for name, text in ((target, ECHO), (source, TALK))
    )
    with subprocess.Popen(echo, stdout=subprocess.PIPE, text=True) as server:
        try:
            server.stdout.readline()
            with subprocess.Popen(talk, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout.readline() == "ready\n"
                try:
                    yield counts
                    time.sleep(0.3)
                finally:
                    counts += [int(word) for word in client.communicate("end", timeout=10)[0].split()]
        finally:
            server.kill()


def pod(net, node, directory, name):
    """Attach a pod by the node's own compiled network and the real plugins; give its addresses, IPv4 first."""
    net.add(name)
    document = json.loads(next((directory / "rootfs/etc/cni/net.d").iterdir()).read_text(encoding="utf-8"))
    plugin = document["plugins"][0]
    plugin["ipam"]["dataDir"] = str(net.home / "ipam" / node)
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": name,
        "CNI_NETNS": f"/run/netns/{net.prefix}{name}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/usr/lib/cni",
    }
    config = {"cniVersion": document["cniVersion"], "name": document["name"], **plugin}
    done = net.run(node, "/usr/lib/cni/macvlan", input=json.dumps(config), env=os.environ | environment)
    return [entry["address"].partition("/")[0] for entry in json.loads(done.stdout)["ips"]]


@pytest.mark.parametrize("via", ["shim", "move"])
def test_nothing_is_lost_on_the_way_there_and_back(lan, tmp_path, via):
    directory = compiled(via, tmp_path) / "node-1"
    settle(lan)
    counts = {}
    with contextlib.ExitStack() as traffic:
        for source, target, address in (("peer", "node", NODE6), ("node", "gw", GATEWAY6), ("peer", "node", NODE)):
            counts["ping", source, address] = traffic.enter_context(lan.pinging(source, address))
            counts["tcp", source, address] = traffic.enter_context(talking(lan, source, target, address))
        time.sleep(1.1)  # a Linux neighbour keeps what it learned less than a second ago
        done = lan.reconcile(directory).stdout
        gate = f"# {GATEWAY} must answer through macvlan0 as it does through eth0"
        assert (gate in done) == (via == "move"), "nothing moves to a child that the network does not answer"
        assert SHIM6 in lan.ip("-6", "addr", "show", "dev", "macvlan0")
        time.sleep(1.1)
        lan.reconcile(replace(NONE_PLAN, node="node-1"))
        assert "macvlan0" not in lan.ip("link")
    for (kind, *what), (first, second) in counts.items():
        assert first > 100, (kind, what)
        assert (second if kind == "tcp" else first - second) == 0, (kind, what, first, second)


@pytest.mark.parametrize("via", ["shim", "move"])
def test_an_address_is_at_one_mac_whoever_speaks_first(lan, tmp_path, via):
    nodes = compiled(via, tmp_path)
    lan.reconcile(nodes / "node-1")
    (lan.home / "peer-root").mkdir()
    done = forked_in(lan.prefix + "peer", lan.home, ["reconcile", "--root", f"{lan.home}/peer-root", f"{nodes}/node-2"])
    assert done.returncode == 0, done
    settle(lan)
    master, child = mac_of(lan, "node"), mac_of(lan, "node", "macvlan0")
    at = {NODE6: [master], SHIM6: [child], NODE: [{"shim": master, "move": child}[via]]}
    with ThreadPoolExecutor() as pool:  # the plugin waits for the kernel's question about the pod's address
        pods = ("node", nodes / "node-1", "own"), ("peer", nodes / "node-2", "other")
        own, others = pool.map(lambda one: pod(lan, *one), pods)
    ends = {"node": (NODE, NODE6), "peer": (PEER, PEER6), "gw": (GATEWAY, GATEWAY6), "own": own, "other": others}
    for order in (list(ends), list(reversed(ends))):
        for source in order:
            targets = [address for target in order if target != source for address in ends[target]]
            unreached = lan.run(source, "sh", "-c", PING, "sh", *targets).stdout
            assert not unreached, (source, unreached)
        for source in (NODE6, SHIM6):
            for address in (own[1], PEER6, others[1]):
                lan.run("node", "ping", "-qc1", "-W1", "-I", source, address)
        time.sleep(1.1)  # a Linux neighbour keeps what it learned less than a second ago
        for name in ("peer", "gw", "other"):
            assert json.loads(lan.run(name, sys.executable, "-c", WHO, ends[name][0], *at).stdout) == at, name
    for name in ("peer", "gw", "other"):
        for line in lan.run(name, "ip", "neigh").stdout.splitlines():
            address, *words = line.split()
            assert address not in at or words[words.index("lladdr") + 1] in at[address], line


def test_a_network_that_refuses_a_second_mac_keeps_an_address_where_it_is(lan, tmp_path):
    lan.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    lan.run("sw", "bridge", "fdb", "replace", mac_of(lan, "node"), "dev", "p-node", "master", "static")
    assert lan.reaches("node", GATEWAY)
    before = lan.state()
    said = lan.reconcile(compiled("move", tmp_path) / "node-1", code=1).stderr
    assert "the network refuses a second MAC" in said
    assert lan.state() == before
    assert lan.reaches("peer", NODE)


@pytest.mark.parametrize("via", ["shim", "move"])
def test_the_boot_script_leaves_reconcile_nothing_of_both_families_to_do(lan, tmp_path, via):
    lan.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
    directory = compiled(via, tmp_path) / "node-1"
    for is_first in (True, False):
        told = lan.run("node", "sh", directory / "boot.sh").stdout
        assert told.startswith("+ " if is_first else "# nothing to do")
        said = lan.reconcile(directory, "--dry-run").stdout
        assert not re.search(r"^(ip|sysctl|arping|#) ", said, re.MULTILINE), said
    assert SHIM6 in lan.ip("-6", "addr", "show", "dev", "macvlan0")
