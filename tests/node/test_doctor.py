"""What doctor tells of a node with real pods on a real LAN; beside each case the neighbour of which it says nothing."""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from lan import GATEWAY, MAC, MOVE_PLAN, NODE, SHIM, SHIM_PLAN, Net, forked_in

from podlan.plan import Cni, File, Runtime

pytestmark = pytest.mark.kernel

PLUGINS = Path("/usr/lib/cni")
CNI = "/etc/cni/net.d/05-podlan.conflist"
IPAM = "/run/podlan/ipam"
TASKS = "run/containerd/io.containerd.runtime.v2.task/k8s.io"
SANDBOXES = "var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes"
NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "macvlan",
            "master": "eth0",
            "mode": "bridge",
            "ipam": {
                "type": "host-local",
                "dataDir": IPAM,
                "ranges": [
                    [
                        {
                            "subnet": "172.16.129.0/24",
                            "rangeStart": "172.16.129.110",
                            "rangeEnd": "172.16.129.119",
                            "gateway": GATEWAY,
                        }
                    ]
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": f"{NODE}/32", "gw": SHIM}],
            },
        }
    ],
}
_ids = itertools.count()


def network(name="pods", start=110, end=119, **more):
    document = json.loads(json.dumps(NETWORK))
    document["name"] = name
    document["plugins"][0]["ipam"]["ranges"][0][0] |= {
        "rangeStart": f"172.16.129.{start}",
        "rangeEnd": f"172.16.129.{end}",
    }
    return document | more


