"""podlan verify on real networks: its pods see what real ones would, and it says where that is not as planned."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from lan import GATEWAY, NODE, PEER, SHIM
from trial import CNI, NODE6, PEER6, SECOND, SIX, Host, codes, compiled, rows

pytestmark = pytest.mark.kernel

ADVERTISE = """
import socket, struct, time
from podlan.node import frames
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
with frames._open("eth0", 0x86DD) as wire:
    mac = wire.getsockname()[4]
    while True:
        wire.send(frames._icmp6(mac, socket.inet_pton(socket.AF_INET6, "fe80::1"), frames._ALL_NODES, body))
        time.sleep(0.1)
"""
GOT = {"attached": (2, 2, 2), "addresses": (2, 2, 2), "mtu": (2, 2, 2), "promisc": (1, 1, 1)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("compiled"))


@pytest.fixture
def node(net, nodes):
    return Host(net, nodes / "node-1")


def test_a_node_as_planned_is_told_so_and_nothing_of_the_pods_stays(node):
    before = node.net.state()
    told = node.verify("--peer", PEER)
    assert told.stderr == ""
    assert (
        told.stdout.replace(str(node.root), "")
        == f"""\
node-1: pods by {CNI}
  verify-1  172.16.129.110/24
  verify-2  172.16.129.111/24
    reached expected  verdict
        2/2        2  ok       pods on the same host (同一宿主机的容器互通)
        2/2        2  ok       pods and other nodes (容器和其他节点互通)
        6/6        6  ok       pods and their own host (容器和宿主机互通)
        2/2        2  ok       pods and the gateway
        1/1        1  ok       hosts and hosts
        1/1        1  ok       hosts and the gateway
        3/3        3  ok       one MAC answers for a host's IPv4 address
        1/1        1  ok       the plan's own probes
        2/2        2  ok       pods attached by the node's plugins
        2/2        2  ok       pods' addresses are of the node's slice
        2/2        2  ok       pods' MTU is as planned
        4/4        4  ok       pods' routes are those of the plan
        1/1        1  ok       masters are promiscuous, or not, as planned

                  1 2 3 4 5
 1 node-1         · + + + +
 2 verify-1       + · + + +
 3 verify-2       + + · + +
 4 gateway
 5 172.16.129.102
row reaches column: + yes, x no, ~ some of its addresses, 4 or 6 those of that family

everything is as the plans promise
"""
    )
    assert node.is_clean()
    assert node.net.state() == before
    assert node.net.reconcile(root=node.root).stdout == "nothing to do: node-1 is as planned\n"


@pytest.mark.parametrize(
    ("access", "mode", "together", "own", "macs"),
    [
        ("{via: move}", "bridge", (2, 2, 2), (4, 4, 4), (1, 1, 1)),
        ("{via: none}", "private", (0, 2, 0), (0, 4, 0), None),
        ("{via: none}", "vepa", (0, 2, 0), (0, 4, 0), None),
    ],
)
def test_what_is_expected_follows_host_access_and_mode(net, tmp_path, access, mode, together, own, macs):
    node = Host(net, compiled(tmp_path, access, mode) / "node-1")
    found = rows(node.found())
    promised = {
        "pods-together": together,
        "pod-and-own": own,
        "pod-and-gateway": (2, 2, 2),
        "host-and-gateway": (1, 1, 1),
    }
    assert {key: found.get(key) for key in (*promised, *GOT, "macs")} == {**promised, **GOT, "macs": macs}
    if mode == "vepa":  # a switch that sends frames back lets them talk, and that is as it may be
        net.run("sw", "bridge", "link", "set", "dev", "p-node", "hairpin", "on")
        found = rows(node.found())
        assert (found["pods-together"], found["pod-and-own"]) == ((2, 2, 0), (4, 4, 0))


def test_both_families_are_tried_each_with_every_address_of_the_host(net, tmp_path):
    for name, address in (("node", NODE6), ("peer", PEER6), ("gw", "fd00:81::fe")):
        net.batch(name, [f"addr add {address}/64 dev eth0 nodad"])
    node = Host(net, compiled(tmp_path, changes=SIX) / "node-1")
    with subprocess.Popen(net.argv("gw", sys.executable, "-c", ADVERTISE)) as router:
        try:  # pods take what a router announces, and nobody promises that it answers
            found = node.found("--pods", 1, "--peer", PEER6, "--peer", PEER)
        finally:
            router.kill()
    there = rows(found)
    assert there["pod-and-own"] == (6, 6, 6), "the node's two addresses and the shim's two, and the pod's two"
    assert there["pod-and-other"] == there["hosts"] == (2, 2, 2)
    assert there["pod-and-gateway"] == there["host-and-gateway"] == (2, 2, 2)
    assert there["routes"] == (4, 4, 4)
    assert [one["addresses"] for one in found["pods"]] == [["172.16.129.110/24", "fd00:81::110/64"]]


def test_pods_of_another_node_are_reached_and_who_answers_with_two_macs_is_told_from_here(net, node, nodes):
    """The how-to's first result, by two nodes: one holds its pods and says what to type on the other one."""
    other = Host(net, nodes / "node-2", "peer")
    with other.held() as end:
        words = end.printed().partition("podlan verify ")[2].split()
        assert words == ["--peer", PEER, "--peer-pod", "172.16.129.120", "--peer-pod", "172.16.129.121"]
        found = rows(node.found(*words))
        assert found["pods-apart"] == (4, 4, 4)
        assert found["pod-and-other"] == (4, 4, 4), "this node's pods and the other node, this node and its pods"
        for link in ("eth0", "macvlan0"):
            net.run("peer", "sysctl", "-qw", f"net.ipv4.conf.{link}.arp_filter=0")
        (surprise,) = node.found("--peer", PEER, code=1)["surprises"]
        assert surprise.startswith(f"{PEER} is answered by ")
        assert surprise.count(":") == 10, "two MACs"
        assert end() == 0
    assert other.is_clean()


