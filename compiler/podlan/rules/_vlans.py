"""PL3xx: VLANs whose interfaces podlan makes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.inventory import vlan_name
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.source import KeyPath

_NAME_SIZE = 15
"""Most characters of an interface's name (IFNAMSIZ, linux/if.h, less the final NUL)."""
_NUMBERED = re.compile(r"(?P<link>.+)\.(?P<id>[0-9]{1,4})")


@rule("PL338", "a VLAN whose name is too long")
def vlan_name_fits(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """LINK.ID, the name of a VLAN's interface that nobody gives another one, has 15 characters at most.

    Why: the kernel takes no longer name.
    Source: Linux, include/uapi/linux/if.h (IFNAMSIZ).
    Example:
        masters:
          uplink: {vlan: {link: enp175s0f1np1, id: 101}, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    Instead:
        masters:
          uplink: {vlan: {link: enp175s0f1np1, id: 101}, interface: lan101, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    """
    del grounds
    for _, attachment, path in _once(site, "link"):
        if len(attachment.interface) > _NAME_SIZE:
            yield Finding(
                "PL338",
                f"{attachment.interface} has more than {_NAME_SIZE} characters: no interface can be called so",
                site.place(path),
                hint=f"give it a name: masters.{attachment.name}.interface, as in vlan{attachment.vlan}",
            )


@rule("PL339", "a VLAN twice on a node")
def vlan_once(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node has each VLAN of an interface once.

    Why: the kernel gives a tag's frames to one interface, and refuses a second one.
    Source: Linux, net/8021q/vlan.c (vlan_check_real_dev: EEXIST).
    Example:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, subnets: [lan], podsPerNode: 8}
          extra: {vlan: {link: eno1, id: 101}, interface: extra0, subnets: [dmz], podsPerNode: 8, secondary: true}
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          dmz: {cidr: 10.0.1.0/24}
        nodes:
          node-1: {}
    Instead:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, subnets: [lan], podsPerNode: 8}
          extra: {vlan: {link: eno1, id: 102}, subnets: [dmz], podsPerNode: 8, secondary: true}
        subnets:
          lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
          dmz: {cidr: 10.0.1.0/24}
        nodes:
          node-1: {}
    """
    del grounds
    told: set[tuple[str, str]] = set()
    for node in site.nodes:
        seen: dict[tuple[str, int], str] = {}
        for attachment in _made(node):
            other = seen.setdefault((attachment.link, attachment.vlan), attachment.name)
            if other != attachment.name and (other, attachment.name) not in told:
                told.add((other, attachment.name))
                also = site.place(("masters", other, "vlan"), label=f"{other} has it")
                what = f"VLAN {attachment.vlan} of {attachment.link}"
                yield Finding(
                    "PL339",
                    f"on {node.name} both {other} and {attachment.name} are {what}",
                    site.place(("masters", attachment.name, "vlan")),
                    hint="give them one master with both subnets, or each a VLAN of its own",
                    also=(also,) if also else (),
                )


@rule("PL340", "an interface that speaks of another VLAN")
def vlan_as_named(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """An interface that is called like a VLAN's, LINK.ID, is that of this link and ID.

    Why: the name says one VLAN and the frames have the tag of another; whoever looks for a fault believes the name.
    Example:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, interface: eno1.102, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    Instead:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    """
    del grounds
    for node, attachment, path in _once(site, "interface"):
        name = attachment.interface
        if site.source.has(path) and _NUMBERED.fullmatch(name) and name != vlan_name(attachment):
            also = site.place(site.origin(node, "masters", attachment.name, "vlan", "link"), label="the link")
            yield Finding(
                "PL340",
                f"{name} is called like another VLAN than {attachment.vlan} of {attachment.link}",
                site.place(path),
                Severity.WARNING,
                f"leave interface out ({vlan_name(attachment)} is its name then), or choose a name without a number",
                (also,) if also else (),
            )


@rule("PL341", "a VLAN on an interface that podlan makes")
def vlan_on_others(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The link of a VLAN is an interface of the operating system, be it another master too.

    Why: podlan makes VLANs on what is there, then children on VLANs; a VLAN on itself, on another one of podlan's, or
    on a macvlan child would have to be there first.
    Example:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, interface: eno1, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    Instead:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        made = {attachment.interface: f"the VLAN of {attachment.name}" for attachment in _made(node)}
        for attachment in node.attachments:
            if attachment.access.via != "none":
                made[attachment.child] = f"the macvlan child of {attachment.name}"
        for attachment in _made(node):
            path = site.origin(node, "masters", attachment.name, "vlan", "link")
            if attachment.link in made and path not in told:
                told.add(path)
                yield Finding(
                    "PL341",
                    f"on {node.name} the VLAN of {attachment.name} would come by {attachment.link}, which is"
                    f" {made[attachment.link]}",
                    site.place(path),
                    hint="name the interface that the cable is in, or the bond; the system makes VLANs in VLANs",
                )


@rule("PL342", "a node's address on a VLAN that podlan makes")
def vlan_without_address(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """On a VLAN that podlan makes no node has an address of its own, and nothing moves.

    Why: podlan waits for the addresses of the operating system before it makes anything, and this one could come only
    after it. Whoever configures an address on a VLAN makes the VLAN, too.
    Example:
        masters:
          uplink: {vlan: {link: eno1, id: 101}, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {address: 10.0.0.1}
    Instead:
        masters:
          uplink: {interface: eno1.101, subnets: [lan], podsPerNode: 8}
        nodes:
          node-1: {address: 10.0.0.1}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        for attachment in _made(node):
            found: list[tuple[KeyPath, str]] = []
            if attachment.addresses:
                path = site.origin(node, "masters", attachment.name, "addresses")
                found.append((path, f"{node.name} has {attachment.addresses[0]} on {attachment.name}"))
            if attachment.access.via == "move":
                found.append(
                    (("masters", attachment.name, "hostAccess", "via"), f"an address would move on {attachment.name}")
                )
            for path, what in found:
                if path not in told:
                    told.add(path)
                    also = site.place(("masters", attachment.name, "vlan"), label="podlan makes it")
                    yield Finding(
                        "PL342",
                        f"{what}, which is a VLAN that podlan makes",
                        site.place(path),
                        hint=f"let the operating system make the VLAN: interface: {attachment.interface}, and no vlan",
                        also=(also,) if also else (),
                    )


@rule("PL343", "a node's word about a VLAN that is none")
def vlan_of_master(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node or profile speaks of a master's VLAN only where the master has one.

    Why: a link without the VLAN's number makes no VLAN, and what is said would be lost without a word.
    Example:
        nodes:
          node-1: {masters: {uplink: {vlan: {link: ens192}}}}
    Instead:
        nodes:
          node-1: {masters: {uplink: {interface: ens192}}}
    """
    del grounds
    masters = site.inventory.masters
    for section, holders in (("nodes", site.inventory.nodes), ("profiles", site.inventory.profiles)):
        for holder, said in holders.items():
            for name, own in said.masters.items():
                if own.vlan.link is not None and name in masters and masters[name].vlan is None:
                    also = site.place(("masters", name), key=True, label="it has no vlan")
                    yield Finding(
                        "PL343",
                        f"{holder} gives the VLAN of {name} a link, and {name} is no VLAN that podlan makes",
                        site.place((section, holder, "masters", name, "vlan")),
                        hint=f"say masters.{name}.vlan: {{link: ..., id: ...}}, or interface: {own.vlan.link} here",
                        also=(also,) if also else (),
                    )


def _made(node: ResolvedNode) -> Iterator[Attachment]:
    """Give the masters that are VLANs which podlan makes on the node."""
    return (one for one in node.attachments if one.vlan and not one.master.link_in_container)


def _once(site: Site, key: str) -> Iterator[tuple[ResolvedNode, Attachment, KeyPath]]:
    """Give the VLANs by where their link, or interface, is written; each place once."""
    told: set[KeyPath] = set()
    for node in site.nodes:
        for attachment in _made(node):
            keys = ("vlan", "link") if key == "link" else (key,)
            path = site.origin(node, "masters", attachment.name, *keys)
            if path not in told:
                told.add(path)
                yield node, attachment, path


RULES = (vlan_name_fits, vlan_once, vlan_as_named, vlan_on_others, vlan_without_address, vlan_of_master)
