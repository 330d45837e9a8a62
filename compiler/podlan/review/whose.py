"""Whose an address is, or why nobody may have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Range, address_path
from podlan.review.answer import Answer, Step, written
from podlan.review.land import OF_CLAIMS, Land, Piece, Use, lands
from podlan.review.provenance import lock_names, node_named, shim_steps, slice_steps
from podlan.source import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.addressing import Allocation
    from podlan.inventory import IP, Site
    from podlan.pipeline import Checked

_VERDICTS = {
    Use.NETWORK: "nobody's: the network address of {subnet}",
    Use.BROADCAST: "nobody's: the broadcast address of {subnet}",
    Use.ANYCAST: "nobody's: the subnet-router anycast address of {subnet}",
    Use.GATEWAY: "the gateway of {subnet}",
    Use.NODE: "the own address of {owner}, in {subnet}",
    Use.SLICE: "a pod's on {owner}: in its slice of {subnet}",
    Use.SHIM: "the shim of {owner}, in {subnet}",
    Use.QUARANTINE: "nobody's: in quarantine in {subnet} since {owner} gave it up",
    Use.RESERVED: "nobody's: reserved in {subnet} ({owner})",
    Use.DHCP: "nobody's: the DHCP server of {subnet} gives it away",
    Use.ROUTER: "a router of {subnet}",
    Use.SERVER: "a DNS server of {subnet}",
    Use.WITHHELD: "nobody's: the first address of {subnet}, which host-local withholds where no gateway is given",
    Use.FREE: "nobody's yet: free in the pool of {subnet}",
    Use.FREE_SHIM: "nobody's yet: free in {subnet}, for shims only",
    Use.OUTSIDE: "nobody's: in {subnet}, but outside its pool",
}
_UNCLAIMED = (Use.FREE, Use.FREE_SHIM, Use.OUTSIDE)


def whose(checked: Checked, site: Site, allocation: Allocation, address: IP) -> Answer:
    """Tell whose an address is, and the chain that made it so."""
    item = Range.of_address(address)
    for name, land in lands(site, allocation).items():
        if land.ground.network.contains(item):
            return _in_subnet(checked, site, name, land, item)
    steps = tuple(_elsewhere(site, item))
    value = {"address": str(address), "subnet": None, "use": "none", "owner": ""}
    verdict = "in no subnet of this site"
    own = next((step for step in steps if step.source == "node"), None)
    if own is not None:
        value |= {"use": Use.NODE.value, "owner": own.text.partition(" ")[0]}
        verdict = f"the own address of {value['owner']}, in no subnet of this site"
    return Answer(str(address), value, steps, verdict)


def _in_subnet(checked: Checked, site: Site, subnet: str, land: Land, item: Range) -> Answer:
    uses = list(land.at(item))
    claimed = [use for use in uses if use.use not in _UNCLAIMED] or uses[:1]
    first = claimed[0]
    steps = [step for use in claimed for step in _steps(checked, site, land, use, item)]
    value = {"address": str(item), "subnet": subnet, "use": first.use.value, "owner": first.owner}
    verdict = _VERDICTS[first.use].format(subnet=subnet, owner=first.owner)
    return Answer(str(item), value, tuple(dict.fromkeys(steps)), verdict)


def _steps(checked: Checked, site: Site, land: Land, use: Piece, item: Range) -> Iterator[Step]:
    subnet = land.ground.name
    node = node_named(site, use.owner)
    if use.use is Use.SLICE and node is not None:
        yield from slice_steps(checked, site, subnet, node)
    elif use.use is Use.SHIM and node is not None:
        yield from shim_steps(checked, site, subnet, node)
    elif use.use is Use.QUARANTINE:
        yield _quarantine(checked, site, subnet, use)
    elif use.use in (Use.FREE, Use.FREE_SHIM, Use.OUTSIDE):
        yield from _pool(site, subnet, item)
    for claim in land.ground.claims:
        if OF_CLAIMS.get(claim.kind) is use.use and claim.range.contains(item):
            yield written(site, "node" if use.use is Use.NODE else "site", claim.path, str(claim))


def _quarantine(checked: Checked, site: Site, subnet: str, use: Piece) -> Step:
    """Point at the line of the quarantine, or at the one that this compile would turn into it."""
    lock, names = checked.lock, lock_names(site, subnet, use.owner)
    for entry in sorted(lock.quarantine):
        if (entry.subnet, entry.node) in names and any(item.overlaps(use.range) for item in entry.ranges):
            place = lock.places.get(("quarantine", *entry[:2], entry.text))
            return Step("lock", f"{entry.line}; `podlan release SITE {use.owner}` ends it", place)
    for name in names:
        held = {"slice": lock.slices.get(name, ()), "shim": tuple(filter(None, [lock.shims.get(name)]))}
        for kind, items in held.items():
            if any(item.overlaps(use.range) for item in items):
                text = f"{kind} {' '.join(name)} {', '.join(map(str, items))}, which {use.owner} no longer has"
                return Step("lock", text, lock.places.get((kind, *name)))
    return Step("allocator", f"{use.owner} no longer has it")


def _pool(site: Site, subnet: str, item: Range) -> Iterator[Step]:
    """Show the pools that hold the address; where none does, the subnet's, which does not reach it."""
    shims = [
        (("masters", name, "hostAccess", "pool", index), Range.of(pool))
        for name, master in site.inventory.masters.items()
        if subnet in master.subnets
        for index, pool in enumerate(master.host_access.pool)
    ]
    own = [(("subnets", subnet, "pool", index), Range.of(pool)) for index, pool in enumerate(site.subnets[subnet].pool)]
    found = [entry for entry in (*shims, *own) if entry[1].contains(item)] or own
    for path, pool in found:
        yield written(site, "site", path, f"{dotted(path)}: {pool}")
    if not found:
        text = f"{subnet} has no pool of its own: every usable address"
        yield Step("default", text, site.place(("subnets", subnet, "cidr")))


def _elsewhere(site: Site, item: Range) -> Iterator[Step]:
    """Tell what else the inventory says of an address that is in none of its subnets."""
    for node in site.nodes:
        for attachment in node.attachments:
            for index, address in enumerate(attachment.addresses):
                if Range.of_address(address) == item:
                    yield written(
                        site, "node", address_path(site, node, attachment, index), f"{node.name} has {address}"
                    )
    for key, networks in (
        ("serviceCIDR", site.inventory.cluster.service_cidr),
        ("avoid", site.inventory.cluster.avoid),
    ):
        for index, network in enumerate(networks):
            if Range.of_network(network).contains(item):
                path = ("cluster", key, index)
                yield written(site, "site", path, f"{dotted(path)}: {network}")
    for name, subnet in site.subnets.items():
        if subnet.cidr.version == item.family:
            yield written(site, "site", ("subnets", name, "cidr"), f"{name} is {subnet.cidr}")
