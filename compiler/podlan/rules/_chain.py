"""PL3xx: options that a node's plugins do not know, and chained plugins that do not work after macvlan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Finding
from podlan.inventory import Version
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import Chained, Master, Site
    from podlan.source import KeyPath

_UNKNOWN = Version(1, 0)
"""Plugins whose version nobody says: they are not taken for newer ones."""


@rule("PL321", "an option that the plugins do not know")
def plugins_know(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node's plugins know every option that its masters use; where their version is not given, those up to 1.0.

    Why: plugins ignore a key that they do not know, without a word; an empty `ipam` older ones refuse.
    Source: containernetworking/plugins, release notes: empty ipam 0.8.0, tuning allmulti 1.0.0, IFNAME in sysctl
    1.1.0, linkInContainer 1.3.0, txQLen 1.4.0, bcqueuelen and sbr table 1.6.0.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, bcqueuelen: 2000}
    Instead:
        cni: {name: pods, plugins: {version: "1.6.0"}}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, bcqueuelen: 2000}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        version = node.cni.plugins.version
        for attachment in node.attachments:
            for path, what, since in _options(attachment.name, attachment.master):
                if (version or _UNKNOWN) >= since or path in told:
                    continue
                told.add(path)
                why = site.origin(node, "cni", "plugins")
                also = site.place(why, label="the plugins") if why[-1] == "plugins" and site.source.has(why) else None
                has = f"{node.name} has {version}" if version else f"nothing says which {node.name} has"
                yield Finding(
                    "PL321",
                    f"{what} needs plugins {since}, and {has}",
                    site.place(path),
                    hint='leave it out, or give newer plugins, as cni.plugins.version: "1.6.0"',
                    also=(also,) if also else (),
                )


def _options(name: str, master: Master) -> Iterator[tuple[KeyPath, str, Version]]:
    """Give the options of a master that not all plugins know, and since which version they do."""
    base: KeyPath = ("masters", name)
    if master.ipam == "none":
        yield (*base, "ipam"), "a network without IPAM", Version(0, 8)
    if master.link_in_container:
        yield (*base, "linkInContainer"), "linkInContainer", Version(1, 3)
    if master.bcqueuelen is not None:
        yield (*base, "bcqueuelen"), "bcqueuelen", Version(1, 6)
    for index, item in enumerate(master.chain):
        for key, what, since in _chained_options(item):
            yield (*base, "chain", index, key), what, since


def _chained_options(item: Chained) -> Iterator[tuple[str, str, Version]]:
    if item.type == "tuning":
        if any("IFNAME" in name.split(".") for name in item.sysctl):
            yield "sysctl", "IFNAME in a sysctl", Version(1, 1)
        if item.allmulti is not None:
            yield "allmulti", "allmulti", Version(1, 0)
        if item.tx_q_len is not None:
            yield "txQLen", "txQLen", Version(1, 4)
    elif item.type == "sbr" and item.table is not None:
        yield "table", "a table for sbr", Version(1, 6)


@rule("PL322", "a chained plugin that cannot work")
def chained_plugins_work(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """After macvlan come `tuning`, `sbr` on a secondary master, and `portmap` where the host reaches its pods.

    Why: `bandwidth` needs the other end of a veth on the host, and a macvlan pod has none: every ADD with a limit
    fails. `sbr` takes a pod's only routes out of its main table. `portmap` sends what comes to a host's port on to the
    pod, which the host reaches by its shim or moved address alone. A `mac` of `tuning` is that of every pod.
    Source: measured with plugins 1.1.1: "container interface eth0 has no veth peer: interface "eth0" was not a veth
    interface"; after sbr on eth0 the main table is empty.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, chain: [{type: bandwidth, ingressRate: 100000000}]}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, chain: [{type: portmap}]}
    """
    del grounds
    for name, master in site.inventory.masters.items():
        for index, item in enumerate(master.chain):
            path: KeyPath = ("masters", name, "chain", index)
            for key, message, hint in _unworkable(name, master, item):
                yield Finding("PL322", message, site.place((*path, key)), hint=hint)


def _unworkable(name: str, master: Master, item: Chained) -> Iterator[tuple[str, str, str]]:
    if item.type == "bandwidth":
        message = f"bandwidth fails after macvlan: pods of {name} have no veth whose other end it could limit"
        yield "type", message, "limit on the switch, or shape in the pod"
    elif item.type == "sbr" and not master.secondary:
        message = f"sbr takes the only routes of pods on {name} out of their main table: they reach nobody first"
        yield "type", message, "chain it after a secondary master"
    elif item.type == "portmap" and master.host_access.via == "none":
        message = f"portmap leads through the host, which does not reach its pods on {name}"
        yield "type", message, "give it host access, or leave portmap out: clients reach the pod's own address"
    elif item.type == "tuning" and item.mac is not None:
        message = f"all pods of {name} would have one MAC, {item.mac}"
        yield "mac", message, "leave it out; a pod may ask for a MAC of its own"


@rule("PL323", "a chain that is none")
def chain_is_one(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A chain of plugins stands in a .conflist, and calls each of them once.

    Why: a .conf holds one plugin alone, and the rest would be lost. Of two calls of a plugin only the later shows, and
    DEL undoes the wrong one.
    Source: containernetworking/cni, SPEC.md; containernetworking/plugins, tuning keeps what it found in one file a
    container.
    Example:
        cni: {name: pods, format: conf}
        masters:
          uplink:
            interface: eth0
            subnets: [lan]
            podsPerNode: 8
            chain: [{type: tuning, sysctl: {net.core.somaxconn: "1024"}}]
    Instead:
        cni: {name: pods, format: conflist}
        masters:
          uplink:
            interface: eth0
            subnets: [lan]
            podsPerNode: 8
            chain: [{type: tuning, sysctl: {net.core.somaxconn: "1024"}}]
    """
    del grounds
    for name, master in site.inventory.masters.items():
        first: dict[str, int] = {}
        for index, item in enumerate(master.chain):
            earlier = first.setdefault(item.type, index)
            if earlier != index:
                also = site.place(("masters", name, "chain", earlier), label="the first one")
                yield Finding(
                    "PL323",
                    f"{name} chains {item.type} twice",
                    site.place(("masters", name, "chain", index)),
                    hint="write its options in one",
                    also=(also,) if also else (),
                )
    told: set[KeyPath] = set()
    for node in site.nodes:
        primary, path = node.primary, site.origin(node, "cni", "format")
        if primary is not None and primary.master.chain and node.cni.format == "conf" and path not in told:
            told.add(path)
            also = site.place(("masters", primary.name, "chain"), key=True, label="the chain")
            message = f"a .conf has no place for the plugins that {node.name} chains after macvlan"
            yield Finding("PL323", message, site.place(path), hint="use format: conflist", also=(also,) if also else ())


RULES = (plugins_know, chained_plugins_work, chain_is_one)