def test_what_differs_from_the_plan_is_told_one_by_one(net, node):
    for address in ("172.16.129.110/31", "172.16.129.112/29"):
        net.ip("route", "del", address, "dev", "macvlan0")
    net.ip("link", "set", "eth0", "promisc", "off")
    node.configure(lambda plugin: plugin["ipam"]["routes"].pop())
    net.batch("peer", [f"addr add {NODE}/32 dev eth0"])
    mac = net.run("peer", "cat", "/sys/class/net/eth0/address").stdout.strip()
    found = node.found("--pods", 1, code=1)
    assert sorted(found["surprises"]) == sorted(
        [
            "node-1 does not reach verify-1 at 172.16.129.110",
            f"verify-1 does not reach node-1 at {SHIM}",
            f"{NODE} is this host's, and {mac} beyond it answers for it",
            f"{SHIM} is answered by nobody",
            f"verify-1 has no route to {NODE}/32 via {SHIM}",
            "eth0 is not promiscuous, against the plan",
        ]
    )
    suite = ET.fromstring(node.verify("--format", "junit", "--pods", 1, code=1).stdout)[0]  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("tests")) == ("4", str(len(found["rows"])))
    assert "node-1 does not reach verify-1 at" in suite.find("testcase/failure").text


def test_a_switch_that_lets_one_mac_through_is_told_as_such(net, node):
    mac = net.run("node", "cat", "/sys/class/net/eth0/address").stdout.strip()
    net.run("sw", "bridge", "fdb", "replace", mac, "dev", "p-node", "master", "static")
    net.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    net.run("sw", "bridge", "fdb", "flush", "dev", "p-node", "dynamic", check=False)
    found = node.found("--pods", 1, code=1)
    assert codes(found) == ["PL698"]
    assert found["surprises"] == [f"verify-1 does not reach gateway at {GATEWAY}"]


