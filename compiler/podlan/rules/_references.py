"""PL3xx: names that lead nowhere, and combinations that cannot work."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from podlan.addressing import Ground, Range, subnets_of
from podlan.diagnostics import Finding
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL301", "unknown subnet")
def unknown_subnet(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A master carries subnets that the site defines.

    Why: pods would get an address of no network.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lam], podsPerNode: 8}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
    """
    del grounds
    for name, master in site.inventory.masters.items():
        for index, subnet in enumerate(master.subnets):
            yield from _unknown(site, "PL301", "subnet", "subnets", subnet, ("masters", name, "subnets", index))


@rule("PL302", "unknown master")
def unknown_master(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node or a profile speaks of masters that the site defines.

    Why: what it says would be lost without a word.
    Example:
        nodes:
          node-1:
            masters: {uplnk: {pods: 30}}
    Instead:
        nodes:
          node-1:
            masters: {uplink: {pods: 30}}
    """
    del grounds
    for section, holders in (("nodes", site.inventory.nodes), ("profiles", site.inventory.profiles)):
        for name, holder in holders.items():
            for master in holder.masters:
                yield from _unknown(site, "PL302", "master", "masters", master, (section, name, "masters", master))


@rule("PL303", "unknown profile")
def unknown_profile(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node applies profiles that the site defines.

    Why: the node would come up without what the profile holds.
    Example:
        profiles:
          small: {pods: 4}
        nodes:
          node-1: {profiles: [smal]}
    Instead:
        profiles:
          small: {pods: 4}
        nodes:
          node-1: {profiles: [small]}
    """
    del grounds
    for name, node in site.inventory.nodes.items():
        for index, profile in enumerate(node.profiles):
            yield from _unknown(site, "PL303", "profile", "profiles", profile, ("nodes", name, "profiles", index))


def _unknown(site: Site, code: str, what: str, section: str, name: str, path: KeyPath) -> Iterator[Finding]:
    # What is written decides, so that an entry with a mistake of its own is not called unknown too.
    written: dict[str, Any] = site.source.get((section,), {})
    if name in written:
        return
    near = difflib.get_close_matches(name, [str(key) for key in written], n=1, cutoff=0.6)
    known = f"did you mean {near[0]}?" if near else f"the site has: {', '.join(map(str, written)) or 'none'}"
    place = site.place((section,), key=True, label=f"{section} are here") if written else None
    nearest = site.place((section, near[0]), key=True, label=f"{near[0]} is here") if near else place
    at = site.place(path, key=path[-1] == name)
    yield Finding(code, f"there is no {what} {name}", at, hint=known, also=(nearest,) if nearest else ())


@rule("PL304", "a node with no primary master, or with several")
def one_primary(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node has exactly one master that is not secondary, and any number of secondary ones.

    Why: a runtime calls one network per pod, which gives it its first interface and its address; further ones come
    from a meta-plugin, Multus, where a pod asks for them.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          dmz: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          outer: {interface: eth1, subnets: [dmz], podsPerNode: 8}
        nodes:
          node-1: {}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          dmz: {cidr: 10.0.1.0/24}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          outer: {interface: eth1, subnets: [dmz], podsPerNode: 8, secondary: true}
        nodes:
          node-1: {}
    """
    del grounds
    for node in site.nodes:
        primaries = [attachment.name for attachment in node.attachments if not attachment.master.secondary]
        if len(primaries) == 1:
            continue
        if any(name not in site.inventory.masters for name in site.inventory.nodes[node.name].masters):
            continue  # PL302 says it
        if primaries:
            names = ", ".join(primaries)
            message = f"{node.name} has several masters ({names}) that give pods their first interface"
            hint = "name one of them under `masters`, or make the others secondary: true"
        else:
            all_secondary = " that gives pods their first interface" if node.attachments else ""
            message = f"{node.name} has no master{all_secondary}"
            known = ", ".join(name for name, master in site.inventory.masters.items() if not master.secondary)
            hint = f"name one under `masters`: {known}" if known else "one master must not be secondary"
        path = ("nodes", node.name)
        place = site.place((*path, "masters") if site.source.has((*path, "masters")) else path, key=True)
        also = site.place(("masters",), key=True, label="the site's masters")
        yield Finding("PL304", message, place, hint=hint, also=(also,) if also else ())


@rule("PL305", "shorthand where the site has several masters")
def ambiguous_shorthand(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """`address`, `pods` and `ranges` stand at the node only where the site has one master.

    Why: with several, nothing says which of them is meant, and the value would be ignored.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          dmz: {cidr: 10.0.1.0/24, gateway: 10.0.1.254}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          outer: {interface: eth1, subnets: [dmz], podsPerNode: 8}
        nodes:
          node-1:
            pods: 30
            masters: {outer: {}}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          dmz: {cidr: 10.0.1.0/24, gateway: 10.0.1.254}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
          outer: {interface: eth1, subnets: [dmz], podsPerNode: 8}
        nodes:
          node-1:
            masters: {outer: {pods: 30}}
    """
    del grounds
    if len(site.source.get(("masters",), {})) == 1:
        return
    for section in ("nodes", "profiles"):
        for name in site.source.get((section,), {}):
            for key in ("address", "pods", "ranges"):
                path = (section, name, key)
                if site.source.has(path):
                    message = f"{key} of {name} belongs to no master: the site has several"
                    hint = f"write it under masters.NAME{'.addresses' if key == 'address' else '.' + key}"
                    also = site.place(("masters",), key=True, label="the site's masters")
                    yield Finding("PL305", message, site.place(path, key=True), hint=hint, also=(also,) if also else ())


@rule("PL306", "move without the node's address")
def move_needs_address(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """With `hostAccess: {via: move}` every node gives its own IPv4 address, in a subnet of the master with a gateway.

    Why: podlan puts that address on the macvlan child too and leads the default route through it.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {via: move}}
        nodes:
          node-1: {}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {via: move}}
        nodes:
          node-1: {address: 10.0.0.1}
    """
    for node in site.nodes:
        for attachment in node.attachments:
            if attachment.access.via != "move":
                continue
            own = [Range.of_address(address) for address in attachment.addresses if address.version == 4]  # noqa: PLR2004 - IPv4
            carried = [grounds[name] for name in subnets_of(site, attachment)]
            on_link = [ground for ground in carried if any(ground.network.contains(item) for item in own)]
            also = site.place(("masters", attachment.name, "hostAccess"), label="move is asked for here")
            place = site.place(("nodes", node.name), key=True)
            if not own:
                message, hint = f"{node.name} gives no IPv4 address to move", "write its own address, or use via: shim"
            elif not on_link:
                message = f"the address of {node.name} is in no subnet of {attachment.name}, so it cannot move"
                hint = "use via: shim"
            elif on_link[0].subnet.gateway is None:
                message = f"{node.name} cannot move its default route: {on_link[0].name} has no gateway"
                hint = "give the subnet its gateway, or use via: shim"
            else:
                continue
            yield Finding("PL306", message, place, hint=hint, also=(also,) if also else ())


@rule("PL307", "two subnets of one family on a master")
def one_subnet_a_family(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A master carries at most one subnet of each family: one IPv4, one IPv6, or both (dual stack).

    Why: host-local gives a pod one address of every range set, so two IPv4 sets give every pod two addresses.
    Example:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          lab: {cidr: 10.0.1.0/24, gateway: 10.0.1.254}
        masters:
          uplink: {interface: eth0, subnets: [lan, lab], podsPerNode: 8}
    Instead:
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254}
          lan6: {cidr: "fd00::/64", gateway: "fd00::1"}
        masters:
          uplink: {interface: eth0, subnets: [lan, lan6], podsPerNode: 8}
    """
    for name, master in site.inventory.masters.items():
        seen: dict[int, int] = {}
        for index, subnet in enumerate(master.subnets):
            if subnet not in grounds:
                continue
            family = grounds[subnet].network.family
            if family in seen:
                first = site.place(("masters", name, "subnets", seen[family]), label="the first one")
                message = f"{name} carries two IPv{family} subnets"
                place = site.place(("masters", name, "subnets", index))
                yield Finding("PL307", message, place, hint="define a second master", also=(first,) if first else ())
            seen.setdefault(family, index)


