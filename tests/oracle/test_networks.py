"""What podlan renders for one or several masters is what the real plugins do, in every mode and with every IPAM."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from real_networks import FILE, MULTUS, Wires, compiled
from real_plugins import PLUGINS, RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

HEAD = f"""\
version: 1
site: lab
cluster: {{kubernetes: "1.31", runtimeVersion: "2.1"}}
cni: {{name: pods, binDir: /usr/lib/cni, plugins: {{version: "{RELEASE}"}}}}
"""
SUBNETS = """\
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
  lan6: {cidr: "fd00::/64", gateway: "fd00::fe", routes: [{dst: "::/0"}]}
  store: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, routes: []}
"""
TUNING = 'chain: [{type: tuning, sysctl: {net.core.somaxconn: "321", net.ipv6.conf.IFNAME.accept_ra: "0"}, mtu: 1400}]'
MODES = ("bridge", "private", "vepa", "passthru")


def site(*masters: str, nodes: str = "  a: {}\n", subnets: str = SUBNETS) -> str:
    listed = "".join(f"  {master}\n" for master in masters)
    return f"{HEAD}{subnets}masters:\n{listed}nodes:\n{nodes}"


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Wires]:
    made = Wires(tmp_path)
    try:
        yield made.up()
    finally:
        made.down()


def reaches(wires: Wires, name: str, address: str, *options: str) -> bool:
    return not wires.net.run(name, "ping", "-qc1", "-W2", *options, address, check=False).returncode


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("carried", ["lan", "lan6", "lan, lan6"])
def test_a_pod_gets_what_the_file_says_in_every_mode_and_family(wires, tmp_path, mode, carried):
    master = f"uplink: {{interface: eth0, subnets: [{carried}], mode: {mode}, podsPerNode: 1, mtu: 1450, {TUNING},"
    files = compiled(site(f"{master} hostAccess: {{via: none}}}}"), tmp_path / "site")
    pod = wires.attach(files, FILE, 0)
    assert not (answer := pod.add()).refused, answer
    assert len(pod.addresses) == len(carried.split())
    pod.config["plugins"][1]["sysctl"].pop("net.ipv6.conf.IFNAME.accept_ra")  # which not every CHECK understands
    assert not (answer := pod.check()).refused, answer
    shown = wires.ip("pod-0", "-d", "link", "show", "eth0")
    assert f"macvlan mode {mode}" in shown
    assert "mtu 1400" in shown  # tuning comes after macvlan
    read = ("sysctl", "-n", "net.core.somaxconn", "net.ipv6.conf.eth0.accept_ra")
    assert wires.net.run("pod-0", *read).stdout.split() == ["321", "0"]
    for gateway in {"lan": ["10.0.0.254"], "lan6": ["fd00::fe"]}.get(carried, ["10.0.0.254", "fd00::fe"]):
        assert reaches(wires, "pod-0", gateway)

    full = wires.attach(files, FILE, 1).add()
    assert full.refused
    assert ("invalid argument" if mode == "passthru" else "no IP addresses available in range set") in full.error

    assert not (answer := pod.delete()).refused, answer
    assert "eth0" not in wires.ip("pod-0", "link", "show")
    if mode != "passthru":
        assert not (answer := wires.attach(files, FILE, 0).add()).refused, answer


@pytest.mark.parametrize("mode", MODES)
def test_a_network_without_ipam_has_a_link_and_no_address(wires, tmp_path, mode):
    master = f"uplink: {{interface: eth0, subnets: [store], mode: {mode}, ipam: none, hostAccess: {{via: none}}}}"
    files = compiled(site(master), tmp_path / "site")
    assert json.loads(files[FILE])["plugins"][0]["ipam"] == {}
    pod = wires.attach(files, FILE, 0)
    assert not (answer := pod.add()).refused, answer
    assert not (answer := pod.check()).refused, answer
    assert "inet " not in wires.ip("pod-0", "addr", "show", "eth0")
    assert f"macvlan mode {mode}" in wires.ip("pod-0", "-d", "link", "show", "eth0")
    assert not (answer := pod.delete()).refused, answer


UPLINK = "uplink: {interface: eth0, subnets: [lan, lan6], podsPerNode: 8}"
STORAGE = "storage: {interface: eth1, subnets: [store], podsPerNode: 1, secondary: true}"
BESIDE = "  a: {masters: {uplink: {addresses: [10.0.0.1]}, storage: {addresses: [10.0.1.1]}}}\n"


def test_a_secondary_network_beside_the_first_one(wires, tmp_path):
    files = compiled(site(UPLINK, STORAGE, nodes=BESIDE), tmp_path / "site")
    first, second = wires.attach(files, FILE, 0), wires.attach(files, f"{MULTUS}/storage.conflist", 0, "net1")
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
        assert not (answer := one.check()).refused, answer
    assert second.config["name"] == "storage"
    assert wires.ip("pod-0", "route").startswith("default via 10.0.0.254 dev eth0")
    assert reaches(wires, "pod-0", "10.0.1.254", "-I", "net1")
    assert sorted(path.name for path in tmp_path.glob("run/podlan/ipam/*")) == ["pods", "storage"]

    other = wires.attach(files, FILE, 1)
    assert not other.add().refused
    refused = wires.attach(files, f"{MULTUS}/storage.conflist", 1, "net1").add()
    assert "no IP addresses available in range set" in refused.error
    assert reaches(wires, "pod-1", "10.0.0.254")

    assert not (answer := second.delete()).refused, answer
    assert reaches(wires, "pod-0", "10.0.0.254")


def test_checking_is_disabled_where_the_check_of_tuning_does_not_know_what_its_add_takes(wires, tmp_path):
    files = compiled(site(f"uplink: {{interface: eth0, subnets: [lan], podsPerNode: 1, {TUNING}}}"), tmp_path / "site")
    pod = wires.attach(files, FILE, 0)
    assert not pod.add().refused
    checked = pod.check()
    assert pod.config.get("disableCheck", False) == checked.refused
    assert not checked.refused or "/proc/sys/net/ipv6/conf/IFNAME/accept_ra: no such file" in checked.error


@pytest.mark.parametrize("by", ["reconcile", "boot.sh"])
def test_both_masters_have_their_own_shim_and_pods_reach_the_host_on_each(wires, tmp_path, by):
    files = compiled(site(UPLINK, STORAGE, nodes=BESIDE), tmp_path / "site")
    directory = tmp_path / "site-output/nodes/a"
    if by == "reconcile":
        wires.net.reconcile(directory)
    else:
        wires.net.run("node", "sh", directory / "boot.sh")
    first, second = wires.attach(files, FILE, 0), wires.attach(files, f"{MULTUS}/storage.conflist", 0, "net1")
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
    for address in (*first.addresses, *second.addresses):
        assert reaches(wires, "node", address), address
        assert reaches(wires, "far", address), address
    for own in ("10.0.0.1", "10.0.1.1"):
        assert reaches(wires, "pod-0", own), own


DEFAULT = SUBNETS.replace("10.0.1.254, routes: []", "10.0.1.254, routes: [{dst: 0.0.0.0/0}]")


def test_with_sbr_only_answers_leave_by_the_second_interface(wires, tmp_path):
    chained = STORAGE.replace("true}", "true, chain: [{type: sbr}]}")
    files = compiled(site(UPLINK, chained, subnets=DEFAULT), tmp_path / "site")
    first, second = wires.attach(files, FILE, 0), wires.attach(files, f"{MULTUS}/storage.conflist", 0, "net1")
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
    assert wires.ip("pod-0", "route", "get", "198.51.100.1").startswith("198.51.100.1 via 10.0.0.254 dev eth0")
    assert second.config["disableCheck"] is True
    assert "Failed to find Gateway" in second.check().error  # the reason for that
    answers = wires.ip("pod-0", "route", "get", "198.51.100.1", "from", second.addresses[0])
    assert "via 10.0.1.254 dev net1 table 100" in answers
    assert reaches(wires, "far", second.addresses[0], "-I", "198.51.100.1")
    assert not (answer := second.delete()).refused, answer


def test_without_sbr_the_second_default_route_takes_all(wires, tmp_path):
    """The reason for PL324."""
    text = site(UPLINK, STORAGE, subnets=DEFAULT)
    chained = compiled(text.replace("true}", "true, chain: [{type: sbr}]}"), tmp_path / "site")
    first, second = wires.attach(chained, FILE, 0), wires.attach(chained, f"{MULTUS}/storage.conflist", 0, "net1")
    del second.config["plugins"][1:]
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
    assert wires.ip("pod-0", "route").startswith("default via 10.0.1.254 dev net1")


@pytest.mark.parametrize(
    ("plugin", "error"),
    [
        ({"type": "bandwidth", "ingressRate": 1_000_000, "ingressBurst": 1_000_000}, "has no veth peer"),
        ({"type": "bandwidth", "egressRate": 1_000_000, "egressBurst": 1_000_000}, "has no veth peer"),
    ],
)
def test_bandwidth_fails_after_macvlan(wires, tmp_path, plugin, error):
    """The reason for PL322."""
    pod = wires.attach(compiled(site(UPLINK), tmp_path / "site"), FILE, 0)
    pod.config["plugins"].append(plugin)
    assert error in pod.add().error


def test_sbr_after_the_first_interface_leaves_the_pod_no_route(wires, tmp_path):
    """The reason for PL322."""
    pod = wires.attach(compiled(site(UPLINK), tmp_path / "site"), FILE, 0)
    pod.config["plugins"].append({"type": "sbr"})
    assert not pod.add().refused
    assert wires.ip("pod-0", "route") == ""


def test_portmap_leads_from_the_host_s_port_to_the_pod_by_the_shim(wires, tmp_path):
    master = "uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, chain: [{type: portmap}]}"
    text = site(master, nodes="  a: {address: 10.0.0.1}\n")
    files = compiled(text, tmp_path / "site")
    wires.net.reconcile(tmp_path / "site-output/nodes/a")
    pod = wires.attach(files, FILE, 0)
    assert pod.config["plugins"][1] == {"type": "portmap", "capabilities": {"portMappings": True}}
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    pod.config["plugins"][1]["runtimeConfig"] = {"portMappings": [mapping]}
    assert not (answer := pod.add()).refused, answer
    serve = wires.net.argv("pod-0", "busybox", "nc", "-l", "-p", "80", "-e", "echo", "from the pod")
    with subprocess.Popen(serve) as server:
        try:
            ask = ("busybox", "nc", "-w", "3", "10.0.0.1", "8080")
            deadline = time.monotonic() + 20
            while (got := wires.net.run("far", *ask, check=False, stdin=subprocess.DEVNULL).stdout) == "":
                assert time.monotonic() < deadline
            assert got == "from the pod\n"
        finally:
            server.kill()
    checked = pod.check()
    assert pod.config.get("disableCheck", False) == checked.refused
    assert not checked.refused or "could not check ipv6 dnat" in checked.error
    assert not (answer := pod.delete()).refused, answer
    assert "8080" not in wires.net.run("node", "iptables-save").stdout


def test_the_same_file_serves_interfaces_of_different_names_by_an_altname(wires, tmp_path):
    master = "uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, altname: uplink0}"
    named = "  a: {masters: {uplink: {interface: eth1}}}\n  b: {}\n"
    files = compiled(site(master, nodes=named), tmp_path / "site")
    assert json.loads(files[FILE])["plugins"][0]["master"] == "uplink0"
    pod = wires.attach(files, FILE, 0)
    assert "Link not found" in pod.add().error
    wires.ip("node", "link", "property", "add", "dev", "eth1", "altname", "uplink0")
    assert not (answer := wires.attach(files, FILE, 1).add()).refused, answer
    assert f"eth0@if{index_of(wires, 'eth1')}" in wires.ip("pod-1", "link", "show", "eth0")


def index_of(wires: Wires, link: str) -> int:
    return int(json.loads(wires.ip("node", "-json", "link", "show", link))[0]["ifindex"])


LEASED = "uplink: {interface: eth0, subnets: [lan], mode: bridge, ipam: dhcp, hostAccess: {via: none}}"
QUIET = SUBNETS.replace("10.0.0.254, routes: [{dst: 0.0.0.0/0}]", "10.0.0.254, routes: []")
SERVER = """\
start 10.0.0.200
end 10.0.0.201
interface eth0
lease_file {home}/leases
pidfile {home}/pid
opt subnet 255.255.255.0
opt router 10.0.0.254
opt lease 600
"""


def lines_of(unit: str, key: str) -> list[list[str]]:
    return [shlex.split(words) for words in re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)]


class Daemon:
    """The dhcp plugin's daemon, started as its unit says."""

    def __init__(self, wires: Wires, unit: str) -> None:
        self.wires = wires
        self.unit = unit

    def start(self, *, prepared: bool = True) -> subprocess.Popen[str]:
        for words in lines_of(self.unit, "ExecStartPre") if prepared else ():
            subprocess.run(self.wires.on_node(*words), check=True)
        ((program, *rest),) = lines_of(self.unit, "ExecStart")
        assert program == "/usr/lib/cni/dhcp"
        argv = self.wires.on_node(f"{PLUGINS}/dhcp", *rest)
        running = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 10
        listening = self.wires.on_node("sh", "-c", "ss -xlH | grep -q /run/cni/dhcp.sock")
        while running.poll() is None and subprocess.run(listening, check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return running


@pytest.fixture
def leased(wires, tmp_path):
    """A node whose pods ask a DHCP server on its LAN, which gives away two addresses."""
    files = compiled(site(LEASED, subnets=QUIET), tmp_path / "site")
    (tmp_path / "udhcpd.conf").write_text(SERVER.format(home=tmp_path), encoding="utf-8")
    (tmp_path / "leases").touch()
    argv = wires.net.argv("far", "busybox", "udhcpd", "-f", tmp_path / "udhcpd.conf")
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as server:
        wires.own_run()
        try:
            yield files
        finally:
            server.kill()


def test_pods_lease_addresses_by_the_daemon_that_the_unit_starts(wires, leased):
    unit = leased["rootfs/etc/systemd/system/podlan-cni-dhcp.service"].decode()
    daemon = Daemon(wires, unit)
    alone = wires.attach(leased, FILE, 2)
    assert "error dialing DHCP daemon" in alone.add().error
    assert "error dialing DHCP daemon" in alone.delete().error

    running = daemon.start()
    try:
        pods = [wires.attach(leased, FILE, number) for number in (0, 1)]
        for pod in pods:
            assert not (answer := pod.add()).refused, answer
        assert sorted(address for pod in pods for address in pod.addresses) == ["10.0.0.200", "10.0.0.201"]
        assert not (answer := pods[0].check()).refused, answer
        assert wires.ip("pod-0", "route").startswith("default via 10.0.0.254 dev eth0")
        assert reaches(wires, "pod-0", "10.0.0.254")
        assert not (answer := pods[0].delete()).refused, answer
        assert "eth0" not in wires.ip("pod-0", "link", "show")
    finally:
        running.kill()
        running.wait()

    stale = daemon.start(prepared=False)
    assert stale.wait(10) != 0
    assert "address already in use" in stale.communicate()[1]
    again = daemon.start()
    assert again.poll() is None
    again.kill()
    again.wait()


@pytest.mark.usefixtures("leased")
@pytest.mark.parametrize("mode", ["private", "vepa", "passthru"])
def test_a_lease_in_every_mode(wires, tmp_path, mode):
    files = compiled(site(LEASED.replace("mode: bridge", f"mode: {mode}"), subnets=QUIET), tmp_path / "mode")
    running = Daemon(wires, files["rootfs/etc/systemd/system/podlan-cni-dhcp.service"].decode()).start()
    try:
        pod = wires.attach(files, FILE, 0)
        assert not (answer := pod.add()).refused, answer
        assert set(pod.addresses) <= {"10.0.0.200", "10.0.0.201"}
        assert not (answer := pod.check()).refused, answer
        assert f"macvlan mode {mode}" in wires.ip("pod-0", "-d", "link", "show", "eth0")
        assert not (answer := pod.delete()).refused, answer
    finally:
        running.kill()
        running.wait()


def test_systemd_understands_the_unit_of_the_daemon(tmp_path):
    files = compiled(site(LEASED, subnets=QUIET), tmp_path / "site")
    unit = tmp_path / "podlan-cni-dhcp.service"
    unit.write_bytes(files["rootfs/etc/systemd/system/podlan-cni-dhcp.service"])
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
