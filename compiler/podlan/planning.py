"""From a node's slices to what it must have on its links: the network part of its plan.

The recipes are those that lose nothing on the wire. Shim: an own /32 on a macvlan child, routes for the own
slice only, and three sysctls that keep every IPv4 address answered by exactly one MAC whatever rp_filter says.
Move: the node's address also on the child with the better metric, the master's kept with a worse one, so that
no moment is without a route; rp_filter is loosened first, since both interfaces then carry the address. IPv6 has a
shim with both: neighbour discovery knows no arp_filter, so an address on two links would be answered by two MACs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from podlan.addressing import Allocation, Range, child_mac, subnets_of, to_text
from podlan.plan import Address, Link, Plan, Probe, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.inventory import Attachment, ResolvedNode, Site, Subnet

CHILD_METRIC = 50
MASTER_METRIC = 512
FALLBACK_METRIC = 1024
"""With `move`: the child's prefix route wins over the master's, and a default route through the master stays."""

_IPV4, _IPV6 = 4, 6
_IPV6_LEAST_MTU = 1280
"""With less the kernel takes IPv6 off an interface, its settings too (net/ipv6/addrconf.c)."""
_HOST_PREFIX = {4: 32, 6: 128}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True)
class Wire:
    """One subnet on a node's master: the node's slice of it and, where it has a shim, the host's own address there."""

    name: str
    subnet: Subnet
    slice: tuple[Range, ...]
    shim: Range | None

    @property
    def family(self) -> int:
        """4 or 6."""
        return int(self.subnet.cidr.version)

    @cached_property
    def shim_text(self) -> str:
        """The shim's address, or nothing."""
        return to_text(self.shim.family, self.shim.first) if self.shim else ""


@dataclass(frozen=True)
class Strand:
    """One network of a node's pods: a master on the node, and the subnets that it carries."""

    attachment: Attachment
    wires: tuple[Wire, ...]

    @cached_property
    def pods(self) -> int:
        """How many pods can have an address at once: the smallest of the slices; 0 where there is none."""
        return min((sum(item.size for item in wire.slice) for wire in self.wires), default=0)

    @property
    def cni_master(self) -> str:
        """By which name the CNI file knows the interface: one that is the same on every node, where there is one."""
        return self.attachment.master.altname or self.attachment.interface

    @property
    def is_on_host(self) -> bool:
        """Tell whether the interface is the host's: with linkInContainer it is looked for in the pod."""
        return not self.attachment.master.link_in_container


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything that a node's files are rendered from.

    `strands`: the primary first, which gives every pod its first interface, then the secondary ones by name.
    """

    node: ResolvedNode
    strands: tuple[Strand, ...]
    network: Plan

    @property
    def primary(self) -> Strand:
        """The strand that every pod is on."""
        return self.strands[0]

    @property
    def attachment(self) -> Attachment:
        """The primary master on this node."""
        return self.primary.attachment

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The primary master's subnets."""
        return self.primary.wires

    @property
    def pods(self) -> int:
        """How many pods can have a first address at once; 0 where no slice limits them."""
        return self.primary.pods


def blueprint(site: Site, node: ResolvedNode, allocation: Allocation) -> Blueprint:
    """Bring together what one node must have; exactly one of its masters is not secondary (rule PL304)."""
    strands = tuple(
        Strand(
            attachment,
            tuple(
                Wire(
                    name,
                    site.subnets[name],
                    allocation.slices.get((name, node.name), ()) if attachment.has_slices else (),
                    allocation.shims.get((name, node.name)) if attachment.has_slices else None,
                )
                for name in subnets_of(site, attachment)
            ),
        )
        for attachment in node.attachments
    )
    return Blueprint(node, strands, _network(node, strands))


def _network(node: ResolvedNode, strands: tuple[Strand, ...]) -> Plan:
    links: list[Link] = []
    addresses: list[Address] = []
    routes: list[Route] = []
    sysctls: dict[str, str] = {}
    hosted = [strand for strand in strands if strand.is_on_host]
    for strand in hosted:
        attachment, wires = strand.attachment, strand.wires
        via, altname = attachment.access.via, attachment.master.altname
        # Not asked for means left alone: somebody else may want the flag.
        promisc = attachment.master.promisc or None
        mtu = attachment.mtu or 0
        altnames = (altname,) if altname else ()
        links.append(_master(attachment, promisc=promisc, altnames=altnames, mtu=mtu))
        is_small = 0 < mtu < _IPV6_LEAST_MTU
        if attachment.vlan and not is_small:
            sysctls |= _unadvertised(attachment.interface)
        if via == "none":
            continue
        links.append(
            Link(
                attachment.child,
                "macvlan",
                master=attachment.interface,
                mode=attachment.master.mode,
                mac=child_mac(attachment, [wire.shim for wire in wires if wire.shim is not None]),
                alias=f"podlan: {via} of {attachment.name}",
                mtu=mtu,
            )
        )
        build = _shim(attachment.child, wires) if via == "shim" else _move(attachment.child, attachment, wires)
        addresses += build[0]
        routes += build[1]
        services = bool(node.cluster.service_cidr) and strand is strands[0]
        forwards = services or any(item.type == "portmap" for item in attachment.master.chain)
        has_ipv6 = any(wire.shim is not None and wire.family == _IPV6 for wire in wires)
        sysctls |= _sysctls(
            via, attachment.interface, attachment.child, has_ipv6=has_ipv6, is_small=is_small, forwards=forwards
        )
    return Plan(
        node.name,
        links=tuple(links),
        addresses=tuple(addresses),
        routes=tuple(routes),
        sysctls=sysctls,
        probes=tuple(dict.fromkeys(probe for strand in hosted for probe in _probes(strand))),
        identity=tuple(str(address) for strand in hosted for address in strand.attachment.addresses),
    )