@rule("PL308", "host access that the mode prevents")
def mode_prevents_access(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A shim or a moved address needs `mode: bridge`.

    Why: in private and vepa mode the children of one master do not talk to each other, and passthru allows one
    child only.
    Source: Linux, drivers/net/macvlan.c (macvlan_queue_xmit bridges locally for MACVLAN_MODE_BRIDGE alone).
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, mode: private}
    Instead:
        masters:
          uplink:
            interface: eth0
            subnets: [lan]
            podsPerNode: 8
            mode: private
            hostAccess: {via: none}
    """
    del grounds
    for name, master in site.inventory.masters.items():
        if master.mode != "bridge" and master.host_access.via != "none":
            via = master.host_access.via
            place = site.place(("masters", name, "mode"))
            told = site.source.has(("masters", name, "hostAccess"))
            also = site.place(("masters", name, "hostAccess"), label=f"{via} is asked for here") if told else None
            message = f"hosts cannot reach their pods by {via} while {name} is in {master.mode} mode"
            hint = "use mode: bridge, or hostAccess: {via: none}"
            yield Finding("PL308", message, place, hint=hint, also=(also,) if also else ())


@rule("PL309", "two interfaces of one name")
def interface_taken(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """On a node every master's interface, its altname, and every macvlan child has a name of its own.

    Why: a child cannot be called like an interface that exists, nor can an altname; and two masters on one interface
    would set it up twice.
    Example:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {interface: eth0}}
    Instead:
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {interface: macvlan0}}
    """
    del grounds
    told: set[tuple[KeyPath, KeyPath]] = set()
    for node in site.nodes:
        seen: dict[str, tuple[str, KeyPath]] = {}
        for attachment in node.attachments:
            for name, what, path in _names(site, node, attachment):
                other, first = seen.setdefault(name, (what, path))
                if what == other or (first, path) in told:
                    continue
                told.add((first, path))
                # A child's name that nobody wrote down is not what has to be changed.
                at, beside = (first, path) if path == ("masters", attachment.name) else (path, first)
                also = site.place(beside, key=beside[-1] not in _VALUES, label="and this")
                yield Finding(
                    "PL309",
                    f"on {node.name} {what} would have the name of {other}, {name}",
                    site.place(at, key=at[-1] not in _VALUES),
                    hint="give each a name of its own (interface, altname, hostAccess.interface)",
                    also=(also,) if also else (),
                )


_VALUES = frozenset({"interface", "altname"})


def _names(site: Site, node: ResolvedNode, attachment: Attachment) -> Iterator[tuple[str, str, KeyPath]]:
    """Give the names that a master takes on a host, what has them, and where they are written."""
    if attachment.master.link_in_container:
        return
    name = attachment.name
    yield attachment.interface, f"the master {name}", site.origin(node, "masters", name, "interface")
    if attachment.master.altname is not None:
        yield attachment.master.altname, f"the altname of {name}", ("masters", name, "altname")
    if attachment.access.via != "none":
        path = ("masters", name, "hostAccess", "interface")
        written: KeyPath = path if site.source.has(path) else ("masters", name)
        yield attachment.child, f"the macvlan child of {name}", written


RULES = (
    unknown_subnet,
    unknown_master,
    unknown_profile,
    one_primary,
    ambiguous_shorthand,
    move_needs_address,
    one_subnet_a_family,
    mode_prevents_access,
    interface_taken,
)
