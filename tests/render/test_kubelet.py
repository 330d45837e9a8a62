"""Every kubelet is told what it understands, in the file that it reads; tests/render/dialects.md is to be read."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import ip_address

import pytest
from blueprints import blueprint
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from podlan.inventory import Version
from podlan.inventory.kubelet_tables import fields, flags
from podlan.node.merge import merge_flags
from podlan.render._kubelet import kubelet

VERSIONS = [f"1.{minor}" for minor in range(9, 37)]
DISTRIBUTIONS = ["kubeadm-deb", "kubeadm-rpm", "legacy", "k3s", "rke2"]
EVERYTHING = {
    "hostNetworkPods": 2,
    "clusterDNS": ["10.96.0.10", "fd00:96::a"],
    "kubelet": {
        "labels": {"rack": "r12"},
        "taints": ["gpu:NoSchedule"],
        "roles": {"control-plane": {"labels": {"rack": "r1", "etcd": ""}, "taints": ["etcd=yes:NoExecute"]}},
        "resolvConf": "/run/systemd/resolve/resolv.conf",
        "flags": {"v": "2"},
    },
}
OWN = (ip_address("10.0.0.1"), ip_address("fd00::1"))


def rendered(cluster, **keywords):
    return list(kubelet(blueprint(cluster, **keywords)))


def flags_of(artifacts) -> list[str]:
    """Give the flags of the file that a distribution keeps for them, or of k3s's list."""
    for artifact in artifacts:
        if artifact.file.env_flags is not None:
            return list(artifact.file.env_flags.flags)
        if artifact.file.path.endswith(".yaml"):
            return [f"--{flag}" for flag in YAML(typ="safe").load(artifact.content).get("kubelet-arg+", [])]
    raise AssertionError(artifacts)


def drop_in(artifacts) -> dict[str, object]:
    (content,) = [artifact.content for artifact in artifacts if artifact.file.path.endswith(".conf")]
    return json.loads(content)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_kubelet_gets_no_flag_and_no_field_that_its_version_lacks(version, distribution):
    cluster = {**EVERYTHING, "kubernetes": version, "distribution": distribution}
    if version in VERSIONS[VERSIONS.index("1.30") :]:
        cluster["kubelet"] = {**EVERYTHING["kubelet"], "config": {"podsPerCore": 4}}
    known = Version(*map(int, version.split(".")))
    artifacts = rendered(cluster, addresses=OWN)
    written = flags_of(artifacts)
    assert written
    for flag in written:
        name = flag.removeprefix("--").partition("=")[0]
        assert name in flags().names
        assert not flags().missing(name, known), flag
    if known >= Version(1, 30):
        content = drop_in(artifacts)
        assert (content.pop("apiVersion"), content.pop("kind")) == (
            "kubelet.config.k8s.io/v1beta1",
            "KubeletConfiguration",
        )
        for field in content:
            assert fields().since[field] <= known
    else:
        assert not [artifact for artifact in artifacts if artifact.file.path.endswith(".conf")]


CNI_FLAGS = ["--network-plugin=cni", "--cni-conf-dir=/etc/cni/net.d", "--cni-bin-dir=/opt/cni/bin"]
DROP_IN = ["--config-dir=/etc/kubernetes/kubelet.conf.d"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.9", [*CNI_FLAGS, "--node-ip=10.0.0.1", "--max-pods=18"]),
        ("1.20.15", [*CNI_FLAGS, "--node-ip=10.0.0.1", "--max-pods=18"]),
        ("1.21", [*CNI_FLAGS, "--node-ip=10.0.0.1,fd00::1", "--max-pods=18"]),
        ("1.23.17", [*CNI_FLAGS, "--node-ip=10.0.0.1,fd00::1", "--max-pods=18"]),
        ("1.24", ["--node-ip=10.0.0.1,fd00::1", "--max-pods=18"]),
        ("1.29.15", ["--node-ip=10.0.0.1,fd00::1", "--max-pods=18"]),
        ("1.30", ["--node-ip=10.0.0.1,fd00::1", *DROP_IN]),
        ("1.36", ["--node-ip=10.0.0.1,fd00::1", *DROP_IN]),
    ],
)
def test_flags_change_with_the_releases_that_changed_them(version, expected):
    """CNI flags end with 1.24, a second --node-ip begins with 1.21, drop-ins with 1.30."""
    artifacts = rendered({"kubernetes": version, "hostNetworkPods": 2}, addresses=OWN)
    assert flags_of(artifacts) == expected
    if "--config-dir" in expected[-1]:
        assert drop_in(artifacts)["maxPods"] == 18


