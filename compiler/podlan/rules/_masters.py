"""PL3xx: several masters a node, and masters whose pods get no address from podlan."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from podlan.addressing import Ground, networks, subnets_of
from podlan.diagnostics import Finding, Severity
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.inventory import Attachment, Master, ResolvedNode, Site
    from podlan.source import KeyPath

_IPV4 = 4
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@rule("PL317", "a subnet on two masters of a node")
def subnet_once(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Each of a node's masters carries subnets of its own.

    Why: a slice belongs to a subnet and a node; two interfaces would hand out the same addresses, and neither the node
    nor a pod on both could tell by which one to answer.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          second: {interface: eth1, subnets: [lan], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          second: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    """
    del grounds
    told: set[tuple[str, str, str]] = set()
    for node in site.nodes:
        seen: dict[str, str] = {}
        for attachment in node.attachments:
            for name in subnets_of(site, attachment):
                other = seen.setdefault(name, attachment.name)
                if other != attachment.name and (name, other, attachment.name) not in told:
                    told.add((name, other, attachment.name))
                    index = attachment.master.subnets.index(name)
                    also = site.place(("masters", other, "subnets"), label=f"{other} carries it")
                    yield Finding(
                        "PL317",
                        f"on {node.name} both {other} and {attachment.name} carry {name}",
                        site.place(("masters", attachment.name, "subnets", index)),
                        hint="give each a subnet of its own, or give the node one of them",
                        also=(also,) if also else (),
                    )


