"""Who already has which address of a subnet, before anything is allocated."""

from __future__ import annotations

import enum
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from podlan.addressing._ranges import Addresses, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podlan.inventory import IP, Attachment, ResolvedNode, Site, Subnet
    from podlan.source import KeyPath


class Kind(enum.Enum):
    """What an address is taken for."""

    NETWORK = "the network address"
    BROADCAST = "the broadcast address"
    ANYCAST = "the subnet-router anycast address"
    GATEWAY = "the gateway"
    WITHHELD = "the first address"
    NODE = "the address"
    RESERVED = "reserved"
    DHCP = "the DHCP range"
    ROUTER = "a router"
    SERVER = "a DNS server"
    PIN = "the pinned slice"


@dataclass(frozen=True, slots=True)
class Claim:
    """Addresses that already mean something, and the place that says so. `owner` is a node's name, or empty."""

    range: Range
    kind: Kind
    subnet: str
    path: KeyPath
    owner: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.kind is Kind.RESERVED:
            return f"{self.range}, reserved in {self.subnet} ({self.reason})"
        if self.owner:
            return f"{self.range}, {self.kind.value} of {self.owner}"
        withheld = ", which host-local withholds where no gateway is given" if self.kind is Kind.WITHHELD else ""
        return f"{self.range}, {self.kind.value} of {self.subnet}{withheld}"


@dataclass(frozen=True, slots=True)
class Ground:
    """One subnet as the allocator sees it: its addresses, its pool, and what is taken."""

    name: str
    subnet: Subnet
    network: Range
    pool: tuple[Range, ...]
    claims: tuple[Claim, ...]

    def free(self) -> Addresses:
        """Give the pool's addresses that nobody claims."""
        free = Addresses(self.network.family, self.pool)
        for claim in self.claims:
            free.remove(claim.range)
        return free


def survey(site: Site) -> dict[str, Ground]:
    """Collect, for every subnet by name, its pool and everything that is taken in it."""
    claims: dict[str, list[Claim]] = {name: list(_own(name, subnet)) for name, subnet in site.subnets.items()}
    holder = _holder(site)
    for claim in _of_nodes(site, holder):
        claims[claim.subnet].append(claim)
    asked_of = attrgetter("subnet")
    for name, asked in groupby(sorted(_asked(site, holder), key=asked_of), asked_of):
        family = site.subnets[name].cidr.version
        known = [claim.range for claim in claims[name] if claim.kind is not Kind.PIN]
        taken = Addresses(family, (item for item in known if item.family == family))
        claims[name] += [claim for claim in asked if not taken.contains(claim.range)]
    return {
        name: Ground(
            name,
            subnet,
            Range.of_network(subnet.cidr),
            tuple(Range.of(item) for item in subnet.pool) or (Range.of_network(subnet.cidr),),
            tuple(sorted(claims[name], key=lambda claim: (claim.range, claim.kind.name, claim.owner))),
        )
        for name, subnet in sorted(site.subnets.items())
    }


def _own(name: str, subnet: Subnet) -> Iterator[Claim]:
    """Claims of the subnet itself. RFC 4291 2.6.1 gives the subnet-router anycast address; IPv6 has no broadcast."""
    network = Range.of_network(subnet.cidr)
    family, cidr = network.family, ("subnets", name, "cidr")
    first, last = Range(family, network.first, network.first), Range(family, network.last, network.last)
    if family == 6:  # noqa: PLR2004 - IPv6
        yield Claim(first, Kind.ANYCAST, name, cidr)
    else:
        yield Claim(first, Kind.NETWORK, name, cidr)
        yield Claim(last, Kind.BROADCAST, name, cidr)
    if subnet.gateway is not None:
        yield Claim(Range.of_address(subnet.gateway), Kind.GATEWAY, name, ("subnets", name, "gateway"))
    elif network.size > 1:
        yield Claim(Range(family, network.first + 1, network.first + 1), Kind.WITHHELD, name, cidr)
    for index, reservation in enumerate(subnet.reserved):
        path = ("subnets", name, "reserved", index, "range")
        yield Claim(Range.of(reservation.range), Kind.RESERVED, name, path, reason=reservation.reason)
    for index, given in enumerate(subnet.dhcp):
        yield Claim(Range.of(given), Kind.DHCP, name, ("subnets", name, "dhcp", index))


def _holder(site: Site) -> Callable[[Range], str]:
    """Make a function that names the subnet which holds addresses; nothing where none does."""
    grounds = sorted((Range.of_network(subnet.cidr), name) for name, subnet in site.subnets.items())
    starts = [(network.family, network.first) for network, _ in grounds]

    def find(item: Range) -> str:
        position = bisect_right(starts, (item.family, item.first)) - 1
        return grounds[position][1] if position >= 0 and grounds[position][0].contains(item) else ""

    return find


def _of_nodes(site: Site, holder: Callable[[Range], str]) -> Iterator[Claim]:
    for node in site.nodes:
        for attachment in node.attachments:
            for index, address in enumerate(attachment.addresses):
                taken = Range.of_address(address)
                if name := holder(taken):
                    yield Claim(taken, Kind.NODE, name, address_path(site, node, attachment, index), owner=node.name)
            for subnet, written, path in pins(site, node, attachment):
                yield Claim(written, Kind.PIN, subnet, path, owner=node.name)


def _asked(site: Site, holder: Callable[[Range], str]) -> Iterator[Claim]:
    """Claims of the machines that pods send to, each told once, in whichever section it is named first."""
    told: set[IP] = set()
    for address, kind, path in _machines(site):
        if address not in told:
            told.add(address)
            item = Range.of_address(address)
            if name := holder(item):
                yield Claim(item, kind, name, path)


def _machines(site: Site) -> Iterator[tuple[IP, Kind, KeyPath]]:
    for name, subnet in sorted(site.subnets.items()):
        for index, route in enumerate(subnet.routes):
            if route.gw is not None:
                yield route.gw, Kind.ROUTER, ("subnets", name, "routes", index, "gw")
        for index, server in enumerate(subnet.dns.nameservers):
            yield server, Kind.SERVER, ("subnets", name, "dns", "nameservers", index)
    for node in site.nodes:
        base = site.origin(node, "cluster", "clusterDNS") if node.cluster.cluster_dns else ()
        for index, server in enumerate(node.cluster.cluster_dns):
            yield server, Kind.SERVER, (*base, index)


def address_path(site: Site, node: ResolvedNode, attachment: Attachment, index: int) -> KeyPath:
    """Find where one of a node's own addresses is written."""
    path = site.origin(node, "masters", attachment.name, "addresses")
    return (*path, index) if path[-1] == "addresses" else path


def pins(site: Site, node: ResolvedNode, attachment: Attachment) -> Iterator[tuple[str, Range, KeyPath]]:
    """Give a node's pinned ranges with the subnet of their family on that master; others are left to the rules."""
    if not attachment.has_slices:
        return
    base = site.origin(node, "masters", attachment.name, "ranges") if attachment.ranges else ()
    for index, written in enumerate(attachment.ranges):
        item = Range.of(written)
        for name in subnets_of(site, attachment):
            if site.subnets[name].cidr.version == item.family:
                yield name, item, (*base, index)
                break


def subnets_of(site: Site, attachment: Attachment) -> tuple[str, ...]:
    """Name the subnets of an attachment's master that exist."""
    return site.carried[attachment.name]
