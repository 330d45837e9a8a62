"""PL41x: what a kubelet says of its node when it registers it, and what it takes over from the host."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.inventory import Version
from podlan.rules._kubelet import with_version
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL414", "a label that the kubelet may not give its node")
def allowed_labels(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A label below kubernetes.io or k8s.io is one that kubelets may give their own node.

    They may give names below kubelet.kubernetes.io and node.kubernetes.io, and a few like topology.kubernetes.io/zone.
    Why: from 1.16 on the kubelet ends at once on any other, node-role.kubernetes.io among them: a node must not make
    itself more than it is.
    Source: kubernetes/kubernetes, cmd/kubelet/app/options (ValidateKubeletFlags) and pkg/apis/well_known_labels.go.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {labels: {node-role.kubernetes.io/worker: ""}}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {labels: {node.kubernetes.io/pool: workers}}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node, version in with_version(site):
        kubelet = node.cluster.kubelet
        for name in kubelet.registration(node.role).labels:
            if version < _LABELS_CHECKED or _may_label(name):
                continue
            holder: tuple[str, ...] = ("cluster", "kubelet")
            if node.role in kubelet.roles and name in kubelet.roles[node.role].labels:
                holder = (*holder, "roles", node.role)
            path = site.origin(node, *holder, "labels", name)
            if path not in told:
                told.add(path)
                message = (
                    f"the kubelet of {node.name} does not start with the label {name}: it may not give it to its node"
                )
                hint = (
                    f"use a name of your own, or have an administrator say: kubectl label node {node.name} {name}=..."
                )
                yield Finding("PL414", message, site.place(path, key=True), hint=hint)


_LABELS_CHECKED = Version(1, 16)
_OWN_LABELS = frozenset(
    f"{prefix}/{name}"
    for prefix, names in {
        "beta.kubernetes.io": ("arch", "instance-type", "os"),
        "failure-domain.beta.kubernetes.io": ("region", "zone"),
        "kubernetes.io": ("arch", "hostname", "os"),
        "topology.kubernetes.io": ("region", "zone"),
    }.items()
    for name in names
)
_KUBERNETES = re.compile(r"(?:.*\.)?(?:kubernetes|k8s)\.io")
_OWN_NAMESPACES = re.compile(r"(?:.*\.)?(?:kubelet|node)\.kubernetes\.io")


def _may_label(name: str) -> bool:
    namespace, slash, _ = name.rpartition("/")
    if not slash or not _KUBERNETES.fullmatch(namespace):
        return True
    return name in _OWN_LABELS or _OWN_NAMESPACES.fullmatch(namespace) is not None


@rule("PL415", "a resolv.conf that means the host alone")
def no_stub(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """ResolvConf is not the stub file of systemd-resolved, nor /etc/resolv.conf, which leads to it on most hosts.

    Why: the stub names 127.0.0.53, and the kubelet writes that into pods with dnsPolicy Default, CoreDNS among them:
    there it is the pod itself, where nobody answers, or CoreDNS asking itself for ever.
    Source: CoreDNS, plugin/loop; systemd-resolved.service(8).
    Example:
        cluster: {kubernetes: "1.31", kubelet: {resolvConf: /etc/resolv.conf}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {resolvConf: /run/systemd/resolve/resolv.conf}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        file = node.cluster.kubelet.resolv_conf
        if file not in _STUBS:
            continue
        path = site.origin(node, "cluster", "kubelet", "resolvConf")
        if path not in told:
            told.add(path)
            what = "is" if file != _STUBS[0] else "may lead to"
            message = f"{file} of {node.name} {what} systemd-resolved's stub: pods would ask 127.0.0.53, themselves"
            hint = "use /run/systemd/resolve/resolv.conf; where systemd-resolved does not run, leave resolvConf out"
            yield Finding("PL415", message, site.place(path), Severity.WARNING, hint)


_STUBS = ("/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf")


@rule("PL416", "a taint twice")
def taints_once(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node has each pair of a taint's key and effect once, those of its role counted in.

    Why: the kubelet ends on "duplicated taints with the same key and effect", or the API server refuses the node.
    Source: kubernetes/kubernetes, pkg/util/taints and pkg/apis/core/validation.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {taints: ["gpu=a:NoSchedule", "gpu=b:NoSchedule"]}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {taints: ["gpu=a:NoSchedule", "gpu=a:NoExecute"]}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        seen: dict[tuple[str, str], KeyPath] = {}
        for holder, number, taint in _taints(node):
            path = (*site.origin(node, *holder, "taints"), number)
            head, _, effect = taint.rpartition(":")
            same = (head.partition("=")[0], effect)
            if same in seen and path not in told:
                told.add(path)
                first = site.place(seen[same], label="and here")
                message = f"{node.name} has the taint {same[0]} with {effect} twice"
                hint = "leave one out: a taint has one value"
                yield Finding("PL416", message, site.place(path), hint=hint, also=(first,) if first else ())
            seen.setdefault(same, path)


def _taints(node: ResolvedNode) -> Iterator[tuple[tuple[str, ...], int, str]]:
    kubelet = node.cluster.kubelet
    for number, taint in enumerate(kubelet.taints):
        yield ("cluster", "kubelet"), number, taint
    for number, taint in enumerate(kubelet.roles[node.role].taints if node.role in kubelet.roles else ()):
        yield ("cluster", "kubelet", "roles", node.role), number, taint


RULES = (allowed_labels, no_stub, taints_once)
