"""Several masters a node, their networks and chains, as the files say it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from podlan import pipeline
from podlan.audit import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12], runtimeVersion: "2.1"}
cni: {name: pods, plugins: {version: "1.6.2"}}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}], dhcp: [10.0.0.0-15]}
  lan6: {cidr: "fd00::/64", gateway: "fd00::1", routes: [{dst: "::/0"}]}
  store: {cidr: 10.0.1.0/24}
  film: {cidr: 10.0.2.0/24, gateway: 10.0.2.254, routes: [{dst: 10.9.0.0/16}]}
masters:
  uplink:
    interface: eth0
    subnets: [lan, lan6]
    podsPerNode: 8
    altname: uplink0
    bcqueuelen: 2000
    chain:
      - {type: tuning, sysctl: {net.core.somaxconn: "1024", net.ipv4.tcp_keepalive_time: "600"}, allmulti: false}
      - {type: portmap}
  storage: {interface: eth1, subnets: [store], podsPerNode: 4, secondary: true, namespace: kube-system}
  cameras: {interface: eth2, subnets: [film], podsPerNode: 2, secondary: true, chain: [{type: sbr}]}
nodes:
  a: {masters: {uplink: {addresses: [10.0.0.20]}, storage: {addresses: [10.0.1.1]}, cameras: {}}}
  b: {}
"""
MULTUS = "rootfs/etc/cni/multus/net.d"
FIRST = "rootfs/etc/cni/net.d/05-podlan.conflist"


@pytest.fixture
def compiled(tmp_path):
    """Compile a site of which nothing but notes is said."""

    def do(text: str, name: str = "site") -> pipeline.Compiled:
        (tmp_path / name).mkdir()
        (tmp_path / name / "site.yaml").write_text(text, encoding="utf-8")
        done = pipeline.compile_site(tmp_path / name, tmp_path / f"{name}-output")
        assert not [finding for finding in done.checked.findings if finding.severity.value != "note"]
        return done

    return do


def read(files: dict[str, bytes], path: str) -> dict[str, Any]:
    return json.loads(files[path])


