"""The container runtime: told by a drop-in where the CNI files and plugins are, if it would look elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podlan.inventory import Version
from podlan.inventory.kubelet_tables import CNI_FLAGS_REMOVED
from podlan.plan import File, Runtime
from podlan.render._artifact import HEADER, Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.planning import Blueprint

DEFAULT_CONF_DIR = "/etc/cni/net.d"
DEFAULT_BIN_DIR = "/opt/cni/bin"
"""Where containerd, CRI-O and cri-dockerd look, unless told."""
_MERGES_IMPORTS = Version(2, 0)
"""containerd 1.6 and 1.7 put an imported plugin section in place of the whole one: there a drop-in would harm."""
_BIN_DIRS_SINCE = Version(2, 1)
"""containerd 2.1 takes several directories of plugins and calls the one deprecated."""
_RANCHER = ("k3s", "rke2")


def runtime_facts(plan: Blueprint) -> Runtime:
    """Say what the node's preflight compares with the runtime's own configuration."""
    cluster, cni = plan.node.cluster, plan.node.cni
    version = "" if cluster.runtime_version is None else str(cluster.runtime_version)
    return Runtime(cluster.runtime, cni.conf_dir, cni.bin_dir, version)


def runtime(plan: Blueprint) -> Iterator[Artifact]:
    """Render the runtime's drop-in."""
    cluster = plan.node.cluster
    if cluster.runtime == "containerd":
        yield from _containerd(plan)
    elif cluster.runtime == "cri-o":
        yield _cri_o(plan)
    elif cluster.kubernetes is not None and cluster.kubernetes >= CNI_FLAGS_REMOVED:
        yield from _cri_dockerd(plan)


def _differs(plan: Blueprint) -> bool:
    return (plan.node.cni.conf_dir, plan.node.cni.bin_dir) != (DEFAULT_CONF_DIR, DEFAULT_BIN_DIR)


def _containerd(plan: Blueprint) -> Iterator[Artifact]:
    version = plan.node.cluster.runtime_version
    # k3s and RKE2 bring a containerd of their own, with another file.
    if version is None or version < _MERGES_IMPORTS or not _differs(plan) or _is_rancher(plan):
        return
    cni = plan.node.cni
    lines = ["version = 3", "", "[plugins.'io.containerd.cri.v1.runtime'.cni]"]
    # Only what differs: containerd refuses bin_dirs beside a bin_dir that its own file may still hold.
    if cni.bin_dir != DEFAULT_BIN_DIR:
        several = version >= _BIN_DIRS_SINCE
        lines.append(f"bin_dirs = {_array(_plugin_dirs(plan))}" if several else f"bin_dir = {_text(cni.bin_dir)}")
    if cni.conf_dir != DEFAULT_CONF_DIR:
        lines.append(f"conf_dir = {_text(cni.conf_dir)}")
    yield _file("/etc/containerd/conf.d/20-podlan.toml", lines, "containerd.service")


def _cri_o(plan: Blueprint) -> Artifact:
    lines = ["[crio.network]"]
    # CRI-O takes the first valid file for the default network; with multus in front that must not be podlan's.
    if not any(attachment.master.secondary for attachment in plan.node.attachments):
        lines.append(f"cni_default_network = {_text(str(plan.node.cni.name))}")
    lines.append(f"network_dir = {_text(plan.node.cni.conf_dir)}")
    if plan.node.cni.bin_dir != DEFAULT_BIN_DIR:
        lines.append(f"plugin_dirs = {_array(_plugin_dirs(plan))}")
    return _file("/etc/crio/crio.conf.d/20-podlan.conf", lines, "crio.service")


def _cri_dockerd(plan: Blueprint) -> Iterator[Artifact]:
    if not _differs(plan):
        return
    cni = plan.node.cni
    flags = f"--network-plugin=cni --cni-conf-dir={cni.conf_dir} --cni-bin-dir={cni.bin_dir}"
    lines = [
        "[Service]",
        "ExecStart=",
        f"ExecStart=/usr/bin/cri-dockerd --container-runtime-endpoint fd:// {flags}",
    ]
    yield _file("/etc/systemd/system/cri-docker.service.d/20-podlan.conf", lines, "cri-docker.service")


def _plugin_dirs(plan: Blueprint) -> tuple[str, ...]:
    """Keep the default behind the own directory: the runtime looks there for the plugin of the loopback interface."""
    return tuple(dict.fromkeys((plan.node.cni.bin_dir, DEFAULT_BIN_DIR)))


def _is_rancher(plan: Blueprint) -> bool:
    return plan.node.cluster.distribution in _RANCHER


def _text(value: str) -> str:
    """Quote a text: every escape that JSON writes is one of TOML's basic strings too (TOML 1.0, String)."""
    return json.dumps(value)


def _array(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _file(path: str, lines: list[str], unit: str) -> Artifact:
    content = "".join(f"{line}\n" for line in (f"# {HEADER}", *lines))
    return Artifact(File(path, source=f"rootfs{path}", restart=(unit,)), content.encode())
