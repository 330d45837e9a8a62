"""`podlan explain` for values: what applies, and who says it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from handmade import cases, judged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podlan.diagnostics import PodlanError
from podlan.inventory import cni_version
from podlan.review import explaining, schema
from podlan.review.writing import NoSuchPath
from podlan.source import dotted

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31", runtimeVersion: "1.7", serviceCIDR: [10.96.0.0/12]}
cni: {name: pods, plugins: {version: "0.8.0"}}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-199], routes: []}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 10}
profiles:
  big: {pods: 20, cluster: {kubernetes: "1.29"}}
  old: {cluster: {kubernetes: "1.30", serviceCIDR: []}, cni: {format: conf}, masters: {uplink: {interface: ens1}}}
nodes:
  n1.dc1: {address: 10.0.0.1}
  pinned: {address: 10.0.0.2, ranges: [10.0.0.128-137, 10.0.0.160]}
  node-3: {address: 10.0.0.3, profiles: [big, old], masters: {uplink: {pods: 30}}}
  node-4: {address: 10.0.0.4, profiles: [old, big], role: control-plane}
"""
LOCK = """\
meta dataDir /run/podlan/ipam
meta name pods
quarantine lan node-4 10.0.0.64-10.0.0.95
slice lan n1.dc1 10.0.0.16-10.0.0.31
slice lan node-3 10.0.0.96-10.0.0.111
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Places are shown without a directory."""
    monkeypatch.chdir(tmp_path)
    return Path()


@pytest.fixture
def site(here):
    return judged(here, SITE, LOCK)


def said(site, path: str) -> str:
    return explaining.as_text(explaining.explain(site, path))


TOLD = """\
$ nodes["n1.dc1"].cluster.kubernetes
nodes["n1.dc1"].cluster.kubernetes = "1.31"
  site  site.yaml:3:23  cluster.kubernetes: "1.31"
$ nodes["node-3"].cluster.kubernetes
nodes["node-3"].cluster.kubernetes = "1.30"
  profile old  site.yaml:11:31  profiles.old.cluster.kubernetes: "1.30"
  profile big  site.yaml:10:41  overridden: profiles.big.cluster.kubernetes: "1.29"
  site         site.yaml:3:23   overridden: cluster.kubernetes: "1.31"
$ nodes["node-3"].cluster.serviceCIDR
nodes["node-3"].cluster.serviceCIDR = []
  profile old  site.yaml:11:52  profiles.old.cluster.serviceCIDR: []
  site         site.yaml:3:67   overridden: cluster.serviceCIDR: ["10.96.0.0/12"]
$ nodes["node-3"].pods
nodes["node-3"].pods = 30
  node         site.yaml:15:78  nodes["node-3"].masters.uplink.pods: 30
  profile big  site.yaml:10:15  overridden: profiles.big.pods: 20
  site         site.yaml:8:58   overridden: masters.uplink.podsPerNode: 10
$ nodes["node-4"].interface
nodes["node-4"].interface = "ens1"
  profile old  site.yaml:11:108  profiles.old.masters.uplink.interface: "ens1"
  site         site.yaml:8:23    overridden: masters.uplink.interface: "eth0"
$ nodes["n1.dc1"].cni.cniVersion
nodes["n1.dc1"].cni.cniVersion = "0.4.0"
  rule                     the newest that plugins and runtime take, at most 1.0.0
  site     site.yaml:4:38  plugins 0.8.0 take up to 0.4.0; cni.plugins.version: "0.8.0"
  default                  containerd takes up to 1.0.0; cluster.runtime is written nowhere (The container runtime)
  site     site.yaml:3:47  cluster.runtimeVersion: "1.7"
$ nodes.node-3.cni.fileName
nodes["node-3"].cni.fileName = "05-podlan.conf"
  rule                          the name that sorts first; its ending follows cni.format
  profile old  site.yaml:11:71  profiles.old.cni.format: "conf"
$ nodes["n1.dc1"].mode
nodes["n1.dc1"].mode = "bridge"
  default  masters.uplink.mode is written nowhere (bridge: pods of a node meet directly; vepa: through the switch)
$ nodes.pinned.ranges
nodes.pinned.ranges = ["10.0.0.128-137", "10.0.0.160"]
  node  site.yaml:14:39  nodes.pinned.ranges: ["10.0.0.128-137", "10.0.0.160"]
$ nodes.pinned.ranges[1]
nodes.pinned.ranges[1] = "10.0.0.160"
  node  site.yaml:14:39  nodes.pinned.ranges: ["10.0.0.128-137", "10.0.0.160"]
$ nodes["n1.dc1"].masters.uplink.ranges
nodes["n1.dc1"].masters.uplink.ranges = ["10.0.0.16-31"]
  lock     podlan.lock:5:1  slice lan n1.dc1 10.0.0.16-31
  site     site.yaml:8:58   masters.uplink.podsPerNode: 10 pods
  default                   masters.uplink.allocate: aligned, so rounded up to 16
$ nodes["node-3"].ranges
nodes["node-3"].ranges = ["10.0.0.96-127"]
  allocator                   changed to 10.0.0.96-127 since it was locked; `podlan compile` writes it into podlan.lock
  lock       podlan.lock:6:1  slice lan node-3 10.0.0.96-111
  node       site.yaml:15:78  nodes["node-3"].masters.uplink.pods: 30 pods
  default                     masters.uplink.allocate: aligned, so rounded up to 32
$ nodes["node-4"].ranges
nodes["node-4"].ranges = ["10.0.0.64-95"]
  lock         podlan.lock:4:1  back from the quarantine of 10.0.0.64-95
  profile big  site.yaml:10:15  profiles.big.pods: 20 pods
  default                       masters.uplink.allocate: aligned, so rounded up to 32
$ masters.uplink.podsPerNode
masters.uplink.podsPerNode = 10
  site  site.yaml:8:58  written here
$ cluster.distribution
cluster.distribution = "kubeadm-deb"
  default  cluster.distribution is written nowhere (Where kubelet flags live; 'legacy' is /etc/kubernetes/kubelet)
$ profiles.big.role
profiles.big.role = null
  default  profile big leaves it as it is
"""


