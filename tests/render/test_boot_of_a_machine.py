"""A machine that boots with what install.sh put there: systemd runs the unit, in its sandbox, before the kubelet."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time

import pytest
from machine import REPOSITORY, machine

from podlan import pipeline

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31"}
cni: {name: pods, dataDir: /var/lib/cni/networks}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-199], routes: []}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 10}
nodes:
  node-1: {address: 10.0.0.1}
"""
WIRE = """\
[Unit]
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link set lo up; ip link set eth0 up; ip address add 10.0.0.1/24 dev eth0'
[Install]
WantedBy=multi-user.target
"""
KUBELET = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip -o address show dev macvlan0 > /kubelet-saw'
"""

ROUNDS = range(100)

pytestmark = pytest.mark.kernel


@pytest.fixture
def boot():
    return "systemd"


@pytest.fixture
def access():
    return "shim"


@pytest.fixture
def node(tmp_path, boot, access):
    site, directory = tmp_path / "site", tmp_path / "node"
    site.mkdir()
    text = SITE.replace("podsPerNode: 10", f"podsPerNode: 10, hostAccess: {{via: {access}}}")
    (site / "site.yaml").write_text(f"{text}boot: {boot}\n", encoding="utf-8")
    for name, content in pipeline.compile_site(site, tmp_path / "out", write=False).nodes["node-1"].items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    with machine(tmp_path) as made:
        signed(directory, made)
        made.rack.run("sh", directory / "install.sh", "--root", made.home / "root")
        for unit, text in (("wire", WIRE), ("kubelet", KUBELET)):
            made.write(f"/etc/systemd/system/{unit}.service", text)
            wants = made.root / "etc/systemd/system/multi-user.target.wants"
            (wants / f"{unit}.service").symlink_to(f"/etc/systemd/system/{unit}.service")
        program = made.root / "usr/local/sbin/podlan-node.pyz"
        subprocess.run([sys.executable, REPOSITORY / ".ci/node_archive.py", program], check=True, cwd=REPOSITORY)
        yield made


def signed(directory, made) -> None:
    """Sign it, and let the machine ask for that."""
    key = made.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "podlan", "-f", key, directory / "manifest.json"], check=True
    )
    made.write("/etc/podlan/allowed_signers", f"ops {key.with_suffix('.pub').read_text(encoding='utf-8')}")


def settled(looks) -> None:
    for done in looks:
        if done:
            return
        time.sleep(0.1)
    pytest.fail("it does not settle")


def networkd(node, interface: str) -> str:
    """Tell what systemd-networkd thinks of an interface."""
    index = node.run("cat", f"/sys/class/net/{interface}/ifindex").stdout.strip()
    return node.run("cat", f"/run/systemd/netif/links/{index}", check=False).stdout


def test_the_unit_makes_network_and_files_at_boot_and_leaves_reservations_of_the_last_one_behind(node):
    left = node.root / "var/lib/cni/networks/pods/10.0.0.16"
    left.parent.mkdir(parents=True)
    left.write_text("a pod of the last boot", encoding="utf-8")
    shutil.rmtree(node.root / "etc/NetworkManager")
    shutil.rmtree(node.root / "etc/cni")
    with node.boot():
        log = node.run("journalctl", "-b", "-u", "podlan-reconcile", "--no-pager").stdout
        assert node.run("systemctl", "is-active", "podlan-reconcile", check=False).stdout == "active\n", log
        assert not node.run("systemctl", "--failed", "--no-legend").stdout
        shim = node.run("ip", "-o", "address", "show", "dev", "macvlan0").stdout
        assert "10.0.0.199/32" in shim
        assert "10.0.0.199/32" in node.run("cat", "/kubelet-saw").stdout, "the kubelet starts after podlan"
        assert node.run("ls", "/etc/NetworkManager/conf.d", "/etc/cni/net.d").stdout.count("podlan") == 2, log
        assert node.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter").stdout == "1\n"
        assert not left.exists()

        node.run("touch", "/var/lib/cni/networks/pods/10.0.0.17")
        node.run("systemd-tmpfiles", "--remove")
        assert node.run("ls", "/var/lib/cni/networks/pods").stdout == "10.0.0.17\n", "of this boot, so it stays"

        node.run("mv", "/etc/podlan/node/manifest.json.sig", "/root")
        node.run("systemctl", "restart", "podlan-reconcile", check=False)
        assert "is not signed" in node.run("journalctl", "-b", "-u", "podlan-reconcile", "--no-pager").stdout
        node.run("mv", "/root/manifest.json.sig", "/etc/podlan/node")
        node.run("systemctl", "restart", "podlan-reconcile")

        node.run("rm", "/usr/local/sbin/podlan-node.pyz")
        node.run("ip", "link", "del", "macvlan0")
        node.run("systemctl", "restart", "podlan-reconcile")
        assert node.run("ip", "-o", "address", "show", "dev", "macvlan0").stdout.split()[3] == "10.0.0.199/32"


@pytest.mark.parametrize("boot", ["systemd-watch"])
def test_the_unit_that_watches_is_ready_before_the_kubelet_and_repairs_drift_in_its_sandbox(node):
    with node.boot():
        log = node.run("journalctl", "-b", "-u", "podlan-reconcile", "--no-pager").stdout
        assert node.run("systemctl", "is-active", "podlan-reconcile", check=False).stdout == "active\n", log
        assert "10.0.0.199/32" in node.run("cat", "/kubelet-saw").stdout, "the kubelet starts after the first run"

        for lost in (["link", "del", "macvlan0"], ["address", "flush", "dev", "macvlan0"]):
            node.run("ip", *lost)
            settled("10.0.0.199/32" in node.run("ip", "-o", "address").stdout for _ in ROUNDS)
        node.run("systemctl", "reload", "podlan-reconcile")
        process = node.run("systemctl", "show", "-p", "MainPID", "podlan-reconcile").stdout
        node.run("systemctl", "stop", "podlan-reconcile")
        assert process != "MainPID=0\n"
        assert "10.0.0.199/32" in node.run("ip", "-o", "address").stdout, "who stops watching takes nothing away"
        assert not node.run("systemctl", "--failed", "--no-legend").stdout


@pytest.mark.parametrize("boot", ["systemd-watch"])
def test_after_an_undo_nothing_of_podlan_comes_back_at_the_next_boot(node):
    node.write("/etc/systemd/system/kubelet.service", KUBELET.replace("macvlan0", "eth0"))
    with node.boot():
        assert node.run("systemctl", "is-active", "podlan-reconcile", check=False).stdout == "active\n"
        node.run("ip", "link", "add", "other0", "link", "eth0", "type", "macvlan", "mode", "bridge")
        settled("10.0.0.199/32" in node.run("ip", "-o", "address").stdout for _ in ROUNDS)
        done = node.run("python3", "-I", "-S", "/usr/local/sbin/podlan-node.pyz", "undo").stdout
        assert done.startswith("+ systemctl stop podlan-reconcile.service\n")
        assert done.endswith("+ systemctl daemon-reload\n+ systemctl try-restart kubelet.service\n")
        assert undone(node)
        assert "other0" in node.run("ip", "link").stdout
    with node.boot():
        settled("10.0.0.1/24" in node.run("ip", "-o", "address").stdout for _ in ROUNDS)
        assert undone(node)


def undone(node) -> bool:
    """Tell whether nothing of podlan runs, is in the kernel, or lies in a file; who may sign is the operator's."""
    units = node.run("systemctl", "list-units", "--all", "--no-legend", "podlan*", "macvlan*").stdout
    files = node.run("find", "/etc", "/var/lib", "-name", "*podlan*", "-not", "-path", "/var/lib/dpkg/*").stdout
    links = [line for line in node.run("ip", "link").stdout.splitlines() if "macvlan0" in line]
    assert (units, files, links, marked(node)) == ("", "/etc/podlan\n", [], "")
    assert node.run("ls", "-A", "/etc/podlan").stdout == "allowed_signers\n"
    return True


