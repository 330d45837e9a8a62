"""PL2xx and PL3xx: links and routes that do not carry what the inventory expects of them."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from podlan.addressing import Ground, Range, address_path, subnets_of
from podlan.diagnostics import Finding, Severity
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.diagnostics import Place
    from podlan.inventory import IP, Attachment, Network, ResolvedNode, Site, Subnet
    from podlan.source import KeyPath

_IPV4 = 4
_IPV6 = 6
_IPV6_LEAST_MTU = 1280
_LOCAL_BIT = 2


@rule("PL217", "a pod route twice")
def route_twice(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A pod gets one route to a destination: from its subnet, or from podlan.

    podlan gives pods routes to Services, and with a shim to their node's own addresses; both lead to their host.
    Why: the plugin adds one route after the other. Two that are the same end every ADD with "file exists". Where the
    next hops differ, IPv4 pods send everything to the last one, IPv6 pods spread connections over both, and which
    is meant stands nowhere.
    Source: containernetworking/plugins, pkg/ipam/ipam_linux.go (RouteAddEcmp since 1.0); measured with 1.1.1.
    Example:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            routes: [{dst: 0.0.0.0/0}, {dst: 0.0.0.0/0, gw: 10.0.0.253}]
    Instead:
        subnets:
          lan:
            cidr: 10.0.0.0/24
            gateway: 10.0.0.254
            routes: [{dst: 0.0.0.0/0}]
    """
    written: dict[tuple[str, Range], KeyPath] = {}
    for name, ground in grounds.items():
        for index, route in enumerate(ground.subnet.routes):
            path = ("subnets", name, "routes", index)
            first = written.setdefault((name, Range.of_network(route.dst)), path)
            if first != path:
                message = f"{name} gives pods two routes to {route.dst}"
                also = _present(site.place(first, label="the first one"))
                yield Finding("PL217", message, site.place(path), hint="keep one of them", also=also)
    told: set[KeyPath] = set()
    for node in site.nodes:
        for attachment in node.attachments:
            for name in subnets_of(site, attachment):
                for finding, at in _made_twice(site, node, attachment, name, written):
                    if at not in told:
                        told.add(at)
                        yield finding


def _made_twice(
    site: Site, node: ResolvedNode, attachment: Attachment, name: str, written: Mapping[tuple[str, Range], KeyPath]
) -> Iterator[tuple[Finding, KeyPath]]:
    """Find what podlan adds to a subnet's routes though it is there already, and the place to change."""
    made: dict[Range, IP | Network] = {}
    for target, what, index in _own_routes(node, attachment, site.subnets[name]):
        other = made.setdefault(target, what)
        if (name, target) not in written and other == what:
            continue
        path = _named(site, node, attachment, what, index)
        if (name, target) in written:
            at, hint = written[name, target], "remove it: their own host answers for that"
            message = f"{name} gives pods a route to {_told(node, what)}, and podlan gives them one too"
            message += ", by way of their host"
        else:
            at, hint = path, "give them addresses of their own"
            both = f"to {_told(node, other)} and to {_told(node, what)}"
            message = f"podlan gives pods two routes to one destination: {both}"
        also = _present(site.place(path, label="it is named here")) if at != path else ()
        yield Finding("PL217", message, site.place(at), hint=hint, also=also), at


def _own_routes(
    node: ResolvedNode, attachment: Attachment, subnet: Subnet
) -> Iterator[tuple[Range, IP | Network, int]]:
    """Give the routes that podlan adds to a subnet's own: where to, and which network of Services or own address."""
    family, via = subnet.cidr.version, attachment.access.via
    has_shim = attachment.has_shim(family)
    has_moved = via == "move" and any(own in subnet.cidr for own in attachment.addresses if own.version == _IPV4)
    if attachment is node.attachments[0] and (has_shim or has_moved):
        for index, network in enumerate(node.cluster.service_cidr):
            if network.version == family:
                yield Range.of_network(network), network, index
    for index, own in enumerate(attachment.addresses if has_shim else ()):
        if own.version == family:
            yield Range.of_address(own), own, index


