"""PL41x: the flags that people add to the kubelet's, and whether their kubelets take them."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.inventory.kubelet_tables import fields, flags
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site, Version
    from podlan.source import KeyPath

_FLAGS = {
    "cluster-dns": "cluster.clusterDNS",
    "cni-bin-dir": "cni.binDir",
    "cni-conf-dir": "cni.confDir",
    "config-dir": "cluster.kubeletConfigDir",
    "max-pods": "cluster.maxPods",
    "network-plugin": "nothing: it is always cni",
    "node-ip": "the node's address",
    "node-labels": "cluster.kubelet.labels",
    "register-with-taints": "cluster.kubelet.taints",
    "resolv-conf": "cluster.kubelet.resolvConf",
}
OWN_FIELDS = {
    "apiVersion": "nothing: podlan writes it",
    "clusterDNS": "cluster.clusterDNS",
    "kind": "nothing: podlan writes it",
    "maxPods": "cluster.maxPods",
    "registerWithTaints": "cluster.kubelet.taints",
    "resolvConf": "cluster.kubelet.resolvConf",
}
"""What podlan itself says to the kubelet, and the key that decides it."""


@rule("PL410", "a flag that the kubelet does not know")
def known_flags(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A flag in cluster.kubelet.flags is one that the node's kubelet has.

    What podlan cannot tell, since nobody wrote down when such a flag came or went, is a note.
    Why: a kubelet ends at once on a flag that it does not know, and systemd starts it again and again.
    Source: the parser of kubelet 1.20.2, and Kubernetes' release notes for what came and went since.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {flags: {container-runtime: remote}}}
    Instead:
        cluster: {kubernetes: "1.31"}
    """
    del grounds
    judged: set[tuple[KeyPath, Version]] = set()
    told: set[tuple[KeyPath, Severity]] = set()
    for node, version in with_version(site):
        for name in node.cluster.kubelet.flags:
            path = site.origin(node, "cluster", "kubelet", "flags", name)
            found = None if (path, version) in judged else _flag(node, version, name)
            judged.add((path, version))
            if found is not None and (path, found[2]) not in told:
                message, hint, severity = found
                told.add((path, severity))
                yield Finding("PL410", message, site.place(path, key=True), severity, hint)


def _flag(node: ResolvedNode, version: Version, name: str) -> tuple[str, str, Severity] | None:
    table = flags()
    removed, since = table.removed.get(name), table.since.get(name)
    if removed is not None and version >= removed.version:
        message = f"the kubelet of {node.name} does not start with --{name}: {short(version)} has it no longer"
        return message, f"{removed.instead} (gone by {short(removed.version)}: {removed.source})", Severity.ERROR
    if since is not None and version < since:
        message = f"the kubelet of {node.name} does not start with --{name}: it came with {short(since)}, and this is"
        return f"{message} {short(version)}", f"leave it out before {short(since)}", Severity.ERROR
    if name in table.names:
        return None
    guess = near(name, table.names.difference(table.removed), "--")
    if table.missing(name, version):
        message = f"the kubelet of {node.name} does not start with --{name}: {short(version)} has no such flag"
        return message, guess, Severity.ERROR
    message = f"podlan knows no flag --{name}, and cannot tell whether the kubelet of {node.name} does"
    return message, guess or f"ask it: kubelet --help | grep -e --{name}", Severity.NOTE


@rule("PL412", "a kubelet's setting that podlan makes itself")
def own_settings(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """What podlan says to the kubelet stands neither in cluster.kubelet.flags nor in cluster.kubelet.config.

    Why: said twice, one of the two would win without a word, and maxPods must fit the slice.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {config: {maxPods: 8}}}
    Instead:
        cluster: {kubernetes: "1.31", maxPods: 8}
    """
    del grounds
    told: set[KeyPath] = set()
    for node, version in with_version(site):
        kubelet = node.cluster.kubelet
        own = [("flags", name, f"--{name}", _FLAGS[name]) for name in kubelet.flags if name in _FLAGS]
        own += [("config", name, name, OWN_FIELDS[name]) for name in kubelet.config if name in OWN_FIELDS]
        for holder, name, shown, key in own:
            path = site.origin(node, "cluster", "kubelet", holder, name)
            if path in told or (holder == "flags" and flags().missing(name, version)):
                continue
            told.add(path)
            message = f"podlan itself gives the kubelet of {node.name} {shown}"
            yield Finding("PL412", message, site.place(path, key=True), hint=f"leave it out, and use {key}")


@rule("PL417", "a flag that cannot stand in the kubelet's file")
def flags_are_words(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A flag's value holds no character that a shell would obey, where flags stand in a shell-style variable.

    Why: systemd reads such a variable, and so do people's scripts; quotes, dollar signs, redirections and the like end
    the value, or mean something else to one of the two. podlan on the node refuses to write them.
    Source: systemd.exec(5), EnvironmentFile=.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {flags: {eviction-hard: "memory.available<100Mi"}}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {config: {evictionHard: {memory.available: 100Mi}}}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        if node.cluster.distribution in {"k3s", "rke2"}:
            continue
        for name, value in node.cluster.kubelet.flags.items():
            found = _UNSAFE.search(value)
            path = site.origin(node, "cluster", "kubelet", "flags", name)
            if found and path not in told:
                told.add(path)
                message = (
                    f"--{name}={value} of {node.name} cannot stand in the kubelet's file: it holds {found.group()}"
                )
                field = next((field for field, flag in fields().flags.items() if flag == name), None)
                hint = f"write it as {field} in kubelet.config, which takes any value" if field else "leave it out"
                yield Finding("PL417", message, site.place(path), hint=hint)


_UNSAFE = re.compile(r"""['"\\$`#;&|<>()]""")


def with_version(site: Site) -> Iterator[tuple[ResolvedNode, Version]]:
    """Give the nodes whose version is known; rule PL401 reports the others."""
    for node in site.nodes:
        if node.cluster.kubernetes is not None:
            yield node, node.cluster.kubernetes


def short(version: Version) -> str:
    return f"{version.major}.{version.minor}"


@cache
def near(name: str, names: frozenset[str], dashes: str) -> str:
    """Guess which name is meant; one mistake may stand at thousands of nodes."""
    found = difflib.get_close_matches(name, sorted(names), n=1)
    return f"did you mean {dashes}{found[0]}?" if found else ""


RULES = (known_flags, own_settings, flags_are_words)
