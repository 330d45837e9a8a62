"""PL3xx: addresses that the site names to be asked after a change, and that could tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Allocation, Ground, Range, subnets_of
from podlan.diagnostics import Finding
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podlan.inventory import IP, Attachment, ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL336", "a probe that is no neighbour")
def probe_is_neighbour(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A probe is the address of a neighbour: in a subnet of its master, and not the node's own.

    Why: podlan asks by ARP or neighbour discovery, which reach this link only, and which no machine answers itself. A
    probe that never answers is never among those that must go on to answer: it would watch over nothing.
    Source: RFC 826; RFC 4861, 7.2; Linux, net/ipv4/arp.c (arp_process).
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, probes: [192.168.7.1]}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-63], routes: [{dst: 0.0.0.0/0}]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, probes: [10.0.0.253]}
    """
    del grounds
    told: set[KeyPath] = set()
    for node, attachment, address, path in _probes(site):
        if path in told:
            continue
        networks = [site.subnets[name].cidr for name in subnets_of(site, attachment)]
        if address in attachment.addresses:
            message = f"the probe {address} of {attachment.name} is an address of {node.name} itself"
            hint = f"give {node.name} probes of its own: nodes.{node.name}.masters.{attachment.name}.probes"
        elif networks and not any(address in network for network in networks):
            message = f"the probe {address} is in no subnet of {attachment.name}, so it is no neighbour to be asked"
            hint = f"name an address of {', '.join(map(str, networks))}"
        else:
            continue
        told.add(path)
        yield Finding("PL336", message, site.place(path), hint=hint)


@rule("PL337", "a probe that pods may have")
def probe_outlives_pods(site: Site, allocation: Allocation) -> Iterator[Finding]:
    """A probe is no address of a slice, and not the node's own shim.

    Why: pods come and go. One that ends while podlan works on a node would look like a node that is cut off, and all
    would be taken back; and a node's own pods and shim do not answer through its master.
    Source: Linux, drivers/net/macvlan.c (frames of the master do not reach its children).
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, probes: [10.0.0.17]}
        nodes:
          node-1: {ranges: [10.0.0.16-23]}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-63], routes: [{dst: 0.0.0.0/0}]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, probes: [10.0.0.253]}
        nodes:
          node-1: {ranges: [10.0.0.16-23]}
    """
    what: dict[KeyPath, str] = {}
    told: set[KeyPath] = set()
    for node, attachment, address, path in _probes(site):
        asked, names = Range.of_address(address), subnets_of(site, attachment)
        if path not in what:
            what[path] = _owner(allocation, names, asked)
        shims = (allocation.shims.get((name, node.name)) for name in names)
        is_shim = any(shim is not None and shim.contains(asked) for shim in shims)
        if path not in told and (what[path] or is_shim):
            told.add(path)
            message = f"the probe {address} of {attachment.name} is {what[path] or f'the shim of {node.name}'}"
            hint = "name a machine that is always there, such as a second router or a switch"
            yield Finding("PL337", message, site.place(path), hint=hint)


def _owner(allocation: Allocation, names: Iterable[str], asked: Range) -> str:
    for (subnet, node), items in allocation.slices.items():
        if subnet in names and any(item.contains(asked) for item in items):
            return f"in the slice of {node}"
    return ""


def _probes(site: Site) -> Iterator[tuple[ResolvedNode, Attachment, IP, KeyPath]]:
    """Give every node's probes, and where each is written."""
    for node in site.nodes:
        for attachment in node.attachments:
            base = site.origin(node, "masters", attachment.name, "probes") if attachment.probes else ()
            for index, address in enumerate(attachment.probes):
                yield node, attachment, address, (*base, index)


RULES = (probe_is_neighbour,)
AFTER = (probe_outlives_pods,)
