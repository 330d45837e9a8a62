"""What a machine is before podlan comes: a Debian with a network, containerd, and what stands in for the kubelet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from containerd import CONFIG

if TYPE_CHECKING:
    from machine import Machine

# What the kubelet would find: when it starts, the host's way to its pods and the file that makes pods have to be there.
KUBELET = """\
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
ExecStartPre=/bin/mkdir -p /var/lib/kubelet
ExecStartPre=/bin/sh -c '{ cut -d " " -f 1 /proc/uptime; ip -4 -o address; ls /etc/cni/net.d; } > /var/lib/kubelet/saw'
ExecStart=/bin/sleep infinity
Restart=always
[Install]
WantedBy=multi-user.target
"""
# The machines' cgroups have no controllers, whose limits pods would have.
CONTAINERD_CONFIG = CONFIG.replace("disable_apparmor", "disable_cgroup = true\ndisable_apparmor")
# root of a build machine may not raise limits, nor load modules.
CONTAINERD = """\
[Service]
ExecStartPre=
LimitNPROC=
LimitCORE=
LimitNOFILE=
OOMScoreAdjust=
"""
WIRE = """\
[Match]
Name=eth0
[Network]
Gateway=10.0.0.254
LinkLocalAddressing=no
"""
# Pods of an image without a shell do not end on SIGTERM, and this is how long systemd waits for them at a reboot.
SHUTDOWN = "[Manager]\nDefaultTimeoutStopSec=1\n"
ENABLED = {
    "multi-user.target.wants": ["kubelet", "containerd", "systemd-networkd"],
    "network-online.target.wants": ["systemd-networkd-wait-online"],
}

# What this machine may have of its own, and a fresh one has not.
STRANGE = (
    *("etc/cni", "etc/podlan", "etc/rc.local", "etc/systemd/network", "usr/local/sbin/podlan-node.pyz"),
    *("var/lib/kubelet", "var/lib/podlan", "var/log/journal"),
)


def furnish(machine: Machine, address: str, image: Path) -> None:
    """Fill a new machine's disk."""
    machine.furnish()
    (machine.disk / "containerd").mkdir()
    machine.rack.run("rm", "-rf", *(machine.home / "root" / path for path in STRANGE))
    (machine.root / "var/log/journal").mkdir()  # else the journal would be gone with the power
    machine.write("/etc/machine-id", f"{uuid4().hex}\n")  # else its first boot would enable all units
    configure(machine, address)
    machine.write("/etc/systemd/system/kubelet.service", KUBELET)
    machine.write("/etc/systemd/system/containerd.service.d/here.conf", CONTAINERD)
    machine.write("/etc/containerd/config.toml", CONTAINERD_CONFIG)
    machine.write("/etc/systemd/system.conf.d/here.conf", SHUTDOWN)
    for target, units in ENABLED.items():
        for unit in units:
            link = machine.root / f"etc/systemd/system/{target}/{unit}.service"
            link.parent.mkdir(exist_ok=True)
            own = (machine.root / f"etc/systemd/system/{unit}.service").exists()
            link.symlink_to(f"{'/etc' if own else '/lib'}/systemd/system/{unit}.service")
    shutil.copyfile(image, machine.root / "var/lib/image.tar")


def configure(machine: Machine, *addresses: str) -> None:
    """Have systemd-networkd give eth0 these addresses at the next boot."""
    lines = "".join(f"Address={address}/24\n" for address in addresses)
    machine.write("/etc/systemd/network/10-eth0.network", WIRE + lines)