KILLING = """
systemctl restart --no-block podlan-reconcile
until [ -e /sys/class/net/macvlan0 ]; do :; done
systemctl kill -s KILL podlan-reconcile
"""


@pytest.mark.parametrize("access", ["move"])
def test_a_run_killed_with_all_that_guards_it_is_taken_back_and_then_done_again(node):
    def network() -> str:
        shown = [node.run("ip", *words.split()).stdout for words in ("-4 -o address", "route", "link show eth0")]
        return "".join(shown) + node.run("cat", "/proc/sys/net/ipv4/conf/eth0/rp_filter").stdout

    def log() -> str:
        return node.run("journalctl", "-b", "-u", "podlan-reconcile", "--no-pager").stdout

    node.write("/etc/systemd/system/podlan-reconcile.service.d/soon.conf", "[Service]\nRestartSec=1\n")
    with node.boot():
        planned = re.sub(r"\d+: macvlan0", "macvlan0", network())
        assert "inet 10.0.0.1/24 metric 50 scope global macvlan0" in planned
        for _ in range(5):
            node.run("ip", "link", "del", "macvlan0")
            node.run("ip", "address", "change", "10.0.0.1/24", "dev", "eth0", "metric", "0")
            before = network()
            node.run("sh", "-c", KILLING)
            settled("code=killed, status=9/KILL" in log() or "active" in active(node) for _ in ROUNDS)
            if "active" not in active(node):  # else it was too fast for whoever kills it
                break
        settled("a run that was killed is taken back, operations: " in log() for _ in ROUNDS)
        assert network() == before
        settled(re.sub(r"\d+: macvlan0", "macvlan0", network()) == planned for _ in ROUNDS)
        settled("active" in active(node) for _ in ROUNDS)
        assert not (node.root / "var/lib/podlan/journal.json").exists()


