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
    "/etc/udev/rules.d/",
    "/opt/",
    "/run/",
    "/var/lib/kubelet/",
    "/var/lib/rancher/",
    "/usr/local/sbin/podlan*",
    "/usr/local/lib/podlan/",
)
"""Directories end in /, files are whole, and * stands for any ending."""


def may_write(path: str) -> bool:
    """Tell whether a plan may write a file at this absolute path, which holds no '..'."""
    return any(
        path == place or (place.endswith(("/", "*")) and path.startswith(place.rstrip("*"))) for place in WRITABLE
    )
