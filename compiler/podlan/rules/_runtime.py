"""PL42x: where the container runtime looks for CNI files and plugins, and whether it learns of podlan's places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.inventory import Version
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site
    from podlan.source import KeyPath

_DEFAULTS = {"confDir": "/etc/cni/net.d", "binDir": "/opt/cni/bin"}
_K3S = {"confDir": "/var/lib/rancher/k3s/agent/etc/cni/net.d", "binDir": "/var/lib/rancher/k3s/data/cni"}
_K3S_OLD_BIN_DIR = "/var/lib/rancher/k3s/data/current/bin"
"""Before the releases of October 2024 (1.28.15, 1.29.10, 1.30.6, 1.31.2)."""


@rule("PL420", "directories that containerd must be told of by hand")
def containerd_told(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where cni.confDir or cni.binDir is not containerd's default, its version is known and is 2.0 or newer.

    Then podlan writes a drop-in; a note says what config.toml must hold for it to be read: containerd refuses a drop-in
    of a newer form than its own file's, and bin_dirs beside bin_dir. A packager may have changed the defaults (Debian's
    containerd looks in /usr/lib/cni): then this warning may be silenced.
    Why: without it containerd goes on looking in /etc/cni/net.d and /opt/cni/bin, and no pod starts. containerd 1.6
    and 1.7 put an imported section in place of their whole CRI configuration, so podlan leaves their file alone.
    Source: containerd/containerd, docs/man/containerd-config.toml.5.md and cmd/containerd/server/config (LoadConfig).
    Example:
        cluster: {kubernetes: "1.31", runtimeVersion: "1.7"}
        cni: {name: pods, binDir: /usr/lib/cni}
    Instead:
        cluster: {kubernetes: "1.31", runtimeVersion: "1.7"}
        cni: {name: pods}
    """
    del grounds
    told: set[tuple[KeyPath, Severity]] = set()
    for node in site.nodes:
        cluster = node.cluster
        differing = _differing(node, _DEFAULTS)
        if cluster.runtime != "containerd" or cluster.distribution in {"k3s", "rke2"} or not differing:
            continue
        path = site.origin(node, "cni", next(iter(differing)))
        message, severity, hint = _containerd(node, cluster.runtime_version, differing)
        if (path, severity) not in told:
            told.add((path, severity))
            yield Finding("PL420", message, site.place(path), severity, hint)


def _containerd(node: ResolvedNode, version: Version | None, differing: dict[str, str]) -> tuple[str, Severity, str]:
    places = " and ".join(differing.values())
    if version is not None and version >= Version(2, 0):
        message = f"containerd of {node.name} learns of {places} from a drop-in, if its config.toml imports it"
        hint = 'config.toml needs version = 3, imports = ["/etc/containerd/conf.d/*.toml"], and no bin_dir of its own'
        return message, Severity.NOTE, hint
    names = {"confDir": "conf_dir", "binDir": "bin_dir"}
    keys = ", ".join(f'{names[key]} = "{value}"' for key, value in differing.items())
    hint = f'in its config.toml, below [plugins."io.containerd.grpc.v1.cri".cni]: {keys}; then restart containerd'
    if version is None:
        message = f"nothing says which containerd {node.name} runs, and so whether it can be told of {places}"
        return message, Severity.WARNING, f"say cluster.runtimeVersion; containerd 1.x must be told by hand, {hint}"
    message = f"containerd {version.major}.{version.minor} of {node.name} must be told of {places} by hand"
    return message, Severity.WARNING, hint


@rule("PL421", "directories that k3s or RKE2 does not look in")
def rancher_looks_there(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """On k3s and RKE2 cni.confDir and cni.binDir are where their own containerd looks.

    A server of k3s also needs flannel-backend: none, or flannel's file stands beside podlan's.
    Why: k3s brings a containerd that looks below /var/lib/rancher/k3s; what lies in /etc/cni/net.d it never reads, and
    pods go on with flannel. Silence this where its config.toml.tmpl says otherwise.
    Source: docs.k3s.io, networking/multus-ipams; docs.rke2.io, networking.
    Example:
        cluster: {kubernetes: "1.31", distribution: k3s}
    Instead:
        cluster: {kubernetes: "1.31", distribution: k3s}
        cni:
          name: pods
          confDir: /var/lib/rancher/k3s/agent/etc/cni/net.d
          binDir: /var/lib/rancher/k3s/data/cni
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        cluster = node.cluster
        if cluster.runtime != "containerd" or cluster.distribution not in {"k3s", "rke2"}:
            continue
        is_k3s = cluster.distribution == "k3s"
        expected = _K3S if is_k3s else _DEFAULTS
        for key, value in _differing(node, expected).items():
            path = site.origin(node, "cni", key)
            if path[-1] != key:  # written nowhere: the distribution is what asks for it
                path = (*site.origin(node, "cluster", "distribution"),)
            if (is_k3s and value == _K3S_OLD_BIN_DIR) or (*path, key) in told:
                continue
            told.add((*path, key))
            message = f"the containerd of {cluster.distribution} on {node.name} does not look in {value} (cni.{key})"
            old = f", before October 2024 {_K3S_OLD_BIN_DIR}" if is_k3s and key == "binDir" else ""
            yield Finding("PL421", message, site.place(path), Severity.WARNING, f"use {expected[key]}{old}")


def _differing(node: ResolvedNode, expected: Mapping[str, str]) -> dict[str, str]:
    """Give the keys of cni whose directory is another than expected, and the directory."""
    own = {"confDir": node.cni.conf_dir, "binDir": node.cni.bin_dir}
    return {key: value for key, value in own.items() if value != expected[key]}


RULES = (containerd_told, rancher_looks_there)
