"""The kubelet's flags and configuration, in the dialect of its version and where its distribution keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podlan.inventory import Version
from podlan.plan import EnvFlags, File
from podlan.render._artifact import HEADER, Artifact, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.planning import Blueprint

CNI_FLAGS_REMOVED = Version(1, 24)
"""kubernetes/kubernetes#106907 removed --network-plugin, --cni-conf-dir and --cni-bin-dir with dockershim."""
CONFIG_DIR_SINCE = Version(1, 30)
"""--config-dir needs no environment variable from 1.30 on (KEP-3983, beta)."""

_FLAG_FILES = {
    "kubeadm-deb": ("/etc/default/kubelet", "KUBELET_EXTRA_ARGS"),
    "kubeadm-rpm": ("/etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS"),
    "legacy": ("/etc/kubernetes/kubelet", "KUBELET_ARGS"),
}
_RANCHER_UNITS = {
    ("k3s", "control-plane"): "k3s",
    ("k3s", "worker"): "k3s-agent",
    ("rke2", "control-plane"): "rke2-server",
    ("rke2", "worker"): "rke2-agent",
}


def kubelet(plan: Blueprint) -> Iterator[Artifact]:
    """Render what the kubelet reads at its start."""
    distribution = plan.node.cluster.distribution
    if distribution in _FLAG_FILES:
        yield from _flag_file(plan, *_FLAG_FILES[distribution])
    else:
        yield _rancher_file(plan, distribution)


def _version(plan: Blueprint) -> Version:
    version = plan.node.cluster.kubernetes
    if version is None:
        raise AssertionError("rule PL401 lets no node pass without a Kubernetes version")
    return version


def _flag_file(plan: Blueprint, path: str, variable: str) -> Iterator[Artifact]:
    version = _version(plan)
    restart = ("kubelet.service",)
    flags: tuple[str, ...]
    if version < CNI_FLAGS_REMOVED:
        cni = plan.node.cni
        flags = ("--network-plugin=cni", f"--cni-conf-dir={cni.conf_dir}", f"--cni-bin-dir={cni.bin_dir}")
    elif version < CONFIG_DIR_SINCE:
        flags = (*_node_ip(plan), f"--max-pods={_max_pods(plan)}")
    else:
        directory = plan.node.cluster.kubelet_config_dir
        flags = (*_node_ip(plan), f"--config-dir={directory}")
        drop_in = f"{directory}/20-podlan.conf"
        yield Artifact(File(drop_in, source=f"rootfs{drop_in}", restart=restart), json_text(_configuration(plan)))
    yield Artifact(File(path, env_flags=EnvFlags(variable, flags), restart=restart))


def _node_ip(plan: Blueprint) -> tuple[str, ...]:
    """Name the node's address: with a second address on the wire the kubelet may choose the wrong one."""
    own = ",".join(str(address) for address in plan.attachment.addresses)
    return (f"--node-ip={own}",) if own else ()


def _max_pods(plan: Blueprint) -> int:
    """Let no more pods come than have an address, and those on the host network, which need none."""
    return plan.pods + plan.node.cluster.host_network_pods


def _configuration(plan: Blueprint) -> dict[str, Any]:
    dns = [str(server) for server in plan.node.cluster.cluster_dns]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "maxPods": _max_pods(plan),
        **({"clusterDNS": dns} if dns else {}),
    }


def _rancher_file(plan: Blueprint, distribution: str) -> Artifact:
    """k3s and RKE2 take kubelet flags from their own configuration; `kubelet-arg+` adds to the others' flags."""
    path = f"/etc/rancher/{distribution}/config.yaml.d/20-podlan.yaml"
    lines = [f"# {HEADER}", "kubelet-arg+:", f'  - "max-pods={_max_pods(plan)}"']
    own = ",".join(str(address) for address in plan.attachment.addresses)
    if own:
        lines.append(f'node-ip: "{own}"')
    unit = _RANCHER_UNITS[(distribution, plan.node.role)]
    file = File(path, source=f"rootfs{path}", restart=(f"{unit}.service",))
    return Artifact(file, ("\n".join(lines) + "\n").encode())
