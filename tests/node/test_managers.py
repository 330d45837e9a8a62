"""Who else manages podlan's links is told where it shows, and only there; a real networkd is in the boot's tests."""

import os
import signal
import subprocess
import sys

import pytest
from forked import eventually
from lan import MOVE_PLAN, NODE, SHIM_PLAN

pytestmark = pytest.mark.kernel

NETWORKD = "# This is private data. Do not parse.\nADMIN_STATE={state}\nOPER_STATE=routable\nNETWORK_FILE={file}\n"
NETWORK_MANAGER = "[device]\nmanaged={managed}\n{more}nm-owned=false\n"
LISTENER = """\
import socket, time
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as listener:
    listener.bind(("macvlan0", 3))
    print("listening", flush=True)
    time.sleep(60)
"""
PROFILE = "connection-uuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\n"


def put(net, path, text=""):
    file = net.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def index(net, link):
    return net.run("node", "cat", f"/sys/class/net/{link}/ifindex").stdout.strip()


def running(net, unit):
    link = net.root / f"run/systemd/units/invocation:{unit}.service"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("0123456789abcdef")
    return link


def told(net, plan=SHIM_PLAN, code=0):
    return net.reconcile(plan, "--check", code=code).stderr


def test_nothing_is_told_where_nobody_manages(net):
    net.reconcile(SHIM_PLAN)
    for name in ("networkd", "NetworkManager"):
        running(net, f"systemd-{name}" if name == "networkd" else name)
    put(net, f"run/systemd/netif/links/{index(net, 'macvlan0')}", NETWORKD.format(state="unmanaged", file="/x"))
    put(net, f"run/systemd/netif/links/{index(net, 'eth0')}", NETWORKD.format(state="configured", file="/x"))
    put(net, f"run/NetworkManager/devices/{index(net, 'macvlan0')}", NETWORK_MANAGER.format(managed="false", more=""))
    put(net, "etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n  up ip link add macvlan0 link eth0\n")
    put(net, "sbin/ifup").chmod(0o755)
    assert not told(net)


def test_a_child_that_networkd_configures_is_told_with_the_file(net):
    net.reconcile(SHIM_PLAN)
    file = "/run/systemd/network/10-netplan-all.network"
    state = put(
        net, f"run/systemd/netif/links/{index(net, 'macvlan0')}", NETWORKD.format(state="configured", file=file)
    )
    assert not told(net), "of a networkd that has been stopped"
    running(net, "systemd-networkd")
    said = told(net)
    assert f"warning[PL646]: systemd-networkd configures macvlan0, which is podlan's, by {file} (netplan's)" in said
    for text in ("", "=\n\0", "ADMIN_STATE", "ADMIN_STATE=pending\n"):
        state.write_text(text, encoding="utf-8")
        assert not told(net)
    state.unlink()
    os.mkfifo(state)
    assert not told(net), "and nothing hangs"


def test_a_master_is_told_of_only_where_its_metric_is_podlan_s(net):
    running(net, "systemd-networkd")
    running(net, "NetworkManager")
    put(net, f"run/systemd/netif/links/{index(net, 'eth0')}", NETWORKD.format(state="configured", file="/x.network"))
    put(net, f"run/NetworkManager/devices/{index(net, 'eth0')}", NETWORK_MANAGER.format(managed="true", more=PROFILE))
    assert not told(net, SHIM_PLAN, code=3)
    for _ in range(2):
        said = net.reconcile(MOVE_PLAN).stderr
        assert f"PL646]: systemd-networkd configures eth0, which is to keep {NODE}/24 with metric 512, by /x" in said
        assert "PL647" in said


def test_a_child_that_network_manager_has_in_a_connection_is_told(net):
    net.reconcile(SHIM_PLAN)
    running(net, "NetworkManager")
    path = f"run/NetworkManager/devices/{index(net, 'macvlan0')}"
    put(net, path, NETWORK_MANAGER.format(managed="true", more=""))
    assert not told(net)
    put(net, path, NETWORK_MANAGER.format(managed="true", more=PROFILE))
    assert "PL647]: NetworkManager has macvlan0, which is podlan's, in connection 5fb06bd0-" in told(net)


@pytest.mark.parametrize("path", ["etc/network/interfaces", "etc/network/interfaces.d/50-shim"])
def test_a_stanza_of_ifupdown_for_a_child_is_told(net, path):
    net.reconcile(SHIM_PLAN)
    put(net, path, "# auto macvlan0\nauto lo\n\nallow-hotplug macvlan0\niface macvlan0 inet manual\n")
    assert not told(net), "without ifupdown it is text"
    put(net, "usr/sbin/ifup").chmod(0o755)
    assert f"PL648]: {net.root}/{path} has a stanza for macvlan0" in told(net)


def test_a_dhcp_client_on_a_child_is_told_by_its_name(net, tmp_path):
    net.reconcile(SHIM_PLAN)
    client = tmp_path / "udhcpc"
    client.symlink_to("/usr/bin/busybox")
    argv = net.argv("node", client, "-f", "-i", "macvlan0", "-s", "/bin/true")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            eventually("no socket", lambda: len(net.run("node", "cat", "/proc/net/packet").stdout.splitlines()) > 1)
            assert f"PL649]: udhcpc (process {run.pid}) asks for addresses on macvlan0" in told(net)
        finally:
            run.send_signal(signal.SIGKILL)
    with subprocess.Popen(net.argv("node", sys.executable, "-c", LISTENER), stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"listening\n"
        try:
            assert not told(net), "who only listens is no client"
        finally:
            run.send_signal(signal.SIGKILL)