def test_a_kubelet_that_no_slice_limits_keeps_its_own_limit():
    """With addresses from DHCP podlan knows no number."""
    plan = blueprint({"kubernetes": "1.29"})
    (strand,) = plan.strands
    free = type(strand)(strand.attachment, ())
    artifacts = list(kubelet(type(plan)(plan.node, (free,), plan.network)))
    assert "max-pods" not in str(artifacts)


@pytest.mark.parametrize(
    ("distribution", "role", "path", "unit"),
    [
        ("kubeadm-deb", "worker", "/etc/default/kubelet", "kubelet.service"),
        ("kubeadm-rpm", "worker", "/etc/sysconfig/kubelet", "kubelet.service"),
        ("legacy", "worker", "/etc/kubernetes/kubelet", "kubelet.service"),
        ("k3s", "control-plane", "/etc/rancher/k3s/config.yaml.d/20-podlan.yaml", "k3s.service"),
        ("k3s", "worker", "/etc/rancher/k3s/config.yaml.d/20-podlan.yaml", "k3s-agent.service"),
        ("rke2", "control-plane", "/etc/rancher/rke2/config.yaml.d/20-podlan.yaml", "rke2-server.service"),
        ("rke2", "worker", "/etc/rancher/rke2/config.yaml.d/20-podlan.yaml", "rke2-agent.service"),
    ],
)
def test_flags_stand_where_the_distribution_keeps_them_and_restart_its_own_unit(distribution, role, path, unit):
    artifacts = rendered(
        {"kubernetes": "1.31", "distribution": distribution, "kubelet": {"config": {"podsPerCore": 4}}}, role=role
    )
    assert [artifact.file.path for artifact in artifacts] == ["/etc/kubernetes/kubelet.conf.d/20-podlan.conf", path]
    assert {artifact.file.restart for artifact in artifacts} == {(unit,)}


@pytest.mark.parametrize("version", ["1.29", "1.31"])
def test_a_role_s_labels_win_and_its_taints_are_added(version):
    artifacts = rendered({**EVERYTHING, "kubernetes": version}, role="control-plane")
    assert "--node-labels=etcd=,rack=r1" in flags_of(artifacts)
    if version == "1.29":
        assert "--register-with-taints=gpu=:NoSchedule,etcd=yes:NoExecute" in flags_of(artifacts)
    else:
        assert drop_in(artifacts)["registerWithTaints"] == [
            {"key": "gpu", "value": "", "effect": "NoSchedule"},
            {"key": "etcd", "value": "yes", "effect": "NoExecute"},
        ]
    worker = rendered({**EVERYTHING, "kubernetes": version}, role="worker")
    assert "--node-labels=rack=r12" in flags_of(worker)


def test_the_files_do_not_follow_the_order_in_which_somebody_wrote_the_keys():
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    own = {"v": "2", "root-dir": "/srv/kubelet"}
    config = {"podsPerCore": 4, "evictionHard": {"nodefs.available": "10%", "memory.available": "100Mi"}}
    for distribution in DISTRIBUTIONS:
        kubelet_keys = {**EVERYTHING["kubelet"], "flags": own, "config": config}
        cluster = {**EVERYTHING, "kubernetes": "1.31", "distribution": distribution, "kubelet": kubelet_keys}
        assert rendered(cluster) == rendered(turned(cluster))


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9])?", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


@given(labels=st.dictionaries(NAMES, NAMES, max_size=4), taint=NAMES, values=st.lists(VALUES, max_size=4))
def test_yaml_gives_k3s_back_what_people_wrote(labels, taint, values):
    """`no`, `1e3`, `#`, quotes and braces are texts like others."""
    own = {f"flag-{number}": value for number, value in enumerate(values)}
    keys = {"labels": labels, "taints": [f"{taint}=1:NoSchedule"], "flags": own}
    (artifact,) = rendered({"kubernetes": "1.29", "distribution": "k3s", "kubelet": keys}, addresses=OWN)
    document = YAML(typ="safe").load(artifact.content)
    assert document["node-ip"] == "10.0.0.1,fd00::1"
    assert document["kubelet-arg+"] == ["max-pods=16", *(f"{name}={value}" for name, value in own.items())]
    assert document.get("node-label+", []) == [f"{name}={value}" for name, value in sorted(labels.items())]
    assert document["node-taint+"] == [f"{taint}=1:NoSchedule"]


