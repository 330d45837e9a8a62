"""PL2xx: addresses that cannot be what the inventory says they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Addresses, Claim, Ground, Kind, Range, address_path, subnets_of
from podlan.diagnostics import Finding
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.diagnostics import Place
    from podlan.inventory import IP, AddressRange, Attachment, ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL201", "pinned range outside its subnet")
def pin_outside(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A pinned range lies inside a subnet that the node's master carries.

    Why: host-local refuses a range whose ends are outside its subnet, and pods could not reach anybody from there.
    Source: containernetworking/plugins, host-local `Range.Canonicalize` ("RangeEnd X not in network Y").
    Example:
        nodes:
          node-1: {ranges: [10.0.1.16-23]}
    Instead:
        nodes:
          node-1: {ranges: [10.0.0.16-23]}
    """
    for node in site.nodes:
        for attachment in node.attachments:
            names = [name for name in subnets_of(site, attachment) if name in grounds]
            for index, written in enumerate(attachment.ranges):
                item = Range.of(written)
                if names and not any(grounds[name].network.contains(item) for name in names):
                    cidrs = " or ".join(f"{name} ({site.subnets[name].cidr})" for name in names)
                    also = [site.place(("subnets", name, "cidr"), label="the subnet") for name in names]
                    yield Finding(
                        "PL201",
                        f"the range {item} pinned for {node.name} is not inside {cidrs}",
                        site.place((*site.origin(node, "masters", attachment.name, "ranges"), index)),
                        hint=f"{attachment.name} carries {', '.join(names)} only",
                        also=_present(also),
                    )


