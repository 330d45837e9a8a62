"""What a real containerd makes of what podlan compiled, asked as a kubelet asks it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from containerd import Containerd, cgroups, containerd
from cri import Refused

pytestmark = pytest.mark.kernel

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31", runtime: containerd, runtimeVersion: "1.6"}
cni: {name: pods, binDir: /usr/lib/cni, plugins: {version: "1.1.1"}}
boot: rc.local
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-99], routes: []}
  lan6:
    cidr: fd00:10::/64
    pool:
      - fd00:10::100-fd00:10::1ff
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 2}
nodes:
  node-1: {address: 10.0.0.1}
  node-2: {address: 10.0.0.2}
"""
ADDRESSES = """\
nodes:
  node-1:
    masters:
      uplink:
        addresses:
          - 10.0.0.1
          - fd00:10::1
  node-2:
    masters:
      uplink:
        addresses:
          - 10.0.0.2
          - fd00:10::2
"""
DUAL_STACK = SITE.partition("nodes:")[0].replace("[lan]", "[lan, lan6]") + ADDRESSES
CONF = SITE.replace("name: pods", "name: pods, format: conf")
CHAINED = SITE.replace("podsPerNode: 2", 'podsPerNode: 2, chain: [{type: tuning, sysctl: {net.core.somaxconn: "77"}}]')
OTHER = {
    "cniVersion": "1.0.0",
    "name": "other",
    "plugins": [
        {
            "type": "macvlan",
            "master": "eth0",
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.77"}]]},
        }
    ],
}
PATIENCE = 5
"""Seconds for containerd to notice a file; it takes a few milliseconds."""