class Patient:
    """A node that is reconciled to a plan, its pods, and what doctor says of it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.root = net.root
        plugins = self.root / "opt/cni/bin"
        plugins.mkdir(parents=True)
        for name in ("macvlan", "host-local"):
            (plugins / name).symlink_to(PLUGINS / name)
        self.settle()

    def settle(self, document=None, **changes):
        """Give the node a plan with this network, and make it so."""
        self.network = document or network()
        plan = replace(
            SHIM_PLAN,
            cni=Cni(CNI, ("/opt/cni/bin/macvlan", "/opt/cni/bin/host-local")),
            files=(File(CNI, source=f"rootfs{CNI}"),),
            identity=(NODE,),
            runtime=Runtime("containerd", "/etc/cni/net.d", "/opt/cni/bin", "1.7"),
        )
        source = json.dumps(self.network).encode()
        self.net.reconcile(self.net.directory(replace(plan, **changes), {f"rootfs{CNI}": source}))

    def write(self, path, content):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        return file

    def store(self, name="pods"):
        return self.root / IPAM[1:] / name

    def cni(self, command, namespace, container, document=None):
        """Call the real plugins, with a store below the root."""
        plugin = {**(document or self.network)["plugins"][0]}
        plugin["ipam"] = {**plugin["ipam"], "dataDir": str(self.root / IPAM[1:])}
        config = {"cniVersion": "1.0.0", "name": (document or self.network)["name"], **plugin}
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{self.net.prefix}{namespace}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(PLUGINS),
        }
        return self.net.run("node", PLUGINS / "macvlan", input=json.dumps(config), env=environment)

    def pod(self, document=None):
        """Start a pod; give its container and its address."""
        name = f"pod{next(_ids)}"
        container = hashlib.sha256(name.encode()).hexdigest()
        self.net.add(name)
        result = json.loads(self.cni("ADD", name, container, document).stdout)
        return name, container, result["ips"][0]["address"].partition("/")[0]

    def kill(self, name):
        """End a pod as a crash does: nobody calls DEL."""
        subprocess.run(["ip", "netns", "del", self.net.prefix + name], check=True)
        self.net.names.remove(name)

    def known_to_containerd(self, *containers, place=TASKS):
        (self.root / place).mkdir(parents=True, exist_ok=True)
        for container in containers:
            (self.root / place / container).mkdir()

    def doctor(self, *options, code=0):
        done = forked_in(
            self.net.prefix + "node", self.net.home, ["doctor", "--root", str(self.root), *map(str, options)]
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.replace(str(self.root), "")

    def says(self, *options, code=0, notes=False):
        """Give the findings as 'CODE message', without the note that always comes."""
        found = json.loads(self.doctor("--format", "json", *options, code=code))["findings"]
        return [
            f"{one['code']} {one['message']}"
            for one in found
            if one["code"] != "PL677" and (notes or one["severity"] != "note")
        ]

    def finding(self, code):
        text = self.net.home.joinpath("stdout").read_text().replace(str(self.root), "")
        return next(one for one in json.loads(text)["findings"] if one["code"] == code)


@pytest.fixture
def node(net):
    return Patient(net)


def test_of_a_node_as_planned_with_living_pods_only_the_number_of_its_macs_is_told_and_nothing_is_touched(node):
    pods = [node.pod() for _ in range(3)]
    node.known_to_containerd()
    before = node.net.state(), everything(node.root)
    text = node.doctor()
    assert (node.net.state(), everything(node.root)) == before
    assert text == (
        "note[PL677]: eth0 shows its switch 5 MAC addresses now (eth0's own, macvlan0, 3 of pods), and 12 with every "
        "address of the slice in use\n"
        "  hint: compare with the switch's limit for the port (port security) or with the hypervisor's\n"
        "1 note\n"
    )
    assert node.doctor("-q", "--no-wire") == "nothing to report\n"
    for form in ("sarif", "github", "junit"):
        assert "PL677" in node.doctor("--no-wire", "--format", form)
    assert [node.net.reaches("peer", address) for _, _, address in pods] == [True] * 3


def everything(root):
    """Give all that a file system tells of a tree but the times of reading."""
    found = {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[path] = (status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


def test_a_reservation_whose_pod_died_is_told_and_the_hint_gives_it_back(node):
    living, lost, stopped = node.pod(), node.pod(), node.pod()
    node.known_to_containerd(living[1])
    node.known_to_containerd(stopped[1], place=SANDBOXES)  # the kubelet has yet to remove it
    node.kill(lost[0])
    node.kill(stopped[0])
    assert node.says("--no-wire") == [f"PL660 {lost[2]} is reserved for container {lost[1][:13]}, which is gone"]
    told = node.finding("PL660")
    assert told["place"]["file"] == f"{IPAM}/pods/{lost[2]}"
    command = told["hint"].partition("`")[2].rstrip("`").replace(IPAM, str(node.root) + IPAM)
    assert host_local_waits_for(node)
    subprocess.run(["sh", "-c", command], check=True)
    assert not (node.store() / lost[2]).exists()
    assert (node.store() / living[2]).exists()
    assert node.says("--no-wire") == []


def host_local_waits_for(node):
    """Tell whether the real plugin waits for the lock that the hint takes."""
    ipam = node.network["plugins"][0]["ipam"] | {"dataDir": str(node.root / IPAM[1:])}
    config = {"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "ipam": ipam}
    names = {"COMMAND": "ADD", "CONTAINERID": "c", "NETNS": "/n", "IFNAME": "eth0", "PATH": str(PLUGINS)}
    environment = {**os.environ, **{f"CNI_{name}": value for name, value in names.items()}}
    argv = ["flock", node.store() / "lock", "timeout", "0.3", PLUGINS / "host-local"]
    done = subprocess.run(argv, input=json.dumps(config), text=True, env=environment, capture_output=True, check=False)
    return done.returncode == 124


def test_a_pod_that_is_just_coming_or_going_is_no_finding(node):
    node.known_to_containerd()
    lost = node.pod()
    node.kill(lost[0])
    leaving = threading.Timer(0.25, (node.store() / lost[2]).unlink)
    leaving.start()
    try:
        assert node.says("--no-wire") == []
    finally:
        leaving.join()


def test_the_hint_frees_nothing_that_was_given_to_another_container_meanwhile(node):
    _, container, address = lost = node.pod()
    node.known_to_containerd()
    node.kill(lost[0])
    assert len(node.says("--no-wire")) == 1
    command = node.finding("PL660")["hint"].partition("`")[2].rstrip("`").replace(IPAM, str(node.root) + IPAM)
    (node.store() / address).write_text("another\r\neth0")
    assert subprocess.run(["sh", "-c", command], check=False).returncode
    assert (node.store() / address).exists()
    assert container


@pytest.mark.parametrize("runtime", ["containerd", "docker", "cri-o"])
def test_without_a_trace_of_the_runtime_a_reservation_without_a_pod_is_a_question_and_no_claim(node, runtime):
    node.settle(runtime=Runtime(runtime, "/etc/cni/net.d", "/opt/cni/bin"))
    lost = node.pod()
    node.kill(lost[0])
    assert node.says("--no-wire", notes=True) == [
        f"PL661 cannot tell with {runtime} whether 1 of the reservations in {IPAM}/pods has a pod"
    ]


@pytest.mark.parametrize(
    ("runtime", "place"),
    [
        ("docker", "var/lib/docker/containers"),
        ("cri-o", "run/containers/storage/overlay-containers"),
        ("containerd", "run/elsewhere/io.containerd.runtime.v2.task/k8s.io"),
    ],
)
def test_one_container_that_is_where_the_runtime_keeps_them_proves_the_place(node, runtime, place):
    node.settle(runtime=Runtime(runtime, "/etc/cni/net.d", "/opt/cni/bin"))
    node.write("etc/containerd/config.toml", 'version = 2\nstate = "/run/elsewhere"\n')
    stopped, lost = node.pod(), node.pod()
    node.known_to_containerd(stopped[1], place=place)
    node.kill(stopped[0])
    node.kill(lost[0])
    assert [one[:20] for one in node.says("--no-wire", notes=True)] == [f"PL660 {lost[2]}"]


def test_a_pod_outside_of_the_slice_that_shrank_is_told_and_one_within_is_not(node):
    node.pod()
    outside = node.pod()
    node.settle(network(end=110))
    assert node.says("--no-wire") == [
        f"PL662 container {outside[1][:13]} has {outside[2]}, and the slice is 172.16.129.110-172.16.129.110"
    ]


def test_after_a_rename_the_pods_of_the_old_name_are_told_for_they_are_in_danger(node):
    _, _, address = node.pod()
    node.settle(network("renamed"))
    other = node.root / "var/lib/cni/networks/podman"
    other.mkdir(parents=True)
    (other / "10.88.0.2").write_text("a\r\neth0")  # another network's, and none of this slice
    assert node.says("--no-wire", code=1) == [
        f"PL666 a pod has {address}, and host-local does not know: the next pod may get it too",
        f"PL663 {IPAM}/pods holds reservations of this node's slice: 1, {address} of living pods",
    ]


def test_reservations_that_nobody_will_give_back_are_told(node):
    _, container, address = node.pod()
    for name, content in (
        ("172.16.129.113", ""),
        ("172.16.129.114", f"{container}\r\neth0"),
        ("172.16.129.115", f"{container}\r\nnet1"),
        (SHIM, f"{container}\r\nnet2"),
    ):
        (node.store() / name).write_text(content, newline="")
    node.known_to_containerd(container)
    short = container[:13]
    assert node.says("--no-wire", code=1) == [
        "PL664 the reservation of 172.16.129.113 names no container",
        f"PL664 container {short} has two reservations for eth0: {address} and 172.16.129.114",
        f"PL665 {SHIM} is reserved for container {short}, and is an address that podlan adds to this node",
    ]
    assert node.finding("PL665")["place"]["file"] == f"{IPAM}/pods/{SHIM}"


def test_others_on_the_lan_that_have_addresses_of_this_node_are_told_and_its_own_pods_are_not(node):
    node.known_to_containerd()
    mine, free = node.pod()[2], "172.16.129.117"
    stranger = pod_of_another_node(node.net, free)
    (told,) = node.says(code=1)
    assert told == f"PL667 {stranger} on eth0 answers for {free}"
    assert "(eth0's own, macvlan0, 1 of pods)" in node.doctor("--no-wire"), "a pod of the other node is none of ours"
    for name, address in (("peer", mine), ("peer", SHIM), ("gw", free)):
        node.net.run(name, "ip", "addr", "add", f"{address}/32", "dev", "eth0")
    assert sorted(node.says(code=1)) == sorted(
        [
            f"PL667 {mac(node.net, 'peer')} on eth0 answers for {mine}, {SHIM}; pods here have {mine}",
            f"PL667 {' and '.join(sorted([stranger, mac(node.net, 'gw')]))} on eth0 answers for {free}",
        ]
    )
    assert node.says("--no-wire") == []


def pod_of_another_node(net, address):
    """Give the peer a macvlan child in a namespace, whose master has the same index as this node's; give its MAC."""
    index = [net.run(name, "cat", "/sys/class/net/eth0/ifindex").stdout for name in ("node", "peer")]
    assert index[0] == index[1]
    net.add("stranger")
    net.batch("peer", [f"link add mv0 link eth0 netns {net.prefix}stranger type macvlan mode bridge"])
    net.batch("stranger", [f"addr add {address}/24 dev mv0", "link set mv0 up"])
    return net.run("stranger", "cat", "/sys/class/net/mv0/address").stdout.strip()


