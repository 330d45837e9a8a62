"""Where a plan may write on a node: the compiler refuses other places, and so does the node."""

from __future__ import annotations

WRITABLE = (
    "/etc/cni/",
    "/etc/containerd/",
    "/etc/crio/",
    "/etc/default/",
    "/etc/docker/",
    "/etc/kubernetes/",
    "/etc/NetworkManager/conf.d/",
    "/etc/podlan/",
    "/etc/rancher/",
    "/etc/rc.d/rc.local",
    "/etc/rc.local",
    "/etc/sysconfig/",
    "/etc/sysctl.d/",
    "/etc/systemd/",
    "/etc/tmpfiles.d/",
    "/etc/udev/rules.d/",
    "/opt/",
    "/run/",
    "/var/lib/kubelet/",
    "/var/lib/rancher/",
    "/usr/local/sbin/podlan*",
    "/usr/local/lib/podlan/",
)
"""Directories end in /, files are whole, and * stands for any ending."""

_NEVER = ("/etc/podlan/allowed_signers", "/etc/podlan/node", "/run/podlan/lock")
"""What decides whom podlan believes, what it applies at boot and whose turn it is: these and what lies below them."""

INSTALLABLE = ("/opt/", "/usr/lib/cni/", "/usr/libexec/cni/", "/usr/local/", "/var/lib/rancher/")
"""Directories, further than which no plan installs programs: those in which runtimes look for CNI plugins."""


def may_install(path: str) -> bool:
    """Tell whether a plan may install a program at this absolute path, which holds no '..'."""
    return path.startswith(INSTALLABLE)


_FORBIDDEN = tuple(f"{place}/" for place in _NEVER)
_BEGINNINGS = tuple(place.rstrip("*") for place in WRITABLE if place.endswith(("/", "*")))


def may_write(path: str) -> bool:
    """Tell whether a plan may write a file at this absolute path, which holds no '..'."""
    if f"{path}/".startswith(_FORBIDDEN):
        return False
    return path in WRITABLE or path.startswith(_BEGINNINGS)