def _master(attachment: Attachment, *, promisc: bool | None, altnames: tuple[str, ...], mtu: int) -> Link:
    if not attachment.vlan:
        return Link(attachment.interface, "master", promisc=promisc, altnames=altnames, mtu=mtu)
    return Link(
        attachment.interface,
        "vlan",
        promisc=promisc,
        master=attachment.link,
        alias=f"podlan: VLAN {attachment.vlan} of {attachment.name}",
        altnames=altnames,
        mtu=mtu,
        vlan=attachment.vlan,
    )


def _probes(strand: Strand) -> Iterator[Probe]:
    """Give who must still answer: first the gateways, then those that the site names.

    They are asked through the link that leads to them afterwards: where an address moves, that is the child.
    """
    attachment = strand.attachment
    gateways = [wire.subnet.gateway for wire in strand.wires if wire.subnet.gateway is not None]
    for address in (*gateways, *attachment.probes):
        wire = next((wire for wire in strand.wires if address in wire.subnet.cidr), None)
        link = _way_out(attachment, wire) if wire is not None else attachment.interface
        yield Probe(link, str(address), attachment.probe_timeout)


def _way_out(attachment: Attachment, wire: Wire) -> str:
    """Give the link that leads to a subnet's gateway: with `move` the child does, if the network takes its MAC."""
    is_moved = attachment.access.via == "move" and wire.family == _IPV4
    return attachment.child if is_moved else attachment.interface


def _shim(child: str, wires: tuple[Wire, ...]) -> tuple[list[Address], list[Route]]:
    addresses, routes = [], []
    for wire in wires:
        addresses.append(Address(child, f"{wire.shim_text}/{_HOST_PREFIX[wire.family]}", announce=True))
        for item in wire.slice:
            routes += [Route(child, network, source=wire.shim_text) for network in item.networks()]
    return addresses, routes


def _move(child: str, attachment: Attachment, wires: tuple[Wire, ...]) -> tuple[list[Address], list[Route]]:
    """Move IPv4: the how-to's way, in the values that lose nothing. IPv6 stays on the master, beside a shim."""
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
    beside = _shim(child, tuple(wire for wire in wires if wire.shim is not None))
    return addresses + beside[0], routes + beside[1]


@lru_cache(maxsize=1024)
def _sysctls(via: str, master: str, child: str, *, has_ipv6: bool, is_small: bool, forwards: bool) -> Mapping[str, str]:
    settings: dict[str, str] = {}
    if via == "move":
        settings |= {f"net/ipv4/conf/{name}/rp_filter": "2" for name in (master, child)}
    settings[f"net/ipv4/conf/{master}/arp_filter"] = "1"
    settings[f"net/ipv4/conf/{child}/arp_filter"] = "1"
    if via == "shim":
        settings[f"net/ipv4/conf/{child}/arp_announce"] = "2"
    if has_ipv6:
        # A child begins with the node's default; where that is off, it would refuse its address.
        settings[f"net/ipv6/conf/{child}/disable_ipv6"] = "0"
    if not is_small:
        settings |= _unadvertised(child)
    if forwards:
        settings["net/ipv4/ip_forward"] = "1"
        # The kernel sends redirects where `all` or the interface allows it (ip-sysctl, send_redirects).
        settings["net/ipv4/conf/all/send_redirects"] = "0"
        settings[f"net/ipv4/conf/{child}/send_redirects"] = "0"
    return settings


def _unadvertised(link: str) -> dict[str, str]:
    """Let no router's advertisement put an address or a default route on a link that podlan makes."""
    return {f"net/ipv6/conf/{link}/{key}": "0" for key in ("accept_ra", "autoconf")}


def pod_routes(plan: Blueprint, strand: Strand, wire: Wire) -> Iterator[dict[str, str]]:
    """Give the routes that pods get on one subnet, as CNI writes them: {"dst", "gw"}.

    Beside the inventory's own these are, on the primary, the Services' networks through the own host, which answers
    on its macvlan child, and with a shim the node's own addresses there: the master does not talk to its children.
    """
    for route in wire.subnet.routes:
        # CHECK finds a route without `gw` where it is the default or the connected one; elsewhere it wants the hop.
        is_found = not route.dst.prefixlen or route.dst == wire.subnet.cidr
        hop = route.gw or (None if is_found else wire.subnet.gateway)
        yield {"dst": str(route.dst)} | ({"gw": str(hop)} if hop is not None else {})
    host = wire.shim_text or next((address.address.partition("/")[0] for address in _moved(plan, strand, wire)), "")
    if not host:
        return
    for network in plan.node.cluster.service_cidr if strand is plan.primary else ():
        if network.version == wire.family:
            yield {"dst": str(network), "gw": host}
    for own in strand.attachment.addresses if wire.shim else ():
        if own.version == wire.family:
            yield {"dst": f"{own}/{own.max_prefixlen}", "gw": host}


def _moved(plan: Blueprint, strand: Strand, wire: Wire) -> Iterator[Address]:
    """Give the node's own addresses that its macvlan child carries on a subnet."""
    for address in plan.network.addresses:
        if address.link == strand.attachment.child and ip_interface(address.address).ip in wire.subnet.cidr:
            yield address
