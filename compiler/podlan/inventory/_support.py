"""Which CNI spec versions plugins and runtimes accept.

Sources: containernetworking/plugins release notes (0.8.0: spec 0.4.0, 1.0.0: spec 1.0.0, 1.6.0: spec 1.1.0);
containerd 1.7 fails on a 1.1.0 result ("unsupported CNI result version"), measured with containerd 1.7.24;
containerd 2.0 links libcni 1.2; dockershim up to Kubernetes 1.23 links libcni 0.8 (spec 0.4.0), and up to 1.16
libcni 0.6 or 0.7 (spec 0.3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.inventory._values import Version

if TYPE_CHECKING:
    from podlan.inventory._models import Cluster
    from podlan.inventory._site import ResolvedNode

_BY_PLUGINS = (
    (Version(1, 6), "1.1.0"),
    (Version(1, 0), "1.0.0"),
    (Version(0, 8), "0.4.0"),
    (Version(0, 0), "0.3.1"),
)
_DEFAULT_AT_MOST = "1.0.0"


def newest_for_plugins(plugins: Version | None) -> str:
    """Give the newest cniVersion that plugins of a version take; unknown plugins are taken for 1.0 to 1.5."""
    if plugins is None:
        return _DEFAULT_AT_MOST
    return next(spec for since, spec in _BY_PLUGINS if plugins >= since)


def newest_for_runtime(cluster: Cluster) -> str:
    """Give the newest cniVersion whose results the container runtime understands."""
    version = cluster.runtime_version
    if cluster.runtime == "containerd":
        return "1.1.0" if version is not None and version >= Version(2, 0) else _DEFAULT_AT_MOST
    if cluster.runtime == "cri-o":
        return "1.1.0" if version is not None and version >= Version(1, 30) else _DEFAULT_AT_MOST
    if cluster.kubernetes is None or cluster.kubernetes >= Version(1, 24):
        return _DEFAULT_AT_MOST
    return "0.3.1" if cluster.kubernetes < Version(1, 17) else "0.4.0"


def cni_version(node: ResolvedNode) -> str:
    """Give the cniVersion of a node's file: what the inventory says, else the newest that all accept, at most 1.0.0."""
    if node.cni.cni_version is not None:
        return node.cni.cni_version
    limits = (newest_for_plugins(node.cni.plugins.version), newest_for_runtime(node.cluster), _DEFAULT_AT_MOST)
    return min(limits)
