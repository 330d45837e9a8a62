"""What is rendered is what the readers on the node accept: shells, systemd, the kubelet of each version."""

from __future__ import annotations

import json
import shlex
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from podlan import pipeline
from podlan.plan import Address, Link, Plan, Route, decode
from podlan.render._artifact import unit_escape
from podlan.render._boot import boot_script

ROOT = Path(__file__).parents[2]
SITES = [ROOT / "site", ROOT / "tests/howto/site"]


def compiled(site: Path, tmp_path: Path) -> dict[str, dict[str, bytes]]:
    result = pipeline.compile_site(site, tmp_path / "out", write=False)
    assert not result.checked.failed
    return result.nodes


def test_the_committed_output_is_what_the_example_site_compiles_to():
    result = pipeline.compile_site(ROOT / "site", ROOT / "output", write=False)
    assert not result.difference, "run: make site"
    assert not result.checked.lock_changes


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.parent.name)
def test_every_boot_script_passes_shellcheck_and_parses_in_dash(site, tmp_path):
    for files in compiled(site, tmp_path).values():
        script = tmp_path / "boot.sh"
        script.write_bytes(files["boot.sh"])
        subprocess.run(["shellcheck", script], check=True)
        subprocess.run(["dash", "-n", script], check=True)


def test_a_node_with_a_vlan_waits_for_its_link_and_leaves_the_vlan_to_podlan(project):
    project.change("interface: eth0", "vlan: {link: eno1, id: 101}, altname: lan0")
    for last in range(1, 4):
        project.change(f"address: 10.0.0.{last}", "boot: systemd")
    project.compile()
    node = project.out / "nodes/node-1"
    for argv in (["shellcheck"], ["dash", "-n"]):
        subprocess.run([*argv, node / "boot.sh"], check=True)
    script = (node / "boot.sh").read_text(encoding="utf-8")
    assert "wait_for eno1 is_there eno1\n" in script
    assert "wait_for eno1.101" not in script
    files = {path.name: path.read_text(encoding="utf-8") for path in node.rglob("*") if path.is_file()}
    assert "After=network-online.target sys-subsystem-net-devices-eno1.device\n" in files["podlan-reconcile.service"]
    assert "Unmanaged=yes" in files["05-podlan-eno1.101.network"]
    manager = (node / "rootfs/etc/NetworkManager/conf.d/20-podlan.conf").read_text(encoding="utf-8")
    assert "+=interface-name:eno1.101;interface-name:macvlan0\n" in manager
    assert "net/ipv6/conf/eno1.101/accept_ra = 0" in files["zz-podlan.conf"]


def test_every_unit_passes_systemd_analyze(project, tmp_path):
    project.change("interface: eth0", "interface: bond-0.101")
    project.compile()
    unit = project.out / "nodes/node-1/rootfs/etc/systemd/system/podlan-reconcile.service"
    # The program is not installed here; everything else of the unit must hold.
    text = unit.read_text(encoding="utf-8").replace("/usr/local/sbin/podlan-node.pyz", "/bin/true")
    (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name], check=False, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr
    assert r"sys-subsystem-net-devices-bond\x2d0.101.device" in text


@pytest.mark.parametrize("name", ["eth0", "bond-0.101", "a+b=c@d", ".x"])
def test_names_in_units_are_escaped_as_systemd_escapes_them(name):
    expected = subprocess.run(["systemd-escape", name], check=True, text=True, capture_output=True).stdout.strip()
    assert unit_escape(name) == expected


def test_values_that_a_shell_would_obey_are_only_words():
    """The inventory's patterns keep such values out; the template does not rely on it."""
    nasty = "$(touch pwned)'`;\n"
    plan = Plan(
        nasty,
        links=(
            Link("eth0", "master", altnames=(nasty,)),
            Link("macvlan0", "macvlan", master=nasty, mac=nasty, alias=nasty),
        ),
        sysctls={f"net/{nasty}": nasty},
        identity=(nasty,),
    )
    words = shlex.split(boot_script(plan).decode(), comments=True)
    assert nasty in words
    assert not any("pwned" in word and nasty not in word for word in words)
    for batched in (
        {"links": (Link(nasty, "master", promisc=True),)},
        {"addresses": (Address(nasty, "10.0.0.1/24"),)},
        {"addresses": (Address("eth0", nasty),)},
        {"routes": (Route(nasty, "10.0.0.0/24"),)},
        {"routes": (Route("eth0", nasty),)},
        {"routes": (Route("eth0", "10.0.0.0/24", gateway=nasty),)},
        {"routes": (Route("eth0", "10.0.0.0/24", source=nasty),)},
    ):
        with pytest.raises(AssertionError, match="ip -batch"):
            boot_script(Plan("node-1", **batched))