@rule("PL202", "overlapping pinned ranges")
def pins_overlap(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Two pinned ranges share no address.

    Why: host-local knows one node only; two nodes with a common address hand it out twice, without any error.
    Source: containernetworking/plugins#262 and multus-cni#144: the commonest complaint about macvlan with host-local.
    Example:
        nodes:
          node-1: {ranges: [10.0.0.16-31]}
          node-2: {ranges: [10.0.0.24-39]}
    Instead:
        nodes:
          node-1: {ranges: [10.0.0.16-31]}
          node-2: {ranges: [10.0.0.32-47]}
    """
    for ground in grounds.values():
        for first, second in _collisions(ground):
            if first.kind is Kind.PIN and second.kind is Kind.PIN:
                later, earlier = _by_place(site, first, second)
                shared = first.range.shared(second.range)
                yield Finding(
                    "PL202",
                    f"the slice {later.range} of {later.owner} overlaps {earlier.range} of {earlier.owner} in {shared}",
                    site.place(later.path),
                    hint=_remainder(later.range, earlier.range),
                    also=_present([site.place(earlier.path, label=f"{earlier.owner} has it here")]),
                )


@rule("PL203", "an address that means something else in a slice")
def reserved_in_slice(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A pod is never given an address that already means something else.

    That is the network and broadcast address, the gateway, the router of another route, a DNS server that the site
    names, a node's own address, a reservation, or what a DHCP server gives away.
    Why: host-local hands out whatever lies in its range, .0, .255 and the printer included; only the gateway
    is skipped, and then the slice is one address short.
    Source: containernetworking/plugins, host-local has no `exclude`; unknown keys are ignored.
    Example:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            reserved: [{range: 10.0.0.20, reason: printer}]
        nodes:
          node-1: {ranges: [10.0.0.16-31]}
    Instead:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            reserved: [{range: 10.0.0.20, reason: printer}]
        nodes:
          node-1: {ranges: [10.0.0.16-19, 10.0.0.21-31]}
    """
    for ground in grounds.values():
        for first, second in _collisions(ground):
            if (first.kind is Kind.PIN) == (second.kind is Kind.PIN):
                continue
            pin, other = (first, second) if first.kind is Kind.PIN else (second, first)
            yield Finding(
                "PL203",
                f"the slice {pin.range} of {pin.owner} holds {other}",
                site.place(pin.path),
                hint=_remainder(pin.range, other.range),
                also=_present([site.place(other.path, label=f"{other.kind.value} stands here")]),
            )


@rule("PL204", "duplicate node address")
def duplicate_node_address(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Every address belongs to one node.

    Why: two machines with one address cut each other off.
    Example:
        nodes:
          node-1: {address: 10.0.0.1}
          node-2: {address: 10.0.0.1}
    Instead:
        nodes:
          node-1: {address: 10.0.0.1}
          node-2: {address: 10.0.0.2}
    """
    del grounds  # nodes' addresses need not lie in a subnet of the site
    seen: dict[IP, tuple[ResolvedNode, Attachment, int]] = {}
    for node in site.nodes:
        for attachment in node.attachments:
            for index, address in enumerate(attachment.addresses):
                mine = (node, attachment, index)
                first = seen.setdefault(address, mine)
                if first is not mine:
                    other = first[0].name
                    message = f"{node.name} has the address {address} of {other}"
                    place = site.place(address_path(site, *mine))
                    also = _present([site.place(address_path(site, *first), label=f"{other} has it here")])
                    yield Finding("PL204", message, place, hint="give one of them another address", also=also)


@rule("PL206", "a node's address that is not usable")
def node_address_taken(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node's own address is not the gateway's, nor the network or broadcast address.

    Why: it would answer for the gateway, or not be reachable at all.
    Example:
        nodes:
          node-1: {address: 10.0.0.254}
    Instead:
        nodes:
          node-1: {address: 10.0.0.1}
    """
    special = (Kind.GATEWAY, Kind.NETWORK, Kind.BROADCAST, Kind.ANYCAST)
    for ground in grounds.values():
        for first, second in _collisions(ground):
            pair = {first.kind: first, second.kind: second}
            other = next((pair[kind] for kind in special if kind in pair), None)
            if other is not None and Kind.NODE in pair:
                node = pair[Kind.NODE]
                yield Finding(
                    "PL206",
                    f"the address of {node.owner} is {other}",
                    site.place(node.path),
                    hint="give the node another address",
                    also=_present([site.place(other.path, label=f"{other.kind.value} stands here")]),
                )


@rule("PL207", "a gateway that cannot be one")
def gateway_outside(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The gateway is a usable address of its subnet.

    Why: host-local accepts any gateway, and the plugin then fails at every pod with "network is unreachable".
    Source: containernetworking/plugins 0.8.0 dropped the check that the gateway lies in the subnet.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.1.254}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
    """
    for name, ground in grounds.items():
        gateway = ground.subnet.gateway
        if gateway is None:
            continue
        item = Range.of_address(gateway)
        what = _nobodys(ground).get(item, "")
        if not ground.network.contains(item):
            what = "an address outside the subnet"
        if what:
            yield Finding(
                "PL207",
                f"the gateway {gateway} of {name} is {what}",
                site.place(("subnets", name, "gateway")),
                hint=f"the subnet is {ground.subnet.cidr}",
                also=_present([site.place(("subnets", name, "cidr"), label="the subnet")]),
            )


@rule("PL208", "pool, reservation or DHCP range outside its subnet")
def outside_subnet(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A pool, a reservation and a DHCP range lie inside their subnet, and a shim pool inside a subnet of its master.

    Why: addresses elsewhere are not on this wire; a reservation elsewhere protects nothing.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.1.0.64-127]}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.64-127]}
    """
    for name, ground in grounds.items():
        subnet = ground.subnet
        written: list[tuple[AddressRange, KeyPath]] = [
            *((item, ("subnets", name, "pool", index)) for index, item in enumerate(subnet.pool)),
            *(
                (item.range, ("subnets", name, "reserved", index, "range"))
                for index, item in enumerate(subnet.reserved)
            ),
            *((item, ("subnets", name, "dhcp", index)) for index, item in enumerate(subnet.dhcp)),
        ]
        for item, path in written:
            if not ground.network.contains(Range.of(item)):
                message = f"{Range.of(item)} is not inside {name} ({subnet.cidr})"
                also = _present([site.place(("subnets", name, "cidr"), label="the subnet")])
                yield Finding("PL208", message, site.place(path), also=also)
    for name, master in site.inventory.masters.items():
        networks = [grounds[subnet].network for subnet in master.subnets if subnet in grounds]
        for index, item in enumerate(master.host_access.pool):
            if networks and not any(network.contains(Range.of(item)) for network in networks):
                message = f"{Range.of(item)} is in no subnet that {name} carries"
                yield Finding("PL208", message, site.place(("masters", name, "hostAccess", "pool", index)))


@rule("PL209", "a pod route to the subnet itself")
def route_to_own_subnet(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Pods get no route to their own subnet, or to a part of it, by way of a router.

    Why: with plugins 0.7 a route to the whole subnet was skipped, since the connected one existed. From 1.0 on it is
    added before the connected route, and pods send all traffic of the LAN to the router; one that does not send it
    back to the same wire loses every packet between pods and their neighbours. A route to a part wins over the
    connected one with any plugins.
    Source: containernetworking/plugins, pkg/ipam/ipam_linux.go: RouteAddEcmp since 1.0.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 10.0.0.0/24}]}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
    """
    for name, ground in grounds.items():
        for index, route in enumerate(ground.subnet.routes):
            hop = route.gw or ground.subnet.gateway
            if hop is None or not ground.network.contains(Range.of_network(route.dst)):
                continue
            is_whole = route.dst == ground.subnet.cidr
            router = "the gateway" if hop == ground.subnet.gateway else str(hop)
            for node in site.nodes:
                plugins = node.cni.plugins.version
                carried = any(name in attachment.master.subnets for attachment in node.attachments)
                if carried and (not is_whole or plugins is None or plugins.major >= 1):
                    version = f"plugins {plugins}" if plugins else "current plugins" if is_whole else "any plugins"
                    yield Finding(
                        "PL209",
                        f"with {version} ({node.name}) the route to {route.dst} leads the LAN's traffic to {router}",
                        site.place(("subnets", name, "routes", index)),
                        hint="remove it: pods have the connected route anyway",
                    )
                    break


@rule("PL210", "overlapping subnets")
def subnets_overlap(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The subnets of a site share no address.

    Why: an address that is in two subnets could be given away twice.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          lab: {cidr: 10.0.0.128/25, gateway: 10.0.0.253}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          lab: {cidr: 10.0.1.0/24, gateway: 10.0.1.254}
    """
    ordered = sorted(grounds.values(), key=lambda ground: (ground.network, ground.name))
    for index, ground in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if not ground.network.overlaps(other.network):
                break
            yield Finding(
                "PL210",
                f"the subnets {ground.name} ({ground.subnet.cidr}) and {other.name} ({other.subnet.cidr}) overlap",
                site.place(("subnets", other.name, "cidr")),
                also=_present([site.place(("subnets", ground.name, "cidr"), label=f"{ground.name} is here")]),
            )