def _told(node: ResolvedNode, what: IP | Network) -> str:
    return f"Services ({what})" if isinstance(what, IPv4Network | IPv6Network) else f"{node.name} ({what})"


def _named(site: Site, node: ResolvedNode, attachment: Attachment, what: IP | Network, index: int) -> KeyPath:
    if isinstance(what, IPv4Network | IPv6Network):
        return (*site.origin(node, "cluster", "serviceCIDR"), index)
    return address_path(site, node, attachment, index)


@rule("PL218", "docker's own bridge")
def docker_bridge(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where the runtime is docker, no subnet overlaps the network of its bridge, unless `avoid` says another one.

    Why: docker puts 172.17.0.1/16 on docker0 by itself, and the node then sends what is meant for pods there.
    Source: Docker, dockerd `--bip` and default-address-pools.
    Example:
        cluster: {kubernetes: "1.23", runtime: docker}
        subnets:
          lan: {cidr: 172.17.5.0/24, gateway: 172.17.5.254}
        nodes:
          a: {}
    Instead:
        cluster: {kubernetes: "1.23", runtime: docker, avoid: [192.168.200.0/24]}
        subnets:
          lan: {cidr: 172.17.5.0/24, gateway: 172.17.5.254}
        nodes:
          a: {}
    """
    told: set[str] = set()
    bridge = Range.parse("172.17.0.0-172.17.255.255")
    for node in site.nodes:
        if node.cluster.runtime != "docker" or node.cluster.avoid:
            continue
        for attachment in node.attachments:
            for name in subnets_of(site, attachment):
                if name in grounds and name not in told and grounds[name].network.overlaps(bridge):
                    told.add(name)
                    also = site.place(site.origin(node, "cluster", "runtime"), label="the runtime is docker")
                    yield Finding(
                        "PL218",
                        f"{name} ({grounds[name].subnet.cidr}) overlaps 172.17.0.0/16, docker's own bridge",
                        site.place(("subnets", name, "cidr")),
                        Severity.WARNING,
                        "if dockerd has another --bip, name that network in cluster.avoid; else give it one",
                        (also,) if also else (),
                    )


@rule("PL311", "passthru with several pods")
def passthru_alone(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A master in passthru mode has one pod on every node, with an address of each family at most.

    Why: passthru gives the whole interface to one child; the second pod's ADD fails with "invalid argument".
    Source: Linux, drivers/net/macvlan.c (macvlan_common_newlink, MACVLAN_FLAG_NOPROMISC and port->passthru).
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], mode: passthru, podsPerNode: 8, hostAccess: {via: none}}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], mode: passthru, podsPerNode: 1, hostAccess: {via: none}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        for attachment in node.attachments:
            if attachment.master.mode != "passthru":
                continue
            pinned: dict[int, int] = {}
            for item in map(Range.of, attachment.ranges):
                pinned[item.family] = pinned.get(item.family, 0) + item.size
            count = max(pinned.values(), default=attachment.pods or 1)
            key = "ranges" if attachment.ranges else "pods"
            path = site.origin(node, "masters", attachment.name, key)
            if not site.source.has(path) or path[-1] != key:
                path = ("masters", attachment.name, "podsPerNode")
            if count > 1 and path not in told:
                told.add(path)
                also = site.place(("masters", attachment.name, "mode"), label="the mode")
                yield Finding(
                    "PL311",
                    f"{node.name} asks for {count} addresses on {attachment.name}, which passes through to one pod",
                    site.place(path),
                    hint="ask for 1, or use mode: bridge",
                    also=(also,) if also else (),
                )


@rule("PL312", "an MTU too small for IPv6")
def mtu_carries_family(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where a master carries an IPv6 subnet, pods' MTU is 1280 or more.

    Why: with less the kernel takes IPv6 off the interface, and every ADD fails: "failed to add IP addr ... invalid
    argument".
    Source: RFC 8200, 5; Linux, net/ipv6/addrconf.c (IPV6_MIN_MTU); measured with the plugins 1.1.1.
    Example:
        subnets:
          lan: {cidr: "fd00:10::/64"}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, mtu: 1200}
        nodes:
          a: {}
    Instead:
        subnets:
          lan: {cidr: "fd00:10::/64"}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, mtu: 1400}
        nodes:
          a: {}
    """
    told: set[KeyPath] = set()
    for node in site.nodes:
        for attachment in node.attachments:
            mtu = attachment.mtu
            if mtu is None or mtu >= _IPV6_LEAST_MTU:
                continue
            carried = [grounds[name] for name in subnets_of(site, attachment) if name in grounds]
            ground = next((ground for ground in carried if ground.network.family == _IPV6), None)
            path = site.origin(node, "masters", attachment.name, "mtu")
            if ground is not None and path not in told:
                told.add(path)
                also = site.place(("subnets", ground.name, "cidr"), label="an IPv6 subnet")
                yield Finding(
                    "PL312",
                    f"an MTU of {mtu} is too small for IPv6, which {ground.name} needs",
                    site.place(path),
                    hint="give 1280 or more",
                    also=(also,) if also else (),
                )


@rule("PL313", "a MAC that somebody else may have")
def mac_is_local(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A MAC in the inventory is a locally administered one, and no other node's.

    Why: the rest belong to the makers of interfaces, so a real one may have it; and two interfaces with one MAC take
    each other's packets.
    Source: IEEE 802, 8.4 (the second bit of the first byte).
    Example:
        nodes:
          a: {masters: {uplink: {hostAccess: {mac: "00:16:3e:00:00:01"}}}}
    Instead:
        nodes:
          a: {masters: {uplink: {hostAccess: {mac: "02:16:3e:00:00:01"}}}}
    """
    del grounds
    for node in site.nodes:
        for attachment in node.attachments:
            path = site.origin(node, "masters", attachment.name, "hostAccess", "mac")
            if attachment.mac is not None and not int(attachment.mac[:2], 16) & _LOCAL_BIT:
                local = f"{int(attachment.mac[:2], 16) | _LOCAL_BIT:02x}{attachment.mac[2:]}"
                yield Finding(
                    "PL313",
                    f"{attachment.mac} of {node.name} is not a locally administered MAC: a real interface may have it",
                    site.place(path),
                    Severity.WARNING,
                    f"use {local}",
                )


@rule("PL219", "no way out of a subnet")
def way_out(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A subnet of pods' first interface that has a gateway says which routes they have, be it none (`routes: []`).

    Why: host-local gives pods no default route by itself; without one they reach their neighbours and nobody else.
    Source: containernetworking/plugins, pkg/ipam/ipam_linux.go (routes come from `ipam.routes` alone).
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
    """
    masters = site.inventory.masters.values()
    first = {name for one in masters if one.ipam == "host-local" and not one.secondary for name in one.subnets}
    further = {name for one in masters for name in one.subnets} - first
    for name, ground in grounds.items():
        is_said = site.source.has(("subnets", name, "routes"))
        if ground.subnet.gateway is not None and name not in further and not is_said:
            default = "0.0.0.0/0" if ground.network.family != _IPV6 else '"::/0"'
            yield Finding(
                "PL219",
                f"pods get no route out of {name}, which has a gateway",
                site.place(("subnets", name, "gateway")),
                Severity.NOTE,
                f"give it routes: [{{dst: {default}}}], or say that none is meant with routes: []",
            )


def _present(place: Place | None) -> tuple[Place, ...]:
    return (place,) if place is not None else ()


RULES = (route_twice, docker_bridge, way_out, passthru_alone, mtu_carries_family, mac_is_local)
