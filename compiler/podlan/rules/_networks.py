"""PL2xx: nodes, sizes and foreign networks that do not fit the site's subnets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Addresses, Ground, Range, address_path, pins, subnets_of
from podlan.diagnostics import Finding, Severity
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.diagnostics import Place
    from podlan.inventory import Network, ResolvedNode, Site
    from podlan.source import KeyPath

_IPV4 = 4


@rule("PL214", "a node's address in another network")
def node_address_elsewhere(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node's own address lies in the subnet of its family that its master carries.

    Why: it is kept free of slices only there; elsewhere it is most often a slip (10.21 for 10.20), and a pod may be
    given the address that the node really has. A host that sits in a routed network on the same wire is no mistake:
    that is why this is a warning.
    Example:
        nodes:
          node-1: {address: 10.0.1.1}
    Instead:
        nodes:
          node-1: {address: 10.0.0.1}
    """
    for node in site.nodes:
        for attachment in node.attachments:
            for index, address in enumerate(attachment.addresses):
                if address.version == _IPV4 and attachment.access.via == "move":
                    continue  # PL306 says it
                item = Range.of_address(address)
                carried = [grounds[name] for name in subnets_of(site, attachment)]
                others = [ground for ground in carried if ground.network.family == item.family]
                if others and not any(ground.network.contains(item) for ground in others):
                    cidrs = " or ".join(f"{ground.name} ({ground.subnet.cidr})" for ground in others)
                    yield Finding(
                        "PL214",
                        f"the address {address} of {node.name} is not inside {cidrs}",
                        site.place(address_path(site, node, attachment, index)),
                        Severity.WARNING,
                        hint="check it for a slip; or leave it out, where the node is in no subnet of the site",
                        also=_present(
                            site.place(("subnets", ground.name, "cidr"), label="the subnet") for ground in others
                        ),
                    )


@rule("PL215", "a network that is used for something else")
def foreign_network(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """No subnet of the site overlaps a network that its nodes use for Services or anything else (`avoid`).

    Neither do those two overlap each other; that is a warning. And none of them is written twice.
    Why: a pod's route to Services then leads traffic of the LAN to its own host, and a host sends what is meant for
    pods to its own bridge. Two routes to the same Services end every ADD with "file exists".
    Example:
        cluster: {kubernetes: "1.31", avoid: [10.0.0.0/16]}
    Instead:
        cluster: {kubernetes: "1.31", avoid: [10.1.0.0/16]}
    """
    told: set[KeyPath] = set()
    for node in site.nodes:
        foreign = list(_foreign(site, node))
        for index, (key, network, path) in enumerate(foreign):
            if path in told:
                continue
            told.add(path)
            for name, ground in grounds.items():
                if ground.network.overlaps(Range.of_network(network)):
                    yield Finding(
                        "PL215",
                        f"{network} of cluster.{key} overlaps {name} ({ground.subnet.cidr})",
                        site.place(path),
                        hint=f"a network of {key} and the LAN need addresses of their own",
                        also=_present([site.place(("subnets", name, "cidr"), label="the subnet")]),
                    )
            for other_key, other, other_path in foreign[:index]:
                if key == other_key and other == network:
                    yield Finding(
                        "PL215",
                        f"{network} stands twice in cluster.{key}",
                        site.place(path),
                        hint="remove it here",
                        also=_present([site.place(other_path, label="the first one")]),
                    )
                elif key != other_key and Range.of_network(other).overlaps(Range.of_network(network)):
                    yield Finding(
                        "PL215",
                        f"{network} of cluster.{key} overlaps {other} of cluster.{other_key}",
                        site.place(path),
                        Severity.WARNING,
                        hint=f"Services on addresses that {node.name} uses for something else cannot be reached",
                        also=_present([site.place(other_path, label=f"{other_key} is here")]),
                    )


def _foreign(site: Site, node: ResolvedNode) -> Iterator[tuple[str, Network, KeyPath]]:
    """Give the networks a node uses for something else: the key, the network, and where it is written."""
    for key, networks in (("serviceCIDR", node.cluster.service_cidr), ("avoid", node.cluster.avoid)):
        base = site.origin(node, "cluster", key)
        for index, network in enumerate(networks):
            yield key, network, (*base, index)


@rule("PL216", "pinned ranges smaller than asked for")
def pins_too_small(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where a node, or its profile, says `pods` and `ranges`, the ranges hold that many addresses of each family.

    Why: a pinned slice is never enlarged; the pods that find no address in it stay in ContainerCreating.
    Example:
        nodes:
          node-1: {pods: 20, ranges: [10.0.0.16-31]}
    Instead:
        nodes:
          node-1: {pods: 20, ranges: [10.0.0.16-35]}
    """
    del grounds
    for node in site.nodes:
        for attachment in node.attachments:
            said_at = site.origin(node, "masters", attachment.name, "pods")
            if attachment.pods is None or said_at[-1] != "pods" or not site.source.has(said_at):
                continue  # the master's podsPerNode is meant for slices that nobody pinned
            pinned: dict[str, list[Range]] = {}
            for subnet, item, _ in pins(site, node, attachment):
                pinned.setdefault(subnet, []).append(item)
            for subnet, items in pinned.items():
                size = Addresses(items[0].family, items).size
                if size < attachment.pods:
                    yield Finding(
                        "PL216",
                        f"{node.name} asks for {attachment.pods} pods, and its pinned ranges in {subnet} hold {size}",
                        site.place(site.origin(node, "masters", attachment.name, "ranges")),
                        hint=f"pin {attachment.pods - size} more, or say pods: {size}",
                        also=_present([site.place(said_at, label="the pods")]),
                    )


def _present(places: Iterator[Place | None] | list[Place | None]) -> tuple[Place, ...]:
    return tuple(place for place in places if place is not None)


RULES = (node_address_elsewhere, foreign_network, pins_too_small)
