"""From a node's slices to what it must have on its links: the network part of its plan.

The recipes are those that lose nothing on the wire. Shim: an own /32 on a macvlan child, routes for the own
slice only, and three sysctls that keep every IPv4 address answered by exactly one MAC whatever rp_filter says.
Move: the node's address also on the child with the better metric, the master's kept with a worse one, so that
no moment is without a route; rp_filter is loosened first, since both interfaces then carry the address.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_network
from typing import TYPE_CHECKING

from podlan.addressing import Allocation, Range, subnets_of, to_text
from podlan.plan import Address, Link, Plan, Probe, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.inventory import Attachment, ResolvedNode, Site, Subnet

CHILD_METRIC = 50
MASTER_METRIC = 512
FALLBACK_METRIC = 1024
"""With `move`: the child's prefix route wins over the master's, and a default route through the master stays."""

_IPV4 = 4
_HOST_PREFIX = {4: 32, 6: 128}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Wire:
    """One subnet on a node's master: the node's slice of it and, with a shim, the host's own address there."""

    name: str
    subnet: Subnet
    slice: tuple[Range, ...]
    shim: Range | None

    @property
    def family(self) -> int:
        """4 or 6."""
        return int(self.subnet.cidr.version)

    @property
    def shim_text(self) -> str:
        """The shim's address, or nothing."""
        return to_text(self.shim.family, self.shim.first) if self.shim else ""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything that a node's files are rendered from."""

    node: ResolvedNode
    attachment: Attachment
    wires: tuple[Wire, ...]
    network: Plan

    @property
    def pods(self) -> int:
        """How many pods can have an address at once: the smallest of the node's slices."""
        return min((sum(item.size for item in wire.slice) for wire in self.wires), default=0)


def blueprint(site: Site, node: ResolvedNode, allocation: Allocation) -> Blueprint:
    """Bring together what one node must have; a node has exactly one master here (rule PL304)."""
    (attachment,) = node.attachments
    wires = tuple(
        Wire(
            name,
            site.subnets[name],
            allocation.slices[(name, node.name)],
            allocation.shims.get((name, node.name)),
        )
        for name in subnets_of(site, attachment)
    )
    return Blueprint(node, attachment, wires, _network(node, attachment, wires))


def _network(node: ResolvedNode, attachment: Attachment, wires: tuple[Wire, ...]) -> Plan:
    # Not asked for means left alone: somebody else may want the flag.
    master = Link(attachment.interface, "master", promisc=attachment.master.promisc or None)
    probes = tuple(
        Probe(attachment.interface, str(wire.subnet.gateway)) for wire in wires if wire.subnet.gateway is not None
    )
    identity = tuple(str(address) for address in attachment.addresses)
    via = attachment.access.via
    if via == "none":
        return Plan(node.name, links=(master,), probes=probes, identity=identity)
    child = Link(
        attachment.access.interface,
        "macvlan",
        master=attachment.interface,
        mode=attachment.master.mode,
        mac=_mac(via, attachment, wires),
        alias=f"podlan: {via} of {attachment.name}",
    )
    addresses, routes = _shim(child.name, wires) if via == "shim" else _move(child.name, attachment, wires)
    return Plan(
        node.name,
        links=(master, child),
        addresses=tuple(addresses),
        routes=tuple(routes),
        sysctls=dict(_sysctls(via, node, attachment.interface, child.name)),
        probes=probes,
        identity=identity,
    )


def _shim(child: str, wires: tuple[Wire, ...]) -> tuple[list[Address], list[Route]]:
    addresses, routes = [], []
    for wire in wires:
        addresses.append(Address(child, f"{wire.shim_text}/{_HOST_PREFIX[wire.family]}", announce=True))
        for item in wire.slice:
            routes += [Route(child, network, source=wire.shim_text) for network in item.networks()]
    return addresses, routes


def _move(child: str, attachment: Attachment, wires: tuple[Wire, ...]) -> tuple[list[Address], list[Route]]:
    """Move IPv4: the how-to's way, in the values that lose nothing. IPv6 stays on the master."""
    addresses, routes = [], []
    master = attachment.interface
    for address in attachment.addresses:
        wire = next((wire for wire in wires if wire.family == _IPV4 and address in wire.subnet.cidr), None)
        if wire is None:
            continue
        text = f"{address}/{wire.subnet.cidr.prefixlen}"
        addresses.append(Address(child, text, metric=CHILD_METRIC, announce=True))
        addresses.append(Address(master, text, metric=MASTER_METRIC, adopt=True))
        gateway = str(wire.subnet.gateway)
        routes.append(Route(master, _DEFAULT[_IPV4], gateway=gateway, metric=FALLBACK_METRIC))
        routes.append(Route(child, _DEFAULT[_IPV4], gateway=gateway, replaces=True))
    return addresses, routes


def _mac(via: str, attachment: Attachment, wires: tuple[Wire, ...]) -> str:
    """Derive the child's MAC from the address it carries, which is unique on the wire.

    02 marks a locally administered unicast address (IEEE 802 8.4); an explicit MAC is also left alone by udev's
    MACAddressPolicy, which on cloned machines gives every node the same one. An IPv6 address is hashed: its last
    four bytes are the same at the same place of every subnet.
    """
    if via == "shim":
        carried = next(wire.shim for wire in wires if wire.shim is not None)
        if carried.family == _IPV4:
            kind, tail = 0x70, carried.first.to_bytes(4, "big")
        else:
            kind, tail = 0x76, sha256(carried.first.to_bytes(16, "big")).digest()[:4]
    else:
        kind = 0x6D
        tail = next(address for address in attachment.addresses if address.version == _IPV4).packed
    return ":".join(f"{byte:02x}" for byte in (0x02, kind, *tail))


def _sysctls(via: str, node: ResolvedNode, master: str, child: str) -> Iterator[tuple[str, str]]:
    if via == "move":
        for name in (master, child):
            yield f"net/ipv4/conf/{name}/rp_filter", "2"
    yield f"net/ipv4/conf/{master}/arp_filter", "1"
    yield f"net/ipv4/conf/{child}/arp_filter", "1"
    if via == "shim":
        yield f"net/ipv4/conf/{child}/arp_announce", "2"
    # A router's advertisement must not put an address or a default route on the child.
    yield f"net/ipv6/conf/{child}/accept_ra", "0"
    yield f"net/ipv6/conf/{child}/autoconf", "0"
    if via == "shim" and node.cluster.service_cidr:
        yield "net/ipv4/ip_forward", "1"
        # The kernel sends redirects where `all` or the interface allows it (ip-sysctl, send_redirects).
        yield "net/ipv4/conf/all/send_redirects", "0"
        yield f"net/ipv4/conf/{child}/send_redirects", "0"


def pod_routes(plan: Blueprint, wire: Wire) -> Iterator[dict[str, str]]:
    """Give the routes that pods get on one subnet, as CNI writes them: {"dst", "gw"}.

    Beside the inventory's own these are, with a shim, the Services' networks through the own host, and the
    node's own addresses, which a pod cannot reach directly: the master does not talk to its children.
    """
    for route in wire.subnet.routes:
        yield {"dst": str(route.dst)} | ({"gw": str(route.gw)} if route.gw is not None else {})
    if wire.shim is None:
        return
    for network in plan.node.cluster.service_cidr:
        if network.version == wire.family:
            yield {"dst": str(network), "gw": wire.shim_text}
    for address in plan.attachment.addresses:
        if address.version == wire.family:
            yield {"dst": str(ip_network(address)), "gw": wire.shim_text}