DEBIAN = """\
# Put extra options for the kubelet here; kubeadm keeps its own in /var/lib/kubelet/kubeadm-flags.env.
KUBELET_EXTRA_ARGS="--v=4 --max-pods=110 --image-service-endpoint=unix:///run/images.sock"
"""
HOWTO = """\
###
# kubernetes kubelet (minion) config

# The address for the info server to serve on (set to 0.0.0.0 or "" for all interfaces)
KUBELET_ADDRESS="--address=0.0.0.0"

# Add your own!
KUBELET_ARGS='--cgroup-driver=systemd --fail-swap-on=false --network-plugin=kubenet'
"""
ON_THE_NODE = {
    "kubeadm's empty variable": ("kubeadm-rpm", "1.31", "KUBELET_EXTRA_ARGS=\n"),
    "flags of somebody else": ("kubeadm-deb", "1.29", DEBIAN),
    "the how-to's file": ("legacy", "1.9", HOWTO),
    "no file": ("kubeadm-deb", "1.36", ""),
    "bare": ("kubeadm-deb", "1.31", "KUBELET_EXTRA_ARGS=--v=4\nOTHER=1"),
}


@pytest.mark.parametrize(("distribution", "version", "before"), ON_THE_NODE.values(), ids=ON_THE_NODE)
def test_merged_into_a_node_s_file_a_shell_reads_every_flag_once_and_nothing_else_changes(
    distribution, version, before
):
    (artifact,) = [
        artifact
        for artifact in rendered({**EVERYTHING, "kubernetes": version, "distribution": distribution}, addresses=OWN)
        if artifact.file.env_flags is not None
    ]
    wanted = artifact.file.env_flags
    merged = merge_flags(before, wanted.variable, wanted.flags)
    words = sourced(merged, wanted.variable)
    assert set(wanted.flags) <= set(words)
    assert len({word.partition("=")[0] for word in words}) == len(words)
    others = {name.partition("=")[0] for name in wanted.flags}
    assert [word for word in sourced(before, wanted.variable) if word.partition("=")[0] not in others] == [
        word for word in words if word not in wanted.flags
    ]

    def rest(text):
        return [line for line in text.splitlines() if not line.startswith(f"{wanted.variable}=")]

    assert rest(merged) == rest(before)
    assert merge_flags(merged, wanted.variable, wanted.flags) == merged


def sourced(text: str, variable: str) -> list[str]:
    shell = f"{text}\nset -f; printf '%s\\n' ${variable}"
    done = subprocess.run(["dash", "-eu", "-c", f"{variable}=\n{shell}"], capture_output=True, text=True, check=True)
    return done.stdout.split()


@given(value=VALUES)
def test_a_value_that_the_rules_let_pass_the_node_can_write(value):
    from podlan.rules._kubelet import _UNSAFE  # noqa: PLC0415 - the rule's own idea of what cannot be written

    if not _UNSAFE.search(value):
        merged = merge_flags('A="--x=1"\n', "A", (f"--own={value}",))
        assert merged == f'A="--x=1 --own={value}"\n'


def test_the_tables_are_not_read_for_a_site_that_adds_nothing(project):
    script = (
        "from podlan import pipeline\n"
        "from pathlib import Path\n"
        "from podlan.inventory.kubelet_tables import fields, flags\n"
        "assert not pipeline.check(Path('site')).failed\n"
        "print(flags.cache_info().currsize, fields.cache_info().currsize)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project.path, capture_output=True, text=True, check=True)
    assert done.stdout == "0 0\n"


def test_the_tables_agree_with_each_other():
    table = flags()
    assert set(fields().flags.values()) <= table.names
    assert set(fields().flags) <= set(fields().since)
    for name, gone in table.removed.items():
        assert table.since.get(name, Version(0, 0)) < gone.version
        assert gone.instead
        assert gone.source
    assert table.missing("network-plugin", Version(1, 24))
    assert not table.missing("network-plugin", Version(1, 23, 17))
    assert table.missing("no-such-flag", Version(1, 20, 2))
    assert not table.missing("no-such-flag", Version(1, 31))
