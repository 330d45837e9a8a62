"""What keeps the operating system's own services from undoing podlan's work: settings for them, no service restarted.

Each reads its files at boot, which is when it would do harm; until then the kernel is as reconcile left it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from podlan.plan import File
from podlan.render._artifact import HEADER, Artifact, unit_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.planning import Blueprint

SYSCTLS = "/etc/sysctl.d/zz-podlan.conf"
"""Of two files that set one key the later name wins: this one comes after 99-sysctl.conf and Kubernetes' k8s.conf."""
NETWORKD = "/etc/systemd/networkd.conf.d/20-podlan.conf"
NETWORK_MANAGER = "/etc/NetworkManager/conf.d/20-podlan.conf"
TMPFILES = "/etc/tmpfiles.d/podlan.conf"

_EMPTY_AT_BOOT = ("/run/", "/var/run/")


def guards(plan: Blueprint) -> Iterator[Artifact]:
    """Render the settings of systemd-sysctl, systemd-networkd, NetworkManager and systemd-tmpfiles."""
    children = [link.name for link in plan.network.links if link.kind != "master"]
    if plan.network.sysctls:
        yield _sysctls(tuple(plan.network.sysctls.items()))
    if children:
        yield from _networkd(children)
        yield _network_manager(children)
    networks = [
        str(plan.node.cni.name) if strand is plan.primary else strand.attachment.name
        for strand in plan.strands
        if strand.attachment.has_slices
    ]
    if networks and not f"{plan.node.cni.data_dir}/".startswith(_EMPTY_AT_BOOT):
        yield _tmpfiles(plan.node.cni.data_dir, networks)


@lru_cache(maxsize=1024)
def _whole(path: str, *lines: str) -> Artifact:
    text = "".join(f"{line}\n" for line in (f"# {HEADER}", *lines))
    return Artifact(File(path, source=f"rootfs{path}"), text.encode())


@lru_cache(maxsize=1024)
def _sysctls(settings: tuple[tuple[str, str], ...]) -> Artifact:
    """Repeat the plan's settings: udev lets systemd-sysctl set all that it knows of an interface that appears.

    Keys are written with slashes, so that a dot in an interface's name stays one (sysctl.d(5)).
    """
    return _whole(SYSCTLS, *(f"{key} = {value}" for key, value in settings))


def _networkd(children: list[str]) -> Iterator[Artifact]:
    """Leave routes and rules alone that systemd-networkd did not make: it removes them at its start."""
    yield _whole(NETWORKD, "[Network]", "ManageForeignRoutes=no", "ManageForeignRoutingPolicyRules=no")
    for child in children:
        path = f"/etc/systemd/network/05-podlan-{child}.network"
        yield _whole(path, "[Match]", f"Name={child}", "", "[Link]", "Unmanaged=yes")


def _network_manager(children: list[str]) -> Artifact:
    """Name podlan's interfaces unmanaged; `+=` adds to what other files say (NetworkManager.conf(5))."""
    names = ";".join(f"interface-name:{child}" for child in children)
    return _whole(NETWORK_MANAGER, "[keyfile]", f"unmanaged-devices+={names}")


def _tmpfiles(data_directory: str, networks: list[str]) -> Artifact:
    """Let no reservation on a disk outlive a reboot, which no pod does; `!` is for boots only (tmpfiles.d(5))."""
    return _whole(TMPFILES, *(f"r! {unit_word(f'{data_directory}/{network}')}/*" for network in networks))