@pytest.mark.parametrize(("path", "expected"), cases(TOLD))
def test_a_value_is_told_with_who_says_it_and_whom_that_overrides(site, path, expected):
    assert said(site, path) == expected


def test_a_node_without_a_line_in_the_lock_gets_the_first_free_place(here):
    site = judged(here, SITE)
    assert "  allocator                  the first place that is free for it;" in said(site, 'nodes["n1.dc1"].ranges')


def test_a_renamed_node_shows_the_line_of_its_earlier_name(here):
    site = judged(here, SITE.replace("n1.dc1: {", "new: {was: n1.dc1, "), LOCK)
    told = said(site, "nodes.new.ranges")
    assert told.startswith(
        'nodes.new.ranges = ["10.0.0.16-31"]\n  lock     podlan.lock:5:1  slice lan n1.dc1 10.0.0.16-31\n'
    )
    assert "new was n1.dc1" in told


WRONG = {
    "nodes.n1": "there is no node n1; there is: n1.dc1",
    "nodes.node-33": "there is no node node-33; did you mean node-3?",
    "nodes.pinned.cluster.kubernets": "podlan knows no key kubernets at nodes.pinned.cluster; did you mean kubernetes?",
    "nodes.pinned.masters.uplin.pods": "pinned has no master uplin; did you mean uplink?",
    "nodes.pinned.masters.uplink.pod": "podlan knows no key pod at nodes.pinned.masters.uplink; did you mean pods?",
    "nodes.pinned.rangs": "podlan knows no key rangs at nodes.pinned; did you mean ranges?",
    "nodes.pinned.ranges[2]": "there is no nodes.pinned.ranges[2]: it has 2 entries, counted from 0",
    "nodes.pinned.boot[0]": "there is no nodes.pinned.boot[0]: the value is no list",
    "clustr": "there is no clustr; did you mean cluster?",
    "subnets.lann.pool": "there is no lann at subnets; did you mean lan?",
    "subnets.lan.pool[7]": "there is no subnets.lan.pool[7]: it has 1 entry, counted from 0",
    "profiles.bigg": "there is no bigg at profiles; did you mean big?",
}


