"""The how-to that podlan replaces, step by step: what it has people type is what its site compiles to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podlan import pipeline
from podlan.plan import decode

SITE = Path(__file__).parent / "site"

HOWTO_CONF = {
    "name": "k8s-pod-network",
    "cniVersion": "0.3.0",
    "type": "macvlan",
    "master": "eth0",
    "ipam": {
        "type": "host-local",
        "ranges": [
            [
                {
                    "subnet": "172.16.129.0/24",
                    "rangeStart": "172.16.129.110",
                    "rangeEnd": "172.16.129.119",
                    "gateway": "172.16.129.254",
                }
            ]
        ],
        "dataDir": "/run/my-orchestrator/container-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "172.16.129.0/24"}],
    },
    "dns": {"nameservers": ["192.168.5.229", "192.168.4.189"]},
}


@pytest.fixture
def files(tmp_path):
    result = pipeline.compile_site(SITE, tmp_path / "out", write=False)
    assert not result.checked.findings
    return result.nodes["node-1"]


def test_its_macvlan_conf_is_the_how_to_s_in_meaning(files):
    """The mode is written out; bridge is what the plugin takes where the how-to says nothing."""
    conf = json.loads(files["rootfs/etc/cni/net.d/macvlan.conf"])
    assert conf.pop("mode") == "bridge"
    assert conf == HOWTO_CONF


def test_its_kubelet_file_gets_the_how_to_s_flags(files):
    """With them its address, and as many pods as have one: with the kubelet's own 110 most would wait for ever."""
    plan = decode(files["plan.json"].decode(), "plan.json")
    (file,) = [file for file in plan.files if file.env_flags]
    assert file.path == "/etc/kubernetes/kubelet"
    assert file.env_flags.variable == "KUBELET_ARGS"
    assert " ".join(file.env_flags.flags[:3]) == (
        "--network-plugin=cni --cni-conf-dir=/etc/cni/net.d --cni-bin-dir=/opt/cni/bin"
    )
    assert file.env_flags.flags[3:] == ("--node-ip=172.16.129.101", "--max-pods=10")


def test_it_persists_in_rc_local(files):
    plan = decode(files["plan.json"].decode(), "plan.json")
    (file,) = [file for file in plan.files if file.block]
    assert (file.path, file.mode) == ("/etc/rc.d/rc.local", "0755")


def test_with_current_plugins_its_second_route_is_refused(tmp_path):
    text = (SITE / "site.yaml").read_text(encoding="utf-8")
    (tmp_path / "site.yaml").write_text(text.replace('"0.7.0"', '"1.1.1"'), encoding="utf-8")
    (finding,) = pipeline.check(tmp_path).findings
    assert finding.code == "PL209"
    assert finding.place.line == text.splitlines().index("      - {dst: 172.16.129.0/24}") + 1
