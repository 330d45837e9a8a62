"""What a lab is built from: the nodes' compiled directories, and what an operating system would have set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.lab.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from podlan.inventory import Attachment, ResolvedNode, Site

LAN = "lan0"
"""The name of the first LAN; its gateway's interface and its bridge on the switch are called so, too."""

_OURS = frozenset({"gateway", "switch"})

_MTU = 1500
"""That of Ethernet, in bytes; a LAN whose pods shall have more has more."""

_IPV6 = 6
# kubeadm refuses a node of both families that does not forward IPv6; podlan leaves that to the operating system.
_FORWARDING = (("net/ipv6/conf/all/forwarding", "1"),)


@dataclass(frozen=True, slots=True)
class Wire:
    """A node's end on a LAN: the interface, its own addresses ('172.16.129.101/24'), its default gateways.

    `reflects`: the switch sends frames back by the port they came by (IEEE 802.1Qbg), as mode vepa counts on. With
    `vlan` the LAN is that VLAN of the interface `link`.
    """

    master: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    lan: str = LAN
    reflects: bool = False
    vlan: int = 0
    link: str = ""

    @property
    def plug(self) -> str:
        """The interface that is plugged in: with `vlan`, the one whose frames have that tag."""
        return self.link or self.master


@dataclass(frozen=True, slots=True)
class LabNode:
    """A node: `directory` is the compiled output's `nodes/<name>`.

    `sysctls` are pairs of a path below /proc/sys and a value that the operating system has set before
    podlan comes ('net/ipv4/conf/all/rp_filter', '1'). `services` are the networks of the cluster's Services.
    """

    name: str
    directory: Path
    wires: tuple[Wire, ...]
    sysctls: tuple[tuple[str, str], ...] = ()
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lan:
    """One wire that nodes share; `gateways` are the addresses with prefix length that the gateway has there."""

    name: str = LAN
    gateways: tuple[str, ...] = ()
    mtu: int = _MTU


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole site; `notes` say what of it the lab leaves out."""

    nodes: tuple[LabNode, ...]
    lans: tuple[Lan, ...] = field(default=(Lan(),))
    notes: tuple[str, ...] = ()


def topology(site: Site, output: Path) -> Topology:
    """Read off a site what the operating systems of its nodes would have set up before podlan comes.

    Masters that share a subnet are on one LAN. Raises Unsupported for what a lab cannot do.
    """
    for node in site.nodes:
        if node.name in _OURS:
            raise Unsupported(f"a part of every lab is called {node.name}, too", "give the node another name")
        if node.primary is not None and node.primary.master.ipam == "dhcp":
            raise Unsupported(
                f"pods of {node.name} ask a DHCP server for their addresses, and a lab has none",
                f"try a copy of the site in which masters.{node.primary.name} has ipam: host-local",
            )
    names = _lans(site)
    nodes = tuple(
        LabNode(
            node.name,
            output / "nodes" / node.name,
            tuple(_wires(site, node, names)),
            _FORWARDING if any(network.version == _IPV6 for network in node.cluster.service_cidr) else (),
            tuple(map(str, node.cluster.service_cidr)),
        )
        for node in site.nodes
    )
    return Topology(nodes, tuple(_describe(site, names)), tuple(dict.fromkeys(_notes(site))))


def _wired(node: ResolvedNode) -> list[Attachment]:
    return [attachment for attachment in node.attachments if not attachment.master.link_in_container]


def _lans(site: Site) -> dict[str, str]:
    """Give the LAN of every master that a node has: masters with a subnet in common are on one, however far apart."""
    masters = sorted({attachment.name for node in site.nodes for attachment in _wired(node)})
    groups: list[tuple[set[str], list[str]]] = []
    for master in masters:
        subnets, members = set(site.inventory.masters[master].subnets), [master]
        for other in [group for group in groups if group[0] & subnets]:
            groups.remove(other)
            subnets |= other[0]
            members = other[1] + members
        groups.append((subnets, members))
    groups.sort(key=lambda group: group[1])
    return {master: f"lan{number}" for number, (_, members) in enumerate(groups) for master in members}


def _describe(site: Site, names: dict[str, str]) -> Iterator[Lan]:
    for lan in dict.fromkeys(names.values()):
        here = [attachment for node in site.nodes for attachment in _wired(node) if names[attachment.name] == lan]
        carried = sorted({name for attachment in here for name in attachment.master.subnets})
        subnets = [site.subnets[name] for name in carried]
        gateways = [f"{subnet.gateway}/{subnet.cidr.prefixlen}" for subnet in subnets if subnet.gateway is not None]
        yield Lan(lan, tuple(gateways), max([_MTU, *(attachment.mtu or 0 for attachment in here)]))


def _wires(site: Site, node: ResolvedNode, names: dict[str, str]) -> Iterator[Wire]:
    families: set[int] = set()
    for attachment in _wired(node):
        subnets = [site.subnets[name] for name in attachment.master.subnets]
        addresses, gateways = [], []
        for address in attachment.addresses:
            subnet = next((subnet for subnet in subnets if address in subnet.cidr), None)
            if subnet is None:
                raise Unsupported(
                    f"{address} of {node.name} is in no subnet of {attachment.name}", "give it one that is"
                )
            addresses.append(f"{address}/{subnet.cidr.prefixlen}")
            # A host has one default route a family, that of its first master.
            if subnet.gateway is not None and address.version not in families:
                families.add(address.version)
                gateways.append(str(subnet.gateway))
        yield Wire(
            attachment.interface,
            tuple(addresses),
            tuple(gateways),
            names[attachment.name],
            reflects=attachment.master.mode == "vepa",
            vlan=attachment.vlan,
            link=attachment.link,
        )


def _notes(site: Site) -> Iterator[str]:
    for node in site.nodes:
        for attachment in node.attachments:
            name, master = attachment.name, attachment.master
            if master.link_in_container:
                yield f"pods do not get {name}: nothing makes the interface in them that it is to hang on"
            elif master.ipam == "dhcp":
                yield f"pods do not get {name}: a lab has no DHCP server"
            elif master.ipam == "none":
                yield f"pods have no address on {name} (ipam: none): nobody can try to reach them there"
            elif master.mode == "vepa":
                yield f"for {name} (mode: vepa) the switch sends frames back by the port they came by; most do not"
            elif master.mode == "passthru":
                yield f"on {name} (mode: passthru) the one pod of a node takes the interface away from its host"