@pytest.mark.parametrize("path", WRONG)
def test_a_path_that_leads_nowhere_is_answered_with_the_nearest(site, path):
    with pytest.raises(NoSuchPath) as caught:
        explaining.explain(site, path)
    assert str(caught.value).startswith(WRONG[path])


def test_a_section_tells_every_value_below_it_with_its_origin(site):
    lines = said(site, 'nodes["node-3"].cluster').splitlines()
    assert 'nodes["node-3"].cluster.kubernetes = "1.30"  # profile old site.yaml:11:31' in lines
    assert 'nodes["node-3"].cluster.runtime = "containerd"  # default' in lines
    whole = said(site, 'nodes["node-3"]').splitlines()
    assert set(lines) <= set(whole)
    assert 'nodes["node-3"].profiles = ["big", "old"]  # node site.yaml:15:41' in whole


def test_what_is_explained_is_what_the_site_was_resolved_to(site):
    """The explanation follows the written layers by itself; the resolved site is the other computation."""
    for node in site.site.nodes:
        values = {part.subject: part.value for part in explaining.explain(site, dotted(("nodes", node.name))).parts}
        base = dotted(("nodes", node.name))
        for section in ("cluster", "cni"):
            for key, value in schema.plain(getattr(node, section)).items():
                if isinstance(value, dict) or key in ("cniVersion", "fileName"):
                    continue
                shown = values[f"{base}.{section}.{key}"]
                assert value in (shown, f"{shown}.0"), key
        (attachment,) = node.attachments
        assert values[f"{base}.cni.cniVersion"] == cni_version(node)
        assert values[f"{base}.masters.uplink.interface"] == attachment.interface
        assert values[f"{base}.masters.uplink.pods"] == attachment.pods
        assert values[f"{base}.masters.uplink.addresses"] == [str(item) for item in attachment.addresses]
        assert values[f"{base}.role"] == node.role
        assert values[f"{base}.boot"] == node.boot
        ranges = site.allocation.slices[("lan", node.name)]
        assert values[f"{base}.masters.uplink.ranges"] == [str(item) for item in ranges]


KEYS = ["ranges", "addresses", "address", "pods", "pool", "hostAccess", "via", "plugins", "version", "was", "role", "x"]
WORDS = st.sampled_from(
    ["nodes", "n1.dc1", "pinned", "node-3", "cluster", "masters", "uplink", "profiles", "old", "subnets", "lan", *KEYS]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(st.lists(WORDS | st.integers(0, 3), min_size=1, max_size=6))
def test_any_path_has_an_answer_or_a_clear_error(site, steps):
    with contextlib.suppress(PodlanError):
        answer = explaining.explain(site, dotted(tuple(steps)))
        assert json.loads(explaining.as_json(answer))["subject"]
        assert explaining.as_text(answer)


def test_the_command_ends_as_every_command_does(project):
    assert "10.0.0.254" in project.run("explain", "site", "subnets.lan.gateway").stdout
    assert "did you mean subnets?" in project.run("explain", "site", "subnet", code=1).stderr
    assert "neither an address nor a path" in project.run("explain", "site", "a..b", code=2).stderr
    project.run("explain", "nowhere", "site", code=2)
    values = json.loads(project.run("explain", "site", "nodes.node-1.pods", "--format", "json").stdout)
    assert values["value"] == 10
    assert values["steps"][0]["place"] == {"file": "site/site.yaml", "line": 12, "column": 58, "length": 2}
    project.change("10.0.0.2}", "10.0.0.1}")
    assert "PL204" in project.run("explain", "site", "cluster", code=1).stderr