def networks(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Give a node's networks by name."""
    found = [read(files, path) for path in files if "/cni/" in path]
    return {network["name"]: network for network in found}


def test_every_master_is_a_network_with_a_file_and_a_child_of_its_own(compiled):
    files = compiled(SITE).nodes["a"]
    assert [path for path in files if "/cni/" in path] == [
        f"{MULTUS}/cameras.conflist",
        f"{MULTUS}/storage.conflist",
        FIRST,
    ]
    assert {name: network["plugins"][0]["master"] for name, network in networks(files).items()} == {
        "cameras": "eth2",
        "storage": "eth1",
        "pods": "uplink0",
    }
    plan = read(files, "plan.json")
    assert [(link["name"], link.get("master", "")) for link in plan["links"]] == [
        ("eth0", ""),
        ("macvlan0", "eth0"),
        ("eth2", ""),
        ("mv-cameras", "eth2"),
        ("eth1", ""),
        ("mv-storage", "eth1"),
    ]
    assert plan["links"][0]["altnames"] == ["uplink0"]
    assert plan["identity"] == ["10.0.0.20", "10.0.1.1"]


def test_only_the_first_network_has_the_way_to_services_and_each_that_to_the_node(compiled):
    files = compiled(SITE).nodes["a"]
    found = {name: network["plugins"][0]["ipam"].get("routes", []) for name, network in networks(files).items()}
    plan = read(files, "plan.json")
    shims = {address["link"]: address["address"].partition("/")[0] for address in plan["addresses"][::-1]}
    assert {"dst": "10.96.0.0/12", "gw": shims["macvlan0"]} in found["pods"]
    assert {"dst": "10.0.0.20/32", "gw": shims["macvlan0"]} in found["pods"]
    assert found["storage"] == [{"dst": "10.0.1.1/32", "gw": shims["mv-storage"]}]
    assert [route["dst"] for route in found["cameras"]] == ["10.9.0.0/16"]


def test_a_chain_stands_after_macvlan_with_what_was_written_and_what_the_runtime_passes(compiled):
    files = compiled(SITE).nodes["a"]
    first = networks(files)["pods"]
    assert first["disableCheck"] is True  # portmap
    assert first["plugins"][0]["bcqueuelen"] == 2000
    sysctl = {"net.core.somaxconn": "1024", "net.ipv4.tcp_keepalive_time": "600"}
    assert first["plugins"][1:] == [
        {"type": "tuning", "allmulti": False, "sysctl": sysctl},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    assert networks(files)["cameras"]["plugins"][1:] == [{"type": "sbr"}]
    assert networks(files)["cameras"]["disableCheck"] is True  # sbr
    plan = read(files, "plan.json")
    names = [path.rpartition("/")[2] for path in plan["cni"]["plugins"]]
    assert names == ["macvlan", "host-local", "tuning", "portmap", "sbr"]


def test_the_cluster_gets_an_object_a_secondary_master_and_no_node_s_ranges(compiled, tmp_path):
    compiled(SITE)
    made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site-output/cluster").glob("nad-*")}
    assert sorted(made) == ["nad-cameras.yaml", "nad-storage.yaml"]
    assert YAML(typ="safe").load(made["nad-storage.yaml"]) == {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "storage", "namespace": "kube-system"},
    }


def test_names_that_yaml_would_take_for_something_else_stay_text(compiled, tmp_path):
    compiled(SITE.replace("storage", '"1e3"').replace("cameras", '"null"'))
    made = [YAML(typ="safe").load(path.read_bytes()) for path in (tmp_path / "site-output/cluster").glob("nad-*")]
    assert sorted(one["metadata"]["name"] for one in made) == ["1e3", "null"]


def test_the_kubelet_counts_the_addresses_of_the_first_network_alone(compiled):
    files = compiled(SITE).nodes["a"]
    assert read(files, "rootfs/etc/kubernetes/kubelet.conf.d/20-podlan.conf")["maxPods"] == 8


def test_what_dhcp_gives_away_is_in_no_slice(compiled):
    done = compiled(SITE)
    lock = done.checked.allocation.lock.text()
    assert "slice lan a 10.0.0.24-10.0.0.31" in lock  # .20 is the node's, 0-15 the server's


@pytest.mark.parametrize("order", [reversed, sorted])
def test_the_order_of_keys_changes_no_byte(compiled, tmp_path, order):
    expected = compiled(SITE)
    document = reordered(YAML(typ="safe").load(SITE), order)
    assert compiled(json.dumps(document), "other").nodes == expected.nodes
    one, other = (sorted((tmp_path / f"{name}-output/cluster").iterdir()) for name in ("site", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def reordered(value: Any, order: Callable[[list[str]], Iterable[str]]) -> Any:
    """Give the same document with the keys of every mapping in another order."""
    if isinstance(value, dict):
        return {key: reordered(value[key], order) for key in order(list(value))}
    return [reordered(item, order) for item in value] if isinstance(value, list) else value


def test_an_audit_of_the_output_sees_addresses_twice_on_secondary_networks(compiled, tmp_path):
    compiled(SITE)
    out = tmp_path / "site-output"
    assert not audit([str(out)]).failed
    paths = [out / f"nodes/{node}/{MULTUS}/storage.conflist" for node in "ab"]
    paths[1].write_bytes(paths[0].read_bytes())
    assert audit([str(out)]).failed


def test_a_node_on_which_an_interface_is_in_the_pod_has_nothing_of_it_on_the_host(compiled):
    inside = "inside: {interface: eth9, subnets: [inner], podsPerNode: 4, secondary: true, linkInContainer: true, "
    text = SITE.replace("storage: {i", f"{inside}hostAccess: {{via: none}}}}\n  storage: {{i").replace(
        "  b: {}", "  b: {masters: {uplink: {}, inside: {}}}"
    )
    text = text.replace("  store:", "  inner: {cidr: 10.0.3.0/24}\n  store:")
    files = compiled(text).nodes["b"]
    assert networks(files)["inside"]["plugins"][0]["linkInContainer"] is True
    assert "eth9" not in files["plan.json"].decode()
    assert "eth9" not in files["boot.sh"].decode()


LEASED = """\
  uplink: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: VIA}}
nodes:
  a: {address: 10.0.0.20}
"""


@pytest.mark.parametrize("via", ["none", "move"])
def test_pods_that_ask_a_server_have_no_slice_no_limit_and_a_daemon(compiled, via):
    text = SITE.partition("masters:")[0].replace(", serviceCIDR: [10.96.0.0/12]", "")
    text = text.replace("routes: [{dst: 0.0.0.0/0}]", "routes: []") + "masters:\n" + LEASED.replace("VIA", via)
    done = compiled(text)
    files = done.nodes["a"]
    assert done.checked.allocation.slices == {}
    assert networks(files)["pods"]["plugins"] == [
        {"type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": {"type": "dhcp"}}
    ]
    assert "maxPods" not in read(files, "rootfs/etc/kubernetes/kubelet.conf.d/20-podlan.conf")
    plan = read(files, "plan.json")
    assert [path.rpartition("/")[2] for path in plan["cni"]["plugins"]] == ["macvlan", "dhcp"]
    (unit,) = [file for file in plan["files"] if file["path"].endswith("podlan-cni-dhcp.service")]
    assert (unit["wantedBy"], unit["needs"]) == (["multi-user.target"], ["/opt/cni/bin/dhcp"])
    assert [link["name"] for link in plan["links"]] == ["eth0"] + ["macvlan0"] * (via == "move")