@rule("PL211", "a node without a size")
def size_missing(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Every node says how many pods it has, by its master's podsPerNode, its own `pods`, or pinned ranges.

    Why: a slice cannot be cut without a size, and a guess would be locked for good.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan]}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
    """
    del grounds
    for node in site.nodes:
        for attachment in node.attachments:
            if attachment.has_slices and attachment.pods is None and not attachment.ranges:
                yield Finding(
                    "PL211",
                    f"nothing says how many pods {node.name} has on {attachment.name}",
                    site.place(("nodes", node.name), key=True),
                    hint=f"give masters.{attachment.name} a podsPerNode, or the node `pods` or `ranges`",
                    also=_present([site.place(("masters", attachment.name), key=True, label="the master")]),
                )


@rule("PL212", "a subnet too small for pods")
def subnet_too_small(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A subnet has room for a network address, a gateway and a pod.

    Source: containernetworking/plugins, host-local: "Network X too small to allocate from" for /31 and /32.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/31}
        nodes: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/28, gateway: 10.0.0.14}
        nodes: {}
    """
    for name, ground in grounds.items():
        if ground.network.size < 4:  # noqa: PLR2004 - a /30 or /126 is the smallest that host-local takes
            message = f"{ground.subnet.cidr} is too small to give pods an address"
            yield Finding(
                "PL212", message, site.place(("subnets", name, "cidr")), hint="host-local needs a /30 or more"
            )