def test_a_gateway_that_answers_no_ping_is_reached_all_the_same_and_another_host_is_not(net, node):
    for name in ("gw", "peer"):
        net.run(name, "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
    found = node.found("--pods", 1, "--peer", PEER, code=1)
    assert rows(found)["pod-and-gateway"] == rows(found)["host-and-gateway"] == (1, 1, 1)
    assert found["surprises"] == [f"verify-1 does not reach {PEER}", f"node-1 does not reach {PEER}"]


def test_the_file_that_the_runtime_takes_is_the_one_that_is_tried(node):
    other = CNI.replace("05-podlan", "00-other")
    node.configure(
        lambda plugin: plugin["ipam"]["ranges"][0][0].update(rangeStart="172.16.129.150", rangeEnd="172.16.129.151"),
        other,
    )
    found = node.found(code=1)
    assert found["file"] == f"{node.root}{other}"
    assert codes(found) == ["PL612"]
    assert "verify-1 was given 172.16.129.150, which is not of this node's slice" in found["surprises"]
    (node.root / other[1:]).write_text("{")
    assert "is not JSON, and so the runtime has no network" in node.verify(code=1).stderr
    (node.root / other[1:]).unlink()
    (node.root / CNI[1:]).unlink()
    assert "the runtime finds no CNI file" in node.verify(code=1).stderr


@pytest.mark.parametrize(
    "taking",
    [{"mode": "passthru"}, {"mode": "passthru", "master": "eth1"}, {"type": "host-device", "device": "eth0"}],
    ids=["own", "another", "device"],
)
def test_a_file_that_hands_an_interface_of_the_host_to_a_pod_is_not_tried(node, taking):
    before = node.net.state()
    node.configure(lambda plugin: plugin.update(taking), CNI.replace("05-podlan", "00-other"))
    assert "does not cut its own host off" in node.verify(code=1).stderr
    assert node.net.state() == before
    assert node.is_clean()


def test_what_a_plugin_says_is_shown_with_what_to_do(node):
    node.configure(lambda plugin: plugin.update(master="eth9"))
    found = node.found(code=1)
    assert rows(found)["attached"] == (0, 1, 1)
    assert found["surprises"] == ["1 of 1 attachments are refused: see the finding"]
    (refusal,) = found["findings"]
    assert refusal["code"] == "PL697"
    assert refusal["message"] == "verify-1: ADD by plugin macvlan failed: Link not found"
    assert refusal["hint"].startswith("the CNI file's master is not there")
    assert "error[PL697]: verify-1: ADD by plugin macvlan failed: Link not found; the CNI" in node.verify(code=1).stderr


def test_a_range_that_is_full_costs_no_living_pod_its_address(net, node):
    node.configure(lambda plugin: plugin["ipam"]["ranges"][0][0].update(rangeEnd="172.16.129.111"))
    with net.pod("172.16.129.112"):  # not host-local's: here for the master's sake
        store = node.root / "run/podlan/ipam/pods"
        store.mkdir(parents=True)
        (store / "172.16.129.110").write_text("living\r\neth0", newline="")
        found = json.loads(node.verify("--format", "json").stdout)
        assert (codes(found), rows(found)["attached"]) == (["PL737"], (1, 1, 1))
        (store / "172.16.129.111").write_text("living\r\nnet1", newline="")
        found = json.loads(node.verify("--format", "json", code=1).stdout)
        assert codes(found) == ["PL697"]
        assert found["findings"][0]["hint"].startswith("no address of the slice is free")
        assert node.reserved() == dict.fromkeys(["172.16.129.110", "172.16.129.111"], "living")


def test_where_nothing_can_be_tried_it_says_why(net, node, tmp_path):
    net.ip("link", "set", "eth0", "name", "eth1")
    assert "there is no interface eth0 [PL603]" in node.verify(code=75).stderr
    net.ip("link", "set", "eth1", "name", "eth0")
    (node.root / "opt/cni/bin/host-local").unlink()
    assert f"no CNI plugins host-local in {node.root}/opt/cni/bin" in node.verify(code=4).stderr
    assert "bad node directory" in node.verify(tmp_path, code=4).stderr
    assert "'here' does not appear to be" in node.verify("--peer", "here", code=2).stderr
    weak = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    argv = net.podlan_argv("verify", root=node.root)
    done = net.run("node", *weak, *argv[4:], check=False)
    assert (done.returncode, "CAP_NET_ADMIN is missing [PL601]" in done.stderr) == (4, True), done
    assert node.is_clean()


def test_a_secondary_network_is_tried_by_its_own_file_and_interface(net, tmp_path):
    ends = [f"link add eth1 type veth peer name p-eth1 netns {net.prefix}sw", "link set eth1 up"]
    net.batch("node", [*ends, "addr add 10.20.0.1/24 dev eth1"])
    net.batch("sw", ["link set p-eth1 up"])
    node = Host(net, compiled(tmp_path, changes=SECOND) / "node-1")
    found = node.found()
    got = {one["name"]: (one["addresses"], one["mtu"]) for one in found["pods"]}
    assert got["verify-1"] == (["172.16.129.110/24"], 1500)
    assert got["verify-2 net1"] == (["10.20.0.11/24"], 1400)
    there = rows(found)
    assert (there["attached"], there["addresses"], there["mtu"]) == ((4, 4, 4),) * 3
    assert there["pods-together"] == (4, 4, 4)
    assert there["pod-and-own"] == (6, 10, 6), "on eth1 the plan gives no host access"