def test_on_a_switch_that_sends_frames_back_the_node_s_own_pods_are_no_strangers(node):
    address = node.pod()[2]
    node.net.run("sw", "bridge", "link", "set", "dev", "p-node", "hairpin", "on")
    heard = node.net.run("node", "arping", "-D", "-c", "1", "-I", "eth0", address, check=False)
    assert heard.returncode == 1, "they do answer there"
    assert node.says() == []


def mac(net, name):
    return net.run(name, "cat", "/sys/class/net/eth0/address").stdout.strip()


def test_a_slice_of_ipv6_is_asked_for_too_and_no_neighbour_loses_an_address_that_it_is_just_trying(node):
    document = network()
    document["plugins"][0]["ipam"]["ranges"].append(
        [{"subnet": "fd00:10::/64", "rangeStart": "fd00:10::10", "rangeEnd": "fd00:10::1f"}]
    )
    node.settle(document)
    node.pod()
    node.known_to_containerd()
    assert node.says() == []
    node.net.run("peer", "sysctl", "-qw", "net.ipv6.conf.eth0.dad_transmits=8")
    node.net.run("peer", "ip", "addr", "add", "fd00:10::15/64", "dev", "eth0")
    node.says()
    shown = node.net.run("peer", "ip", "-6", "addr", "show", "dev", "eth0").stdout
    assert "tentative" in shown
    assert "dadfailed" not in shown
    node.net.run("peer", "ip", "addr", "add", "fd00:10::16/64", "dev", "eth0", "nodad")
    assert node.says(code=1) == [f"PL667 {mac(node.net, 'peer')} on eth0 answers for fd00:10::16"]