def active(node) -> list[str]:
    return node.run("systemctl", "is-active", "podlan-reconcile", check=False).stdout.splitlines()


def test_networkd_leaves_what_podlan_made_alone(node):
    """Without podlan's drop-in it removes routes that it did not make whenever it configures an interface."""
    lines = ("[Match]", "Name=eth* macvlan*", "[Network]", "Address=10.0.0.2/24", "LinkLocalAddressing=no")
    node.write("/etc/systemd/network/50-wire.network", "\n".join(lines))
    with node.boot():
        # Unlike an IPv4 route it does not go with the interface's last address.
        node.run("ip", "route", "add", "2001:db8::/64", "dev", "eth0", "proto", "112")
        routes = marked(node)
        assert "macvlan0" in routes
        configure(node)
        assert "ADMIN_STATE=unmanaged" in networkd(node, "macvlan0")
        assert marked(node) == routes
        assert "PL646" not in drift(node)

        node.run("mv", "/etc/systemd/network/05-podlan-macvlan0.network", "/root")
        node.run("networkctl", "reload")
        settled("ADMIN_STATE=configured" in networkd(node, "macvlan0") for _ in ROUNDS)
        told = "systemd-networkd configures macvlan0, which is podlan's, by /etc/systemd/network/50-wire.network"
        assert told in drift(node)
        node.run("mv", "/root/05-podlan-macvlan0.network", "/etc/systemd/network")
        node.run("networkctl", "reload")
        settled("ADMIN_STATE=unmanaged" in networkd(node, "macvlan0") for _ in ROUNDS)
        drift(node)
        node.run("systemctl", "restart", "podlan-reconcile")

        node.run("rm", "/etc/systemd/networkd.conf.d/20-podlan.conf")
        configure(node)
        assert "2001:db8::" not in marked(node)


def drift(node) -> str:
    """Give what podlan says of the machine as it is."""
    node.run("ip", "address", "replace", "10.0.0.1/24", "dev", "eth0")  # networkd may have taken it away
    done = node.run("/usr/local/sbin/podlan-node.pyz", "reconcile", "--check", check=False)
    assert done.returncode in (0, 3), done
    return done.stderr


def marked(node) -> str:
    return "".join(node.run("ip", family, "route", "show", "proto", "112").stdout for family in ("-4", "-6"))


def configure(node) -> None:
    node.run("systemctl", "restart", "systemd-networkd")
    node.run("ip", "address", "flush", "dev", "eth0", "to", "10.0.0.2")
    node.run("networkctl", "reconfigure", "eth0")
    settled("10.0.0.2/24" in node.run("ip", "-o", "address").stdout for _ in ROUNDS)
