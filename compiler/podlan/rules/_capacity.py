"""PL4xx: what the nodes were given, and whether it is enough, handy and unlike the others'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Allocation, child_mac, subnets_of
from podlan.diagnostics import Finding, Severity
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Place
    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.source import KeyPath

_MANY_ROUTES = 8
"""More host routes of one slice than this are hard to read at night; an aligned slice needs one."""


@rule("PL406", "more pods than addresses")
def pods_have_addresses(site: Site, allocation: Allocation) -> Iterator[Finding]:
    """Where `maxPods` is given, a node's slice and its hostNetworkPods are no fewer.

    Why: the scheduler sends maxPods pods to the node, and those without an address stay in ContainerCreating with
    "no IP addresses available in range set". Left out, podlan gives the kubelet what the slice holds.
    Source: containernetworking/plugins, host-local allocator.go; kubernetes, KubeletConfiguration maxPods (110).
    Example:
        cluster: {kubernetes: "1.31", maxPods: 110}
    Instead:
        cluster: {kubernetes: "1.31"}
    """
    told: set[KeyPath] = set()
    for node in site.nodes:
        limit = node.cluster.max_pods
        path = site.origin(node, "cluster", "maxPods")
        if limit is None or path in told or node.primary is None or not node.primary.has_slices:
            continue
        size = min(
            sum(item.size for item in allocation.slices[(name, node.name)]) for name in subnets_of(site, node.primary)
        )
        room = size + node.cluster.host_network_pods
        if limit > room:
            told.add(path)
            at = site.place(("nodes", node.name), key=True, label=f"{node.name} has {size} addresses")
            yield Finding(
                "PL406",
                f"{node.name} may get {limit} pods, and has room for {room}",
                site.place(path),
                Severity.WARNING,
                f"leave maxPods out, say {room}, or give the node more pods",
                (at,) if at else (),
            )


@rule("PL407", "a slice of many routes")
def few_routes(site: Site, allocation: Allocation) -> Iterator[Finding]:
    """A slice is at most eight networks, so that the host reaches its pods by a few routes.

    Why: the shim needs a route for every network that a slice is made of; they slow nobody down, but they are what a
    person reads when something is wrong.
    Example:
        nodes:
          a:
            ranges: [10.0.0.33-47, 10.0.0.65-79, 10.0.0.97-111]
    Instead:
        nodes:
          a:
            ranges: [10.0.0.32-47, 10.0.0.64-79, 10.0.0.96-111]
    """
    for node in site.nodes:
        for attachment in node.attachments:
            for name in subnets_of(site, attachment):
                if not attachment.has_shim(site.subnets[name].cidr.version):
                    continue
                count = sum(1 for item in allocation.slices[(name, node.name)] for _ in item.blocks())
                if count > _MANY_ROUTES:
                    pinned = site.origin(node, "masters", attachment.name, "ranges")
                    held = ", ".join(map(str, allocation.slices[(name, node.name)]))
                    yield Finding(
                        "PL407",
                        f"the slice {held} of {node.name} takes {count} routes on its host",
                        site.place(pinned, key=not site.source.has(pinned)),
                        Severity.WARNING,
                        "pin ranges that begin and end at multiples of a power of two, or allocate: aligned",
                    )


@rule("PL408", "a MAC twice")
def mac_once(site: Site, allocation: Allocation) -> Iterator[Finding]:
    """No two nodes' macvlan children on a subnet have one MAC.

    Why: switches learn one port for a MAC; two hosts with the same one cut each other off by turns.
    Source: IEEE 802.1Q, 8.8 (a filtering database has one dynamic entry for an address).
    Example:
        nodes:
          a: {masters: {uplink: {hostAccess: {mac: "02:00:00:00:00:01"}}}}
          b: {masters: {uplink: {hostAccess: {mac: "02:00:00:00:00:01"}}}}
    Instead:
        nodes:
          a: {masters: {uplink: {hostAccess: {mac: "02:00:00:00:00:01"}}}}
          b: {masters: {uplink: {hostAccess: {mac: "02:00:00:00:00:02"}}}}
    """
    seen: dict[str, tuple[ResolvedNode, Attachment]] = {}
    for node in site.nodes:
        for attachment in node.attachments:
            mac = _mac(site, node, attachment, allocation)
            other, its = seen.setdefault(mac, (node, attachment))
            if mac and its is not attachment:
                also = _mac_place(site, other, its, f"{other.name} has it")
                yield Finding(
                    "PL408",
                    f"the macvlan children of {other.name} and {node.name} have one MAC, {mac}",
                    _mac_place(site, node, attachment),
                    hint="give one of them another, as masters.NAME.hostAccess.mac",
                    also=(also,) if also else (),
                )


def _mac_place(site: Site, node: ResolvedNode, attachment: Attachment, label: str = "") -> Place | None:
    path = site.origin(node, "masters", attachment.name, "hostAccess", "mac")
    return site.place(path, key=path[-1] != "mac", label=label)


def _mac(site: Site, node: ResolvedNode, attachment: Attachment, allocation: Allocation) -> str:
    names = subnets_of(site, attachment)
    return child_mac(
        attachment, [allocation.shims[key] for name in names if (key := (name, node.name)) in allocation.shims]
    )


RULES = (pods_have_addresses, few_routes, mac_once)
