"""PL4xx: what the runtime and host-local do not accept of the CNI file and its places."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL404", "a network name or dataDir of one node alone")
def locked_for_the_site(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """cni.name and cni.dataDir are the same on every node of a site.

    Why: host-local keeps its reservations in DATADIR/NAME, and the lock remembers one of each: with another value a
    node would open an empty pool under living pods, and nobody would be told.
    Source: containernetworking/plugins, host-local backend/disk.
    Example:
        nodes:
          node-1: {cni: {name: other}}
    Instead:
        cni: {name: pods}
        nodes:
          node-1: {}
    """
    del grounds
    cni = site.inventory.cni
    told: set[KeyPath] = set()
    for node in site.nodes:
        for key, own, common in (
            ("name", node.cni.name, cni.name),
            ("dataDir", node.cni.data_dir, cni.data_dir),
        ):
            if own != common and (path := site.origin(node, "cni", key)) not in told:
                told.add(path)
                also = site.place(("cni", key), label="the site's") if site.source.has(("cni", key)) else None
                yield Finding(
                    "PL404",
                    f"cni.{key} of {node.name} is {own or 'nothing'}, and that of the site {common or 'nothing'}",
                    site.place(path),
                    hint=f"say it once, in the site's own cni: {key} is locked for all nodes",
                    also=(also,) if also else (),
                )


@rule("PL405", "a CNI file that is read as something else")
def file_read_as_written(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The file's suffix fits its format, and the kubelet does not read the directory in which it stands.

    Why: runtimes tell a list of plugins (.conflist) from a single one (.conf) by the suffix alone. A kubelet reads
    every `*.conf` in and below its --config-dir as its own configuration, and ends on one that is not; a runtime
    reads every `*.conf` of its directory as a network.
    Source: containerd/go-cni opts.go (loadFromConfDir); kubernetes cmd/kubelet/app/server.go
    (mergeKubeletConfigurations).
    Example:
        cni: {name: pods, format: conflist, fileName: 10-pods.conf}
    Instead:
        cni: {name: pods, format: conflist, fileName: 10-pods.conflist}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        for path, message, hint, other in (*_suffix(site, node), *_directory(site, node)):
            if path not in told:
                told.add(path)
                also = site.place(other, label="and this") if site.source.has(other) else None
                yield Finding("PL405", message, site.place(path), hint=hint, also=(also,) if also else ())


def _suffix(site: Site, node: ResolvedNode) -> Iterator[tuple[KeyPath, str, str, KeyPath]]:
    name, suffix = node.cni.file_name, f".{node.cni.format}"
    if name is not None and not name.endswith(suffix):
        stem = name.rpartition(".")[0]
        message = f"runtimes do not read {name} of {node.name} as format {node.cni.format}: they go by the suffix"
        yield (
            site.origin(node, "cni", "fileName"),
            message,
            f"call it {stem}{suffix}",
            site.origin(node, "cni", "format"),
        )


def _directory(site: Site, node: ResolvedNode) -> Iterator[tuple[KeyPath, str, str, KeyPath]]:
    kubelet, cni = node.cluster.kubelet_config_dir, node.cni.conf_dir
    if f"{cni}/".startswith(f"{kubelet}/"):
        at_cni, at_kubelet = site.origin(node, "cni", "confDir"), site.origin(node, "cluster", "kubeletConfigDir")
        path, other = (
            (at_cni, at_kubelet) if site.source.has(at_cni) and at_cni[-1] == "confDir" else (at_kubelet, at_cni)
        )
        message = f"on {node.name} the CNI files in {cni} lie in the kubelet's {kubelet}: one would read the other's"
        yield path, message, "give cni.confDir and cluster.kubeletConfigDir directories of their own", other
    for directory, keys in ((cni, ("cni", "confDir")), (kubelet, ("cluster", "kubeletConfigDir"))):
        taken = _taken(directory)
        if taken is not None:
            path = site.origin(node, *keys)
            message = f"on {node.name} {'.'.join(keys)} is {directory}, where {taken} has its files"
            yield path, message, "give it a directory of its own", path


_TAKEN = {
    "/etc/NetworkManager/conf.d": "NetworkManager",
    "/etc/cni/multus/net.d": "Multus",
    "/etc/containerd/conf.d": "containerd",
    "/etc/crio/crio.conf.d": "CRI-O",
    "/etc/kubernetes": "kubeadm",
    "/etc/sysctl.d": "the kernel",
    "/etc/systemd": "systemd",
    "/etc/systemd/network": "systemd-networkd",
    "/etc/systemd/networkd.conf.d": "systemd-networkd",
    "/etc/systemd/system": "systemd",
    "/etc/tmpfiles.d": "systemd-tmpfiles",
}
"""Directories whose *.conf files others read, some of them podlan's own."""


@cache
def _taken(directory: str) -> str | None:
    return next((what for place, what in _TAKEN.items() if f"{directory}/" in (f"{place}/", place)), None)


RULES = (locked_for_the_site, file_read_as_written)
