"""What a lab is built from: the nodes' compiled directories, and what an operating system would have set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.lab.errors import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from podlan.inventory import Attachment, ResolvedNode, Site


@dataclass(frozen=True, slots=True)
class Wire:
    """A node's end on the LAN: the interface, its own addresses ('172.16.129.101/24'), its default gateways."""

    master: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabNode:
    """A node: `directory` is the compiled output's `nodes/<name>`.

    `sysctls` are pairs of a path below /proc/sys and a value that the operating system has set before
    podlan comes ('net/ipv4/conf/all/rp_filter', '1').
    """

    name: str
    directory: Path
    wires: tuple[Wire, ...]
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole site; `gateways` are the addresses with prefix length that the gateway has on the LAN."""

    nodes: tuple[LabNode, ...]
    gateways: tuple[str, ...] = ()


def topology(site: Site, output: Path) -> Topology:
    """Read off a site what the operating systems of its nodes would have set up before podlan comes.

    Raises Unsupported for a node whose own address is in none of its master's subnets: nothing says how long its
    prefix is.
    """
    nodes = tuple(
        LabNode(
            node.name,
            output / "nodes" / node.name,
            tuple(_wire(site, node, attachment) for attachment in node.attachments),
        )
        for node in site.nodes
    )
    carried = {name for node in site.nodes for attachment in node.attachments for name in attachment.master.subnets}
    gateways = tuple(
        f"{subnet.gateway}/{subnet.cidr.prefixlen}"
        for name, subnet in sorted(site.subnets.items())
        if name in carried and subnet.gateway is not None
    )
    return Topology(nodes, gateways)


def _wire(site: Site, node: ResolvedNode, attachment: Attachment) -> Wire:
    if attachment.vlan:
        raise Unsupported(
            f"{attachment.interface} of {node.name} is a VLAN that podlan makes, and a lab's wires have no VLANs",
            f"try a copy of the site in which masters.{attachment.name} has an interface and no vlan",
        )
    subnets = [site.subnets[name] for name in attachment.master.subnets]
    addresses, gateways = [], []
    for address in attachment.addresses:
        subnet = next((subnet for subnet in subnets if address in subnet.cidr), None)
        if subnet is None:
            raise Unsupported(f"{address} of {node.name} is in no subnet of {attachment.name}", "give it one that is")
        addresses.append(f"{address}/{subnet.cidr.prefixlen}")
        if subnet.gateway is not None:
            gateways.append(str(subnet.gateway))
    return Wire(attachment.interface, tuple(addresses), tuple(gateways))
