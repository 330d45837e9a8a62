"""What systemd and the system's other services read at boot says to them what podlan means."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lan import Net

from podlan.plan import WRITABLE, decode
from podlan.render._artifact import batch_word, unit_escape, unit_word

UNIT = "etc/systemd/system/podlan-reconcile.service"
SYSCTLS = "etc/sysctl.d/zz-podlan.conf"
SECONDARY = """\
  storage: {interface: eno2.7, subnets: [store], podsPerNode: 4, secondary: true}
"""
PLUGINS = f'{{version: "1.4.0", url: "https://example.com/cni.tgz", sha256: "{"0" * 64}"}}'
EXPOSURE = 3.5
"""systemd-analyze's figure for the unit, of 10; what stays is what the work takes: CAP_NET_ADMIN, root's files."""


def rootfs(project, node: str = "node-1") -> Path:
    project.compile()
    return project.out / "nodes" / node / "rootfs"


def with_two_masters(project) -> Path:
    project.change("masters:\n", f"  store: {{cidr: 10.7.0.0/24, routes: []}}\nmasters:\n{SECONDARY}")
    project.change("interface: eth0", "interface: eno1.101")
    for number in (1, 2, 3):
        project.change(
            f"{{address: 10.0.0.{number}}}", f"{{masters: {{uplink: {{addresses: [10.0.0.{number}]}}, storage: {{}}}}}}"
        )
    return rootfs(project)


def setting(text: str, key: str) -> list[str]:
    return [word for line in re.findall(rf"^{key}=(.*)$", text, re.MULTILINE) for word in line.split()]


def test_the_unit_comes_after_every_master_and_before_whatever_starts_pods(project):
    text = (with_two_masters(project) / UNIT).read_text(encoding="utf-8")
    assert setting(text, "After") == [
        "network-online.target",
        "sys-subsystem-net-devices-eno1.101.device",
        "sys-subsystem-net-devices-eno2.7.device",
    ]
    assert {"kubelet.service", "containerd.service", "crio.service"} <= set(setting(text, "Before"))


@pytest.mark.parametrize("binaries", ["/opt/cni/bin", "/usr/lib/cni"])
def test_the_unit_may_write_what_any_plan_may_and_no_more(project, binaries):
    keys = f"binDir: {binaries}, confDir: /run/cni/net.d, plugins: {PLUGINS}"
    project.change("cni: {name: pods}", f"cni: {{name: pods, {keys}}}")
    root = rootfs(project)
    text = (root / UNIT).read_text(encoding="utf-8")
    places = {place.removeprefix("-") for place in setting(text, "ReadWritePaths")}
    plan = decode((root.parent / "plan.json").read_text(encoding="utf-8"), "plan.json")
    for file in plan.files:
        assert any(file.path.startswith(f"{place}/") for place in places), file.path
    assert any(f"{binaries}/".startswith(f"{place}/") for place in places)
    allowed = (
        {binaries} | {place.rstrip("/") for place in WRITABLE} | {"/run/cni/net.d", "/run/podlan", "/var/lib/podlan"}
    )
    assert places <= allowed
    assert not places & {"/", "/etc", "/run", "/usr", "/var", "/var/lib"}


@pytest.mark.parametrize("boot", ["systemd", "systemd-watch"])
def test_the_unit_is_one_that_systemd_takes_and_little_exposed(project, tmp_path, boot):
    project.change("version: 1\n", f"version: 1\nboot: {boot}\n")
    text = (with_two_masters(project) / UNIT).read_text(encoding="utf-8")
    unit = tmp_path / "podlan-reconcile.service"
    # The program is not installed on this machine, and verify looks for it.
    unit.write_text(text.replace("ExecStart=/usr/local/sbin/podlan-node.pyz", "ExecStart=/bin/sh"), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stderr
    assert unit.name not in verified.stderr, verified.stderr
    secured = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert secured.returncode == 0, secured.stdout
    assert "Overall exposure level" in secured.stdout


def test_the_unit_that_watches_stays_and_is_ready_once_the_node_is_as_planned(project):
    project.change("version: 1\n", "version: 1\nboot: systemd-watch\n")
    text = (rootfs(project) / UNIT).read_text(encoding="utf-8")
    assert setting(text, "Type") == ["notify"]
    assert setting(text, "Restart") == ["always"]
    assert setting(text, "WatchdogSec")
    assert setting(text, "ExecStart")[1:] == ["reconcile", "--verbose", "--watch", "--no-restart", "/etc/podlan/node"]
    assert "boot.sh" not in text


@pytest.fixture
def net(tmp_path):
    network = Net(tmp_path)
    try:
        yield network.up()
    finally:
        network.down()


@pytest.mark.kernel
@pytest.mark.parametrize("reader", [["/lib/systemd/systemd-sysctl"], ["sysctl", "-q", "-p"]], ids=["systemd", "procps"])
def test_sysctls_reach_interfaces_with_dots_in_their_names(project, net, reader):
    project.change('kubernetes: "1.31"', 'kubernetes: "1.31", serviceCIDR: [10.96.0.0/12]')
    root = with_two_masters(project)
    for master, child in (("eno1.101", "macvlan0"), ("eno2.7", "mv-storage")):
        net.ip("link", "add", master, "type", "veth", "peer", "name", f"p-{child}")
        net.ip("link", "add", "link", master, "name", child, "type", "macvlan", "mode", "bridge")
    wanted = decode((root.parent / "plan.json").read_text(encoding="utf-8"), "plan.json").sysctls
    assert "net/ipv4/conf/eno1.101/arp_filter" in wanted
    assert "net/ipv4/ip_forward" in wanted
    net.run("node", *reader, root / SYSCTLS)
    assert {key: net.sysctl(key) for key in wanted} == wanted


@pytest.mark.kernel
def test_systemd_sysctl_forgives_an_interface_that_is_yet_to_come(project, net):
    net.run("node", "/lib/systemd/systemd-sysctl", with_two_masters(project) / SYSCTLS)


def test_its_name_sorts_behind_what_else_sets_sysctls():
    others = ["10-network-security.conf", "50-default.conf", "99-sysctl.conf", "99-zzz-override.conf", "k8s.conf"]
    assert max([*others, Path(SYSCTLS).name]) == Path(SYSCTLS).name


@pytest.mark.parametrize(("directory", "rendered"), [("/var/lib/cni", True), ("/run/ipam", False), ("/runner", True)])
def test_reservations_are_removed_at_boot_only_and_of_podlans_networks_only(project, tmp_path, directory, rendered):
    project.change("cni: {name: pods}", f"cni: {{name: pods, dataDir: {directory}}}")
    file = with_two_masters(project) / "etc/tmpfiles.d/podlan.conf"
    assert file.exists() == rendered
    if not rendered:
        return
    for network in ("pods", "storage", "others"):
        (tmp_path / "root" / directory[1:] / network).mkdir(parents=True)
        (tmp_path / "root" / directory[1:] / network / "10.0.0.16").touch()
    argv = ["systemd-tmpfiles", f"--root={tmp_path}/root", "--remove", file]
    for options, left in (([], {"pods", "storage", "others"}), (["--boot"], {"others"})):
        subprocess.run([*argv, *options], check=True)
        assert {path.parent.name for path in (tmp_path / "root").rglob("10.0.0.16")} == left


def test_the_systems_own_network_services_are_told_of_every_child(project):
    root = with_two_masters(project)
    manager = (root / "etc/NetworkManager/conf.d/20-podlan.conf").read_text(encoding="utf-8")
    assert manager.splitlines()[1:] == [
        "[keyfile]",
        "unmanaged-devices+=interface-name:macvlan0;interface-name:mv-storage",
    ]
    for child in ("macvlan0", "mv-storage"):
        assert f"Name={child}\n" in (root / f"etc/systemd/network/05-podlan-{child}.network").read_text(
            encoding="utf-8"
        )
    plan = decode((root.parent / "plan.json").read_text(encoding="utf-8"), "plan.json")
    for file in plan.files:
        if "etwork" in file.path or "sysctl" in file.path:
            assert not file.restart, "to restart the network may cut the node off"


def test_without_host_access_there_is_nothing_to_tell_them(project):
    project.change("podsPerNode: 10}", "podsPerNode: 10, hostAccess: {via: none}}")
    root = rootfs(project)
    assert not [path for path in root.rglob("*") if "sysctl" in path.name or "etwork" in path.name]


INTERFACES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,14}", fullmatch=True)


@given(name=INTERFACES)
def test_every_interface_name_can_stand_where_it_is_needed(name):
    assert batch_word(name) == name
    assert re.fullmatch(r"[A-Za-z0-9:_.\\]+", unit_escape(name))


@pytest.mark.parametrize("word", ["", "a b", "a\nb", "$x", "a#b", '"', "`x`", "\\"])
def test_what_these_files_cannot_quote_is_not_written(word):
    for quote in (batch_word, unit_word):
        if quote is unit_word and word == "a#b":
            continue
        with pytest.raises(AssertionError):
            quote(word)
    assert unit_word("/a%b") == "/a%%b"
