"""Attaching and detaching as a container runtime does it."""

import subprocess

import how_to
import pytest

from podlan.lab import Options, cni, node, wiring
from podlan.lab.errors import PluginFailed
from podlan.lab.life import opened
from podlan.lab.namespaces import in_node, in_pod

pytestmark = pytest.mark.kernel

TUNING = {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_notify": "1"}}
BROKEN = {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.no_such_setting": "1"}}


def reservations(home):
    listing = in_node(home, "node-1", "sh", "-c", "ls /run/podlan/ipam/k8s-pod-network 2>/dev/null || true")
    names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if name[0].isdecimal()]


def test_every_plugin_of_a_chain_is_called_on_what_the_one_before_made(build):
    home, _ = build("none", only=("node-1",), after=(TUNING,), options=Options(pods=1))
    shown = subprocess.run(
        in_pod(home, "node-1", "node-1/pod-1", "cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "1\n"


def test_detaching_frees_the_address_and_can_be_repeated(build, name):
    home, state = build("none", only=("node-1",), after=(TUNING,))
    assert reservations(home) == ["172.16.129.110", "172.16.129.111"]
    with opened(name) as lab:
        for _ in range(2):
            node.detach(lab.processes, lab.home, state.pods[0], "/opt/cni/bin")
    assert reservations(home) == ["172.16.129.111"]


def test_an_attachment_that_fails_halfway_keeps_no_address_and_no_interface(build, name):
    home, _ = build("none", only=("node-1",), options=Options(pods=0))
    config = how_to.network("node-1", access="none", after=(BROKEN,))
    pod = cni.Attachment("node-1", "node-1/pod-1", config, "/opt/cni/bin")
    with opened(name) as lab:
        wiring.start_pod(lab.processes, lab.home, pod.node, pod.pod)
        with pytest.raises(PluginFailed) as failed:
            cni.add(lab.processes, lab.home, pod)
    assert failed.value.plugin == "tuning"
    assert reservations(home) == []
    assert subprocess.run(in_pod(home, pod.node, pod.pod, "ip", "link", "show", "eth0"), check=False).returncode


def test_a_pod_that_is_no_longer_as_it_was_made_fails_its_check(build, name):
    home, state = build("none", only=("node-1",), options=Options(pods=1))
    pod = state.pods[0]
    subprocess.run(in_pod(home, pod.node, pod.name, "ip", "address", "flush", "dev", "eth0"), check=True)
    attachment = cni.Attachment(pod.node, pod.name, pod.interfaces[0].config, "/opt/cni/bin")
    with opened(name) as lab, pytest.raises(PluginFailed) as failed:
        cni.check(lab.processes, lab.home, attachment, pod.interfaces[0].result)
    assert (failed.value.verb, failed.value.plugin) == ("CHECK", "macvlan")


@pytest.mark.parametrize(
    ("result", "addresses"),
    [
        ({"ips": [{"address": "10.0.0.7/24"}, {"address": "fd00::7/64"}]}, ("10.0.0.7", "fd00::7")),
        ({"ip4": {"ip": "10.0.0.7/24"}}, ("10.0.0.7",)),
        ({}, ()),
    ],
)
def test_addresses_are_read_from_results_of_every_version(result, addresses):
    assert cni.addresses(result) == addresses


def test_an_address_is_in_a_slice_of_several_ranges():
    ranges = [
        [{"subnet": "10.0.0.0/24", "rangeStart": f"10.0.0.{a}", "rangeEnd": f"10.0.0.{b}"} for a, b in ((4, 7), (9, 9))]
    ]
    config = how_to.network("node-1", access="none", ranges=ranges)
    inside = [last for last in range(1, 12) if cni.in_ranges(config, f"10.0.0.{last}")]
    assert inside == [4, 5, 6, 7, 9]
    assert not cni.in_ranges(config, "::a00:4")
