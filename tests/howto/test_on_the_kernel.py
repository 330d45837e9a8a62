"""The how-to on a real kernel: its final route table, its reboot, and why its second route is refused today."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from lan import NODE, PEER, Net

from podlan import pipeline

SITE = Path(__file__).parent / "site"
HOWTO_ROUTES = """\
default via 172.16.129.254 dev macvlan0
169.254.0.0/16 dev eth0 scope link metric 1002
172.16.129.0/24 dev macvlan0 proto kernel scope link src 172.16.129.101
172.30.47.0/24 dev docker0 proto kernel scope link src 172.30.47.1
"""
"""The how-to's final `ip route`, of every destination the line that the kernel takes."""

pytestmark = pytest.mark.kernel


@pytest.fixture
def net(tmp_path):
    network = Net(tmp_path)
    try:
        yield network.up()
    finally:
        network.down()


@pytest.fixture
def directory(tmp_path):
    out = tmp_path / "out"
    pipeline.compile_apart(SITE, out)
    return out / "nodes/node-1"


def with_others(net: Net) -> None:
    """Give the node what the how-to's machine has beside: docker0 and a link-local route."""
    net.ip("link", "add", "docker0", "type", "bridge")
    net.ip("addr", "add", "172.30.47.1/24", "dev", "docker0")
    net.ip("link", "set", "docker0", "up")
    net.ip("route", "add", "169.254.0.0/16", "dev", "eth0", "scope", "link", "metric", "1002")


def best_routes(net: Net) -> str:
    """Give of every destination the route with the lowest metric, without podlan's marks."""
    best: dict[str, tuple[int, str]] = {}
    for line in net.ip("route").splitlines():
        words = line.split()
        metric = int(words[words.index("metric") + 1]) if "metric" in words else 0
        shown = " ".join(line.replace("proto 112 ", "").replace("linkdown", "").replace("metric 50", "").split())
        best[words[0]] = min(best.get(words[0], (1 << 32, "")), (metric, shown))
    return "".join(f"{text}\n" for _, (_, text) in sorted(best.items(), key=lambda item: item[0] != "default"))


def test_the_best_routes_after_reconcile_are_the_how_to_s(net, directory):
    with_others(net)
    foreign = [line for line in net.ip("route").splitlines() if "docker0" in line or "169.254" in line]
    net.reconcile(directory)
    assert best_routes(net) == HOWTO_ROUTES
    assert [line for line in net.ip("route").splitlines() if "docker0" in line or "169.254" in line] == foreign
    assert "PROMISC" in net.ip("link", "show", "eth0")


def test_host_and_pod_reach_each_other_which_the_how_to_s_own_lines_do_not_bring_about(net, directory):
    """With eth0's connected route first, as the how-to's lines leave it, nothing passes; its metric must be worse."""
    for line in (
        "link add link eth0 macvlan0 type macvlan mode bridge",
        "link set dev macvlan0 up",
        "addr add 172.16.129.101/24 dev macvlan0",
        "route replace default via 172.16.129.254 dev macvlan0",
    ):
        net.ip(*line.split())
    with net.pod() as pod:
        assert not net.reaches("node", "172.16.129.110")
        net.reconcile(directory)
        assert net.reaches("node", "172.16.129.110")
        assert net.reaches(pod, NODE)
        assert net.reaches("peer", NODE)
        assert net.reaches(pod, PEER)


def test_its_kubelet_file_keeps_everything_else(net, directory):
    file = net.root / "etc/kubernetes/kubelet"
    file.parent.mkdir(parents=True)
    file.write_text('# kubelet\nKUBELET_ADDRESS="--address=0.0.0.0"\nKUBELET_ARGS="--cgroup-driver=systemd --v=2"\n')
    net.reconcile(directory)
    assert file.read_text() == (
        '# kubelet\nKUBELET_ADDRESS="--address=0.0.0.0"\n'
        'KUBELET_ARGS="--cgroup-driver=systemd --v=2'
        " --network-plugin=cni --cni-conf-dir=/etc/cni/net.d --cni-bin-dir=/opt/cni/bin"
        ' --node-ip=172.16.129.101 --max-pods=10"\n'
    )


def test_rc_local_brings_the_network_back_after_a_reboot_without_python(net, directory):
    """The links go with a reboot; rc.local runs boot.sh, of which reconcile kept a copy."""
    net.reconcile(directory)
    assert "/bin/sh /etc/podlan/node/boot.sh" in (net.root / "etc/rc.d/rc.local").read_text()
    assert (net.root / "etc/rc.d/rc.local").stat().st_mode & 0o777 == 0o755
    after_reconcile = net.state(protocols=False)
    net.ip("link", "del", "macvlan0")
    net.ip("addr", "flush", "dev", "eth0")
    net.ip("link", "set", "eth0", "promisc", "off")
    net.ip("addr", "add", f"{NODE}/24", "dev", "eth0")
    net.ip("route", "add", "default", "via", "172.16.129.254")
    net.run("node", "sh", net.root / "etc/podlan/node/boot.sh")
    assert net.state(protocols=False) == after_reconcile
    net.run("node", "sh", net.root / "etc/podlan/node/boot.sh")
    assert net.state(protocols=False) == after_reconcile
    assert "nothing to do" in net.reconcile(directory).stdout


def test_with_plugins_of_today_the_second_route_leads_the_lan_to_the_gateway(net, directory):
    """Rule PL209 on the real plugin: the pod loses its neighbours, since the gateway does not send back."""
    conf = json.loads((directory / "rootfs/etc/cni/net.d/macvlan.conf").read_text())
    conf["ipam"]["dataDir"] = str(net.home / "ipam")
    net.add("victim")
    for routes, reached in ((conf["ipam"]["routes"], False), (conf["ipam"]["routes"][:1], True)):
        conf["ipam"]["routes"] = routes
        for command in ("ADD", "DEL"):
            env = [
                f"CNI_COMMAND={command}",
                "CNI_CONTAINERID=victim",
                f"CNI_NETNS=/run/netns/{net.prefix}victim",
                "CNI_IFNAME=eth0",
                "CNI_PATH=/usr/lib/cni",
            ]
            argv = net.argv("node", "env", *env, "/usr/lib/cni/macvlan")
            subprocess.run(argv, input=json.dumps(conf), text=True, check=True, capture_output=True)
            if command == "ADD":
                assert net.reaches("victim", PEER) == reached
                first = net.run("victim", "ip", "route", "get", PEER).stdout
                assert ("via 172.16.129.254" in first) != reached