@rule("PL329", "a subnet of two networks")
def one_network(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Addresses of a subnet are given in one network: the pods' own, or that of one secondary master.

    Why: host-local keeps reservations by the network's name. A node that changed from one to the other would open an
    empty pool under living pods, and the lock could not tell.
    Source: containernetworking/plugins, host-local backend/disk (DATADIR/NAME).
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          extra: {interface: eth1, subnets: [lan], podsPerNode: 8, secondary: true}
          front: {interface: eth2, subnets: [wan], podsPerNode: 8}
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
          wan: {cidr: 10.0.1.0/24}
        nodes:
          node-1: {masters: {uplink: {}}}
          node-2: {masters: {front: {}, extra: {}}}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          extra: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
          front: {interface: eth2, subnets: [wan], podsPerNode: 8}
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
          wan: {cidr: 10.0.1.0/24}
          store: {cidr: 10.0.2.0/24}
        nodes:
          node-1: {masters: {uplink: {}}}
          node-2: {masters: {front: {}, extra: {}}}
    """
    del grounds
    twice = {
        subnet
        for node in site.nodes
        for subnet, count in Counter(name for one in node.attachments for name in one.master.subnets).items()
        if count > 1  # PL317
    }
    for subnet, names in networks(site).items():
        (first, master), *others = sorted(names.items()) if subnet not in twice else [("", "")]
        for name, other in others:
            at = site.place(("masters", master), key=True, label=f"{master} gives them in {first}")
            yield Finding(
                "PL329",
                f"pods get addresses of {subnet} in two networks, {first} and {name}",
                site.place(("masters", other), key=True),
                hint="give each network a subnet of its own",
                also=(at,) if at else (),
            )


@rule("PL318", "a secondary master that cannot be a network of Multus")
def secondary_name(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A secondary master's name is a DNS label, and not the name of the pods' own network.

    Why: its NetworkAttachmentDefinition and its network have that name. Kubernetes takes small letters, digits and '-'
    only; and host-local keeps reservations by the network's name, so two networks of one name give and free each
    other's addresses.
    Source: RFC 1123; containernetworking/plugins, host-local backend/disk (DATADIR/NAME).
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          Store_1: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          store-1: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    """
    del grounds
    for name, master in site.inventory.masters.items():
        if not master.secondary:
            continue
        place = site.place(("masters", name), key=True)
        if not _LABEL.fullmatch(name):
            message = f"the name {name} of a secondary master is no name for an object of Kubernetes"
            yield Finding("PL318", message, place, hint="use small letters, digits and '-', as in storage-1")
        if name == site.inventory.cni.name:
            also = site.place(("cni", "name"), label="the pods' own network")
            message = f"the secondary master {name} has the name of the pods' own network"
            yield Finding("PL318", message, place, hint="call it otherwise", also=(also,) if also else ())


@rule("PL319", "what podlan does not do without host-local")
def without_slices(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A master with `ipam: dhcp` or `none` has no shim, no size, no pinned ranges; its subnets have no pod routes.

    Why: podlan gives its pods no addresses: there is no slice to be reached by a shim or to be sized, and routes come
    from the DHCP server, or from nobody. What cannot be done is refused, not ignored.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], ipam: dhcp, podsPerNode: 8}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
        masters:
          uplink: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: none}}
    """
    cut = {name for master in site.inventory.masters.values() if master.ipam == "host-local" for name in master.subnets}
    for name, master in site.inventory.masters.items():
        if master.ipam == "host-local":
            continue
        also = site.place(("masters", name, "ipam"), label="podlan gives no addresses here")
        for path, what, hint in _of_slices(site, name, master):
            message = f"{what}, and pods of {name} get none from podlan"
            place = site.place(path, key=path[-1] != "via" and isinstance(path[-1], str))
            yield Finding("PL319", message, place, hint=hint, also=(also,) if also else ())
        for subnet in master.subnets:
            if subnet in grounds and subnet not in cut and grounds[subnet].subnet.routes:
                message = f"the routes of {subnet} would reach no pod: podlan gives no addresses on {name}"
                hint = "let the DHCP server send them, and say routes: []" if master.ipam == "dhcp" else "remove them"
                place = site.place(("subnets", subnet, "routes"), key=True)
                yield Finding("PL319", message, place, hint=hint, also=(also,) if also else ())


def _of_slices(site: Site, name: str, master: Master) -> Iterator[tuple[KeyPath, str, str]]:
    """Give what speaks of addresses on a master whose pods get none from podlan."""
    if master.host_access.via == "shim":
        path: KeyPath = ("masters", name, "hostAccess", "via")
        if not site.source.has(path):
            path = ("masters", name)
        yield path, "a shim leads to the slices' addresses", "say hostAccess: {via: none}, or via: move"
    for key in ("podsPerNode", "allocate", "fragmented"):
        if site.source.has(("masters", name, key)):
            yield ("masters", name, key), f"{key} is about slices of addresses", "leave it out"
    if site.source.has(("masters", name, "hostAccess", "pool")):
        yield ("masters", name, "hostAccess", "pool"), "the pool is for shims' addresses", "leave it out"
    told: set[KeyPath] = set()
    for node in site.nodes:
        for key in ("pods", "ranges"):
            path = site.origin(node, "masters", name, key)
            is_had = any(attachment.name == name for attachment in node.attachments)
            if is_had and path[-1] == key and path not in told:
                told.add(path)
                yield path, f"{key} of {node.name} are about addresses", "leave it out"


@rule("PL320", "a DHCP server and slices in one subnet")
def dhcp_beside_slices(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A subnet in which a DHCP server serves pods, and others' slices lie, says what the server gives away (`dhcp`).

    Why: the server knows nothing of slices, and host-local asks nobody; the same address goes to two pods.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          leased: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: none}}
        nodes:
          node-1: {masters: {uplink: {}}}
          node-2: {masters: {leased: {}}}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}], dhcp: [10.0.0.128-199]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          leased: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: none}}
        nodes:
          node-1: {masters: {uplink: {}}}
          node-2: {masters: {leased: {}}}
    """
    masters = site.inventory.masters
    for name, ground in grounds.items():
        leased = next((key for key, one in masters.items() if one.ipam == "dhcp" and name in one.subnets), None)
        sliced = next((key for key, one in masters.items() if one.ipam == "host-local" and name in one.subnets), None)
        if leased is not None and sliced is not None and not ground.subnet.dhcp:
            also = site.place(("masters", leased, "ipam"), label=f"pods of {leased} ask the DHCP server")
            yield Finding(
                "PL320",
                f"{name} is cut into slices for {sliced}, and nothing says which addresses its DHCP server gives away",
                site.place(("subnets", name), key=True),
                Severity.WARNING,
                f"write the server's ranges as subnets.{name}.dhcp: no slice will lie there",
                (also,) if also else (),
            )


