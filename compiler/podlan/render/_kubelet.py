"""The kubelet's flags and configuration, in the dialect of its version and where its distribution keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from podlan.inventory.kubelet_tables import CNI_FLAGS_REMOVED, CONFIG_DIR_SINCE, DUAL_STACK_SINCE
from podlan.plan import EnvFlags, File
from podlan.render._artifact import HEADER, Artifact, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.inventory import Version
    from podlan.planning import Blueprint

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
        yield from _rancher_files(plan, distribution)


def _version(plan: Blueprint) -> Version:
    version = plan.node.cluster.kubernetes
    if version is None:
        raise AssertionError("rule PL401 lets no node pass without a Kubernetes version")
    return version


def _flag_file(plan: Blueprint, path: str, variable: str) -> Iterator[Artifact]:
    restart = ("kubelet.service",)
    flags = _node_ip(plan)
    if _version(plan) < CNI_FLAGS_REMOVED:
        cni = plan.node.cni
        flags = {
            "network-plugin": "cni",
            "cni-conf-dir": cni.conf_dir,
            "cni-bin-dir": cni.bin_dir,
            **flags,
        }
    if _version(plan) < CONFIG_DIR_SINCE:
        flags |= _settings_as_flags(plan) | _labels(plan) | _taints(plan)
    else:
        flags |= {"config-dir": plan.node.cluster.kubelet_config_dir} | _labels(plan)
        yield _drop_in(plan, _settings(plan) | _own_fields(plan), restart)
    flags |= _own_flags(plan)
    written = tuple(f"--{name}={value}" for name, value in flags.items())
    yield Artifact(File(path, env_flags=EnvFlags(variable, written), restart=restart))


def _rancher_files(plan: Blueprint, distribution: str) -> Iterator[Artifact]:
    """k3s and RKE2 take kubelet flags from their own configuration; a key with + adds to the other files' lists."""
    unit = _RANCHER_UNITS[(distribution, plan.node.role)]
    restart = (f"{unit}.service",)
    flags = _settings_as_flags(plan)
    resolv_conf = flags.pop("resolv-conf", None)
    if _version(plan) >= CONFIG_DIR_SINCE and plan.node.cluster.kubelet.config:
        # They copy this directory's files behind their own drop-ins.
        flags["config-dir"] = plan.node.cluster.kubelet_config_dir
        yield _drop_in(plan, _own_fields(plan), restart)
    flags |= _own_flags(plan)
    registration = plan.node.cluster.kubelet.registration(plan.node.role)
    scalars = _node_ip(plan) | ({} if resolv_conf is None else {"resolv-conf": resolv_conf})
    lists = {
        "kubelet-arg": [f"{name}={value}" for name, value in flags.items()],
        "node-label": [f"{name}={value}" for name, value in sorted(registration.labels.items())],
        "node-taint": [_taint(*_parts(taint)) for taint in registration.taints],
    }
    lines = [f"# {HEADER}"]
    for name, items in lists.items():
        if items:
            lines += [f"{name}+:", *(f"  - {_yaml(item)}" for item in items)]
    lines += [f"{name}: {_yaml(value)}" for name, value in scalars.items()]
    path = f"/etc/rancher/{distribution}/config.yaml.d/20-podlan.yaml"
    yield Artifact(File(path, source=f"rootfs{path}", restart=restart), ("\n".join(lines) + "\n").encode())


def _yaml(text: str) -> str:
    """Quote a text: what JSON makes of ASCII is a double-quoted scalar of YAML too (YAML 1.2, 7.3.1)."""
    return json.dumps(text)


def _node_ip(plan: Blueprint) -> dict[str, str]:
    """Name the node's address: with a second address on the wire the kubelet may choose the wrong one."""
    addresses = plan.attachment.addresses
    if _version(plan) < DUAL_STACK_SINCE:
        addresses = addresses[:1]
    return {"node-ip": ",".join(map(str, addresses))} if addresses else {}


def _max_pods(plan: Blueprint) -> int | None:
    """Let no more pods come than have an address, and those on the host network, which need none."""
    cluster = plan.node.cluster
    if cluster.max_pods is not None:
        return cluster.max_pods
    return plan.pods + cluster.host_network_pods if plan.pods else None


def _settings(plan: Blueprint) -> dict[str, Any]:
    """Give podlan's own fields of KubeletConfiguration."""
    cluster = plan.node.cluster
    taints = [_parts(taint) for taint in cluster.kubelet.registration(plan.node.role).taints]
    fields: dict[str, Any] = {
        "maxPods": _max_pods(plan),
        "clusterDNS": [str(server) for server in cluster.cluster_dns],
        "resolvConf": cluster.kubelet.resolv_conf,
        "registerWithTaints": [{"key": key, "value": value, "effect": effect} for key, value, effect in taints],
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _settings_as_flags(plan: Blueprint) -> dict[str, str]:
    """Give the same as flags, for kubelets that read no drop-in: called deprecated since 1.10, and still there."""
    cluster = plan.node.cluster
    flags = {
        "max-pods": None if (pods := _max_pods(plan)) is None else str(pods),
        "cluster-dns": ",".join(map(str, cluster.cluster_dns)) or None,
        "resolv-conf": cluster.kubelet.resolv_conf,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _labels(plan: Blueprint) -> dict[str, str]:
    """Labels have no field in KubeletConfiguration."""
    labels = plan.node.cluster.kubelet.registration(plan.node.role).labels
    written = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return {"node-labels": written} if written else {}


def _taints(plan: Blueprint) -> dict[str, str]:
    taints = plan.node.cluster.kubelet.registration(plan.node.role).taints
    written = ",".join(_taint(*_parts(taint)) for taint in taints)
    return {"register-with-taints": written} if written else {}


def _parts(taint: str) -> tuple[str, str, str]:
    """Give key, value and effect."""
    head, _, effect = taint.rpartition(":")
    key, _, value = head.partition("=")
    return key, value, effect


def _taint(key: str, value: str, effect: str) -> str:
    # With = even where there is no value: old kubelets want it.
    return f"{key}={value}:{effect}"


def _own_flags(plan: Blueprint) -> dict[str, str]:
    return dict(sorted(plan.node.cluster.kubelet.flags.items()))


def _own_fields(plan: Blueprint) -> dict[str, Any]:
    fields: dict[str, Any] = _sorted(plan.node.cluster.kubelet.config)
    return fields


def _sorted(value: Any) -> Any:  # noqa: ANN401 - what people write is of any shape
    """Order keys at every depth, so that the file does not follow the order in which somebody wrote them."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _drop_in(plan: Blueprint, fields: dict[str, Any], restart: tuple[str, ...]) -> Artifact:
    """Write a file of --config-dir: without apiVersion and kind the kubelet ends (kubernetes/kubernetes#124796)."""
    path = f"{plan.node.cluster.kubelet_config_dir}/20-podlan.conf"
    content = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **fields}
    return Artifact(File(path, source=f"rootfs{path}", restart=restart), json_text(content))