def plan_of(project, node: str = "node-1") -> Plan:
    return decode((project.out / f"nodes/{node}/plan.json").read_text(encoding="utf-8"), "plan.json")


@pytest.mark.parametrize(
    ("cni", "cluster", "expected"),
    [
        ("", "", "1.0.0"),
        (', plugins: {version: "0.7.0"}', "", "0.3.1"),
        (', plugins: {version: "0.9.1"}', "", "0.4.0"),
        (', plugins: {version: "1.7.1"}', ', runtimeVersion: "2.1"', "1.0.0"),
        (', plugins: {version: "1.7.1"}, cniVersion: "1.1.0"', ', runtimeVersion: "2.1"', "1.1.0"),
        ("", ", runtime: docker", "1.0.0"),
    ],
)
def test_the_cni_version_follows_plugins_and_runtime(project, cni, cluster, expected):
    project.change("cni: {name: pods}", f"cni: {{name: pods{cni}}}")
    project.change('kubernetes: "1.31"', f'kubernetes: "1.31"{cluster}')
    project.compile()
    conf = project.out / "nodes/node-1/rootfs/etc/cni/net.d/05-podlan.conflist"
    assert json.loads(conf.read_text(encoding="utf-8"))["cniVersion"] == expected


def test_ranges_of_all_nodes_are_disjoint_in_the_files_that_the_plugin_reads(tmp_path):
    """The promise of the product, read back from the output by other code than wrote it."""
    seen: dict[int, str] = {}
    for node, files in compiled(ROOT / "site", tmp_path).items():
        (name,) = [name for name in files if name.endswith(".conflist")]
        ipam = json.loads(files[name])["plugins"][0]["ipam"]
        for item in (part for range_set in ipam["ranges"] for part in range_set):
            first, last = int(ip_address(item["rangeStart"])), int(ip_address(item["rangeEnd"]))
            assert ip_address(item["rangeStart"]) in ip_network(item["subnet"])
            for address in range(first, last + 1):
                assert address not in seen, f"{ip_address(address)} is {node}'s and {seen[address]}'s"
                seen[address] = node
    assert len(seen) == 10 + 16 + 16


def test_profiles_are_laid_over_the_site_in_their_order_and_the_node_over_them(project):
    project.change(
        "nodes:\n",
        "profiles:\n"
        "  old: {cluster: {kubernetes: '1.23', runtime: docker}, pods: 20, boot: rc.local}\n"
        "  new: {cluster: {kubernetes: '1.29'}, cni: {plugins: {version: '0.9.1'}}}\n"
        "nodes:\n"
        "  mixed: {profiles: [old, new], cluster: {hostNetworkPods: 3}, address: 10.0.0.9}\n",
    )
    project.compile()
    plan = plan_of(project, "mixed")
    (flags,) = [file.env_flags.flags for file in plan.files if file.env_flags]
    assert flags == ("--node-ip=10.0.0.9", "--max-pods=35")
    assert [file.path for file in plan.files if file.block] == ["/etc/rc.local"]
    conf = project.out / "nodes/mixed/rootfs/etc/cni/net.d/05-podlan.conflist"
    assert json.loads(conf.read_text(encoding="utf-8"))["cniVersion"] == "0.4.0"
    assert "wants" not in str(plan_of(project).files[-1].block)


def test_pods_reach_services_and_their_own_node_through_the_shim(tmp_path):
    files = compiled(ROOT / "site", tmp_path)["node-1"]
    (name,) = [name for name in files if name.endswith(".conflist")]
    routes = json.loads(files[name])["plugins"][0]["ipam"]["routes"]
    assert routes == [
        {"dst": "0.0.0.0/0"},
        {"dst": "10.96.0.0/12", "gw": "172.16.129.199"},
        {"dst": "172.16.129.101/32", "gw": "172.16.129.199"},
    ]