def eventually(holds):
    end = time.monotonic() + PATIENCE
    while not (answer := holds()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer


@pytest.fixture
def node(lan):
    """The first node of the site, before podlan comes to it."""
    return lan.nodes(SITE)[0]


@pytest.mark.parametrize(
    ("site", "slices"),
    [
        (SITE, [{"10.0.0.16", "10.0.0.17"}, {"10.0.0.18", "10.0.0.19"}]),
        (
            DUAL_STACK,
            [
                {"10.0.0.16", "10.0.0.17", "fd00:10::100", "fd00:10::101"},
                {"10.0.0.18", "10.0.0.19", "fd00:10::102", "fd00:10::103"},
            ],
        ),
    ],
    ids=["v4", "v4-and-v6"],
)
def test_pods_and_hosts_of_two_nodes_reach_each_other_at_addresses_of_each_node_s_own_slice(lan, start, site, slices):
    nodes = lan.nodes(site)
    assert [node.reconcile().stderr for node in nodes] == ["", ""], "preflight has nothing to say of such a machine"
    runtimes = [start(node) for node in nodes]
    with ThreadPoolExecutor() as kubelets:
        started = list(kubelets.map(Containerd.run, runtimes * 2))
    pods = [started[0::2], started[1::2]]
    assert [{address for pod in those for address in pod.addresses} for those in pods] == slices
    for runtime, (pod, neighbour), (stranger, _), host in zip(runtimes, pods, reversed(pods), nodes, strict=True):
        for address in (*neighbour.addresses, *stranger.addresses, *nodes[0].addresses, *nodes[1].addresses):
            assert runtime.reaches(pod, address), f"{pod.addresses} to {address}"
        for address in (*pod.addresses, *stranger.addresses):
            assert host.reaches(address), f"{host.name} to {address}"


def test_the_network_is_ready_and_is_the_compiled_file(node, start):
    node.reconcile()
    network = start(node).network()
    assert (network.ready, network.name) == (True, "pods"), network.message
    assert {"05-podlan.conflist": network.config} == node.compiled


def test_a_plain_configuration_is_taken_as_a_list_of_one(lan, start):
    node, _ = lan.nodes(CONF)
    node.reconcile()
    runtime = start(node)
    (plugin,) = runtime.network().config["plugins"]
    assert {"05-podlan.conf": plugin} == node.compiled
    assert runtime.run().addresses == ("10.0.0.16",)


def test_every_plugin_of_a_chain_is_called(lan, start):
    node, _ = lan.nodes(CHAINED)
    node.reconcile()
    runtime = start(node)
    pod = runtime.run()
    assert runtime.exec(pod, "cat", "/proc/sys/net/core/somaxconn").stdout == "77\n"
    runtime.remove(pod)
    assert runtime.reserved("pods") == set()


def test_a_pod_that_is_gone_leaves_its_address_to_the_next(node, start):
    node.reconcile()
    runtime = start(node)
    first, second = runtime.run(), runtime.run()
    assert runtime.reserved("pods") == {"10.0.0.16", "10.0.0.17"}
    runtime.remove(first)
    assert runtime.reserved("pods") == {"10.0.0.17"}
    assert runtime.run().addresses == first.addresses
    runtime.remove(second)
    assert runtime.reserved("pods") == {"10.0.0.16"}


def test_the_pod_after_the_last_address_is_refused_and_leaves_nothing_behind(node, start):
    node.reconcile()
    runtime = start(node)
    pods = [runtime.run(), runtime.run()]
    before = runtime.reserved("pods"), runtime.namespaces(), runtime.sandboxes()
    assert before == ({"10.0.0.16", "10.0.0.17"}, 2, {pod.sandbox for pod in pods})
    with pytest.raises(Refused, match=r"no IP addresses available in range set: 10\.0\.0\.16-10\.0\.0\.17"):
        runtime.run()
    assert (runtime.reserved("pods"), runtime.namespaces(), runtime.sandboxes()) == before


def test_a_file_of_others_that_comes_first_is_told_before_the_runtime_takes_it(node, start):
    leftover = node.conf_dir / "00-other.conflist"
    leftover.write_text(json.dumps(OTHER), encoding="utf-8")
    assert f"warning[PL612]: {leftover} comes before 05-podlan.conflist" in node.reconcile("--check", code=3).stderr
    node.reconcile()
    runtime = start(node)
    assert runtime.network().name == "other"
    assert runtime.run().addresses == ("192.0.2.77",)
    leftover.unlink()
    assert eventually(lambda: runtime.network().name == "pods")
    assert node.reconcile("--check").stderr == ""
    assert runtime.run().addresses == ("10.0.0.16",)


def test_a_broken_file_that_comes_first_is_told_and_keeps_every_pod_from_the_network(node, start):
    leftover = node.conf_dir / "00-other.conflist"
    leftover.write_text(json.dumps(OTHER)[:-1], encoding="utf-8")
    told = node.reconcile("--check", code=3).stderr
    assert f"warning[PL645]: {leftover} is not JSON, and comes before 05-podlan.conflist" in told
    node.reconcile()
    runtime = start(node)
    assert not runtime.network().ready
    with pytest.raises(Refused, match="cni plugin not initialized"):
        runtime.run()
    leftover.unlink()
    assert eventually(lambda: runtime.network().ready)
    assert runtime.run().addresses == ("10.0.0.16",)


def test_what_a_later_compile_changes_reaches_the_next_pod_without_a_restart(lan, node, start):
    node.reconcile()
    runtime = start(node)
    first = runtime.run()
    lan.compile(SITE.replace("podsPerNode: 2", "podsPerNode: 2, mtu: 1400"))
    node.reconcile()
    assert eventually(lambda: {"05-podlan.conflist": runtime.network().config} == node.compiled)
    second = runtime.run()
    mtu = [runtime.exec(pod, "cat", "/sys/class/net/eth0/mtu").stdout for pod in (first, second)]
    assert mtu == ["1500\n", "1400\n"]
    runtime.remove(first)
    assert runtime.reserved("pods") == {"10.0.0.17"}


def test_all_that_a_runtime_started_ends_with_a_test_that_fails(node, image):
    processes, groups = [], []

    def failing_test():
        with containerd(node.namespace, node.home, image) as runtime:
            runtime.run()
            processes.extend(Path(f"/proc/{process}") for process in runtime.processes())
            groups.extend(cgroups(runtime.cgroup))
            raise ZeroDivisionError

    node.reconcile()
    with pytest.raises(ZeroDivisionError):
        failing_test()
    assert len(processes) == 4, "containerd, its shim, and the pod's two"
    assert groups
    assert not [path for path in (*processes, *groups) if path.exists()]
