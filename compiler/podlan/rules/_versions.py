"""PL4xx: what the versions on a node, or the node itself, do not accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Finding
from podlan.inventory import cni_version, newest_for_plugins, newest_for_runtime
from podlan.plan import WRITABLE, may_write
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL401", "a required fact is missing")
def required_facts(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The site names its network, and every node's Kubernetes version is known.

    Why: the name is the directory in which host-local keeps its reservations; the version decides which
    kubelet flags exist, and a kubelet ends at once on a flag it does not know.
    Example:
        cluster: {}
    Instead:
        cluster: {kubernetes: "1.31"}
    """
    del grounds
    if site.inventory.cni.name is None:
        place = site.place(("cni",), key=True)
        yield Finding("PL401", "cni.name is missing", place, hint="name the network, for example k8s-pod-network")
    for node in site.nodes:
        if node.cluster.kubernetes is None:
            path: KeyPath = ("cluster",) if site.source.has(("cluster",)) else ()
            message = f"cluster.kubernetes is missing: nothing says which kubelet {node.name} runs"
            yield Finding(
                "PL401", message, site.place(path, key=True), hint='write it quoted, as in kubernetes: "1.31"'
            )
            return


@rule("PL402", "a cniVersion that plugins or runtime refuse")
def cni_version_accepted(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The cniVersion is one that the node's plugins and its runtime take.

    Why: "incompatible CNI versions" fails every pod of the node.
    Source: containernetworking/plugins release notes; containerd 1.7 refuses results of 1.1.0.
    Example:
        cni: {name: pods, cniVersion: 1.1.0, plugins: {version: "0.9.1"}}
    Instead:
        cni: {name: pods, cniVersion: 0.4.0, plugins: {version: "0.9.1"}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        version = cni_version(node)
        for limit, what, why in _limits(node):
            if version > limit and (path := site.origin(node, "cni", "cniVersion")) not in told:
                told.add(path)
                also = site.place(site.origin(node, *why), label=f"{what} decides here")
                message = f"cniVersion {version} is newer than {what} of {node.name} takes ({limit})"
                yield Finding("PL402", message, site.place(path), hint=f"use {limit}", also=(also,) if also else ())


def _limits(node: ResolvedNode) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    yield newest_for_plugins(node.cni.plugins.version), "the plugins", ("cni", "plugins")
    yield newest_for_runtime(node.cluster), node.cluster.runtime, ("cluster", "runtime")


@rule("PL403", "a directory that podlan does not write")
def writable_places(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The directories that podlan writes into are among those that a plan may touch on a node.

    Why: reconcile runs as root and refuses a plan that names any other place, so that nobody's mistake, or malice,
    can write /root/.ssh or /etc/passwd.
    Example:
        cni: {name: pods, confDir: /srv/cni}
    Instead:
        cni: {name: pods, confDir: /etc/cni/net.d}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        for keys, directory in (
            (("cni", "confDir"), node.cni.conf_dir),
            (("cluster", "kubeletConfigDir"), node.cluster.kubelet_config_dir),
        ):
            if not may_write(f"{directory}/x") and (path := site.origin(node, *keys)) not in told:
                told.add(path)
                message = f"{'.'.join(keys)} {directory} of {node.name} is not a place that a plan may touch"
                hint = f"use a directory below one of {', '.join(place for place in WRITABLE if place.endswith('/'))}"
                yield Finding("PL403", message, site.place(path), hint=hint)


RULES = (required_facts, cni_version_accepted, writable_places)