@rule("PL213", "a pod route that cannot work")
def route_next_hop(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A pod route has a next hop that is a machine of the subnet: its own `gw`, or the subnet's gateway.

    Why: the plugin gives a route without `gw` the gateway, and where none is given host-local makes up the first
    address of the subnet, which need not exist; a next hop elsewhere fails with "network is unreachable", the
    broadcast address with "invalid argument", and at the network or anycast address no router answers.
    Source: containernetworking/plugins, pkg/ipam/ipam_linux.go and host-local `Range.Canonicalize`; measured with
    1.1.1.
    Example:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            routes: [{dst: 192.168.0.0/16, gw: 10.0.1.1}]
    Instead:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            reserved: [{range: 10.0.0.253, reason: the other router}]
            routes: [{dst: 192.168.0.0/16, gw: 10.0.0.253}]
    """
    for name, ground in grounds.items():
        nobodys = _nobodys(ground)
        for index, route in enumerate(ground.subnet.routes):
            path = ("subnets", name, "routes", index)
            hop = route.gw or ground.subnet.gateway
            problem = ""
            if route.dst.version != ground.network.family:
                problem = f"is of another family than {name}"
            elif hop is None:
                problem = "has no next hop: neither it nor the subnet has a gateway"
            elif route.gw is not None and not ground.network.contains(Range.of_address(route.gw)):
                problem = f"leads to {route.gw}, which is not on {name} ({ground.subnet.cidr})"
            elif route.gw is not None and (what := nobodys.get(Range.of_address(route.gw))):
                problem = f"leads to {route.gw}, {what} of {name}"
            if problem:
                yield Finding("PL213", f"the pod route to {route.dst} {problem}", site.place(path))


def _nobodys(ground: Ground) -> dict[Range, str]:
    """Give the addresses of a subnet that no machine has, each with what it is."""
    nobodys = (Kind.NETWORK, Kind.BROADCAST, Kind.ANYCAST)
    return {claim.range: claim.kind.value for claim in ground.claims if claim.kind in nobodys}


def _collisions(ground: Ground) -> Iterator[tuple[Claim, Claim]]:
    """Give every claim with the earlier one of each kind that reaches furthest, where they share an address.

    Pairing it with all of them would give 50 million pairs for 10,000 nodes with one pin, and no more to repair.
    """
    furthest: dict[Kind, Claim] = {}
    for claim in ground.claims:
        for other in furthest.values():
            if other.range.overlaps(claim.range):
                yield other, claim
        reach = furthest.get(claim.kind)
        if reach is None or (claim.range.family, claim.range.last) > (reach.range.family, reach.range.last):
            furthest[claim.kind] = claim


def _by_place(site: Site, first: Claim, second: Claim) -> tuple[Claim, Claim]:
    """Order two claims so that the one written later comes first: it is the one to change."""
    places = [(site.place(claim.path), claim) for claim in (first, second)]
    earlier, later = sorted(places, key=lambda pair: (pair[0] is not None, pair[0]))
    return later[1], earlier[1]


def _remainder(item: Range, taken: Range) -> str:
    left = Addresses(item.family, [item])
    left.remove(taken)
    return f"take {' and '.join(str(part) for part in left)} instead" if len(left) else "take another range"


def _present(places: list[Place | None]) -> tuple[Place, ...]:
    return tuple(place for place in places if place is not None)


RULES = (
    pin_outside,
    pins_overlap,
    reserved_in_slice,
    duplicate_node_address,
    node_address_taken,
    gateway_outside,
    outside_subnet,
    route_to_own_subnet,
    subnets_overlap,
    size_missing,
    subnet_too_small,
    route_next_hop,
)