def test_a_node_that_moved_its_address_is_not_its_own_duplicate(node):
    move = {key: getattr(MOVE_PLAN, key) for key in ("links", "addresses", "routes", "sysctls", "probes")}
    node.settle(**move)
    node.pod()
    node.known_to_containerd()
    assert node.says() == []
    node.net.run("peer", "ip", "addr", "add", f"{NODE}/32", "dev", "eth0")
    assert node.says(code=1) == [f"PL667 {mac(node.net, 'peer')} on eth0 answers for {NODE}"]


def test_a_slice_too_large_to_ask_for_is_asked_in_part_and_that_is_said(node):
    node.known_to_containerd()
    document = network()
    document["plugins"][0]["ipam"]["ranges"].append([{"subnet": "fd00:10::/64"}])
    node.settle(document)
    (note,) = node.says(notes=True)
    assert note.startswith("PL668 1024 of 18446744073709551")


def test_a_switch_that_lets_one_mac_through_is_told(node):
    node.known_to_containerd()
    assert node.says() == []
    node.net.run("sw", "bridge", "fdb", "replace", mac(node.net, "node"), "dev", "p-node", "master", "static")
    node.net.run("sw", "bridge", "link", "set", "dev", "p-node", "learning", "off", "locked", "on")
    node.net.run("sw", "bridge", "fdb", "del", MAC, "dev", "p-node", "master", check=False)
    answered = f"eth0 ({mac(node.net, 'node')})"
    assert node.says(code=1) == [f"PL669 the gateway {GATEWAY} answers {answered} and not macvlan0 ({MAC})"]


def test_what_differs_from_the_plan_is_told_with_its_place_and_what_reconcile_would_do(node):
    node.write(CNI, json.dumps(network(end=112)))
    node.net.ip("route", "del", "172.16.129.112/29", "dev", "macvlan0")
    found = node.says("--no-wire", code=1)
    route = f"ip route add 172.16.129.112/29 dev macvlan0 proto 112 scope link src {SHIM}"
    assert found == [f"PL670 the network is not as planned; to repair: {route}", f"PL670 {CNI} is not as planned"]


def test_what_would_stop_reconcile_is_told_as_reconcile_tells_it(node):
    node.net.ip("link", "set", "eth0", "name", "eth1")
    assert [one[:5] for one in node.says("--no-wire", code=1)] == ["PL603"]


def test_leftovers_of_a_killed_run_are_told_until_the_next_and_not_while_one_is_at_work(node):
    state = node.root / "var/lib/podlan/state.json"
    remembered = json.loads(state.read_text())
    (node.root / CNI[1:]).rename(node.root / f"{CNI[1:]}.podlan-tmp")
    node.write("var/lib/podlan/journal.json", json.dumps({"boot": remembered["boot"], "operations": [], "version": 1}))
    state.write_text(json.dumps(remembered | {"restart": ["kubelet.service"]}))
    waits = "PL679 kubelet.service still waits for its restart"
    rest = [
        "PL679 half a file, of a run that was killed",
        "PL679 a run began and never ended: the next one takes it back first",
    ]
    assert sorted(node.says("--no-wire", code=1)) == sorted([f"PL670 {CNI} is not as planned", waits, *rest])
    with (node.root / "run/podlan/lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        at_work = "PL679 reconcile is at work: what differs now may be as planned in a moment"
        found = node.says("--no-wire", notes=True, code=1)
        assert sorted(found) == sorted([f"PL670 {CNI} is not as planned", waits, at_work])
    node.net.reconcile()
    assert node.says("--no-wire") == []


def test_a_file_system_that_cannot_be_written_is_no_obstacle(node):
    node.known_to_containerd()
    pods = [node.pod() for _ in range(2)]
    for name, _, _ in pods:
        node.kill(name)
    with read_only(node.root):
        assert [one[:5] for one in node.says("--no-wire")] == ["PL660", "PL660"]
        text = node.doctor("--no-wire", "--max", "1")
    assert text.startswith("/run/podlan/ipam/pods/172.16.129.110:1:1: warning[PL660]")
    assert text.endswith("… and 2 more; --max 3 shows all\n")


@contextlib.contextmanager
def read_only(path):
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)