@rule("PL324", "a second default route")
def default_route_once(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A subnet of a secondary master gives no default route, unless the `sbr` plugin is chained after it.

    Why: the plugin puts it before the first one, so that all that the pod sends beyond its networks leaves by the
    second interface; with sbr only answers to those who asked there do.
    Source: containernetworking/plugins, pkg/ipam/ipam_linux.go; measured with 1.1.1: after eth0 and net1 the first of
    the pod's routes is "default via GATEWAY dev net1".
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, routes: [{dst: 0.0.0.0/0}]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          storage: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, routes: [{dst: 0.0.0.0/0}]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          storage: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true, chain: [{type: sbr}]}
        nodes:
          node-1: {}
    """
    for name, master in site.inventory.masters.items():
        if not master.secondary or master.ipam != "host-local" or any(item.type == "sbr" for item in master.chain):
            continue
        for subnet in (item for item in master.subnets if item in grounds):
            for index, route in enumerate(grounds[subnet].subnet.routes):
                if route.dst.prefixlen == 0:
                    also = site.place(("masters", name), key=True, label="secondary")
                    yield Finding(
                        "PL324",
                        f"pods on {name} lose their own default route to that of {subnet}",
                        site.place(("subnets", subnet, "routes", index)),
                        Severity.WARNING,
                        f"remove it, or chain sbr: masters.{name}.chain: [{{type: sbr}}]",
                        (also,) if also else (),
                    )


@rule("PL325", "an interface in the pod, used as one on the host")
def link_in_container(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """With `linkInContainer` a master is secondary, and the host has nothing to do with its interface.

    Why: a pod has no interface before its first network. And what is in the pod cannot have host access, an altname
    by podlan, a promiscuous flag, or a node's address.
    Source: containernetworking/plugins, plugins/main/macvlan: linkInContainer looks the master up in the pod.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, linkInContainer: true, hostAccess: {via: none}}
        cni: {name: pods, plugins: {version: "1.4.0"}}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          inner: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          inside:
            interface: eth0
            subnets: [inner]
            podsPerNode: 8
            secondary: true
            linkInContainer: true
            hostAccess: {via: none}
        cni: {name: pods, plugins: {version: "1.4.0"}}
        nodes:
          node-1: {}
    """
    del grounds
    for name, master in site.inventory.masters.items():
        if not master.link_in_container:
            continue
        at = site.place(("masters", name, "linkInContainer"), label="it is looked for in the pod")
        also = (at,) if at else ()
        if not master.secondary:
            message = f"{name} is looked for in the pod, which has no interface before its first network"
            yield Finding("PL325", message, at and at.labelled(""), hint="make it secondary: true")
        for path, what in _on_host(site, name, master):
            message = f"{name} cannot have {what}: its interface is in the pod"
            hint = "say hostAccess: {via: none}" if what == "host access" else "leave it out"
            yield Finding("PL325", message, site.place(path, key=path[-1] == name), hint=hint, also=also)


def _on_host(site: Site, name: str, master: Master) -> Iterator[tuple[KeyPath, str]]:
    base: KeyPath = ("masters", name)
    if master.host_access.via != "none":
        path = (*base, "hostAccess", "via")
        yield path if site.source.has(path) else base, "host access"
    if master.altname is not None:
        yield (*base, "altname"), "an altname"
    if master.promisc:
        yield (*base, "promisc"), "a promiscuous flag"
    if master.vlan is not None:
        yield (*base, "vlan"), "a VLAN made by podlan"
    for key in ("probes", "probeTimeout"):
        if site.source.has((*base, key)):
            yield (*base, key), "probes"
    for node in site.nodes:
        for attachment in node.attachments:
            if attachment.name == name and attachment.addresses:
                yield site.origin(node, "masters", name, "addresses"), f"an address of {node.name}"


@rule("PL326", "two default routes to move")
def one_move(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """At most one master of a node has `hostAccess: {via: move}`.

    Why: podlan leads the host's default route through the moved address, and a host has one.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, routes: []}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {via: move}}
          storage: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true, hostAccess: {via: move}}
        nodes:
          node-1: {masters: {uplink: {addresses: [10.0.0.1]}, storage: {addresses: [10.0.1.1]}}}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          store: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, routes: []}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {via: move}}
          storage: {interface: eth1, subnets: [store], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {masters: {uplink: {addresses: [10.0.0.1]}, storage: {addresses: [10.0.1.1]}}}
    """
    del grounds
    told: set[tuple[str, str]] = set()
    for node in site.nodes:
        moved = [attachment.name for attachment in node.attachments if attachment.access.via == "move"]
        for name in moved[1:]:
            if (moved[0], name) not in told:
                told.add((moved[0], name))
                also = site.place(("masters", moved[0], "hostAccess", "via"), label=f"and of {moved[0]} here")
                yield Finding(
                    "PL326",
                    f"{node.name} would move its default route twice, to {moved[0]} and to {name}",
                    site.place(("masters", name, "hostAccess", "via")),
                    hint="use via: shim for one of them",
                    also=(also,) if also else (),
                )


@rule("PL327", "DHCP without systemd")
def dhcp_needs_unit(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where a master has `ipam: dhcp`, the node boots with systemd.

    Why: the dhcp plugin only passes the question on to its daemon, which must run before the first pod and go on
    renewing leases; podlan gives it a unit.
    Source: containernetworking/plugins, plugins/ipam/dhcp: ADD fails with "error dialing DHCP daemon".
    Example:
        boot: rc.local
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
        masters:
          uplink: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: none}}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
        masters:
          uplink: {interface: eth0, subnets: [lan], ipam: dhcp, hostAccess: {via: none}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        leased = _leased(node)
        path = site.origin(node, "boot")
        if leased is not None and node.boot == "rc.local" and path not in told:
            told.add(path)
            also = site.place(("masters", leased.name, "ipam"), label="dhcp is asked for here")
            message = f"nothing keeps the dhcp plugin's daemon running on {node.name}, which boots by {node.boot}"
            yield Finding("PL327", message, site.place(path), hint="use boot: systemd", also=(also,) if also else ())


@rule("PL328", "DHCP for IPv6 alone")
def dhcp_is_ipv4(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A master with `ipam: dhcp` carries an IPv4 subnet.

    Why: the dhcp plugin asks for IPv4 addresses only; on a LAN of IPv6 alone every ADD waits in vain.
    Source: containernetworking/plugins, plugins/ipam/dhcp (DHCPv4 client).
    Example:
        subnets:
          lan6: {cidr: "fd00::/64"}
        masters:
          uplink: {interface: eth0, subnets: [lan6], ipam: dhcp, hostAccess: {via: none}}
        nodes:
          node-1: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24}
          lan6: {cidr: "fd00::/64"}
        masters:
          uplink: {interface: eth0, subnets: [lan, lan6], ipam: dhcp, hostAccess: {via: none}}
        nodes:
          node-1: {}
    """
    for name, master in site.inventory.masters.items():
        carried = [grounds[subnet].network.family for subnet in master.subnets if subnet in grounds]
        if master.ipam == "dhcp" and carried and _IPV4 not in carried:
            place = site.place(("masters", name, "ipam"))
            also = site.place(("masters", name, "subnets"), label="IPv6 alone")
            message = f"pods of {name} would ask for an IPv4 address, and it carries none"
            yield Finding("PL328", message, place, hint="use ipam: host-local", also=(also,) if also else ())


def _leased(node: ResolvedNode) -> Attachment | None:
    return next((attachment for attachment in node.attachments if attachment.master.ipam == "dhcp"), None)


RULES = (
    subnet_once,
    one_network,
    secondary_name,
    without_slices,
    dhcp_beside_slices,
    default_route_once,
    link_in_container,
    one_move,
    dhcp_needs_unit,
    dhcp_is_ipv4,
)
