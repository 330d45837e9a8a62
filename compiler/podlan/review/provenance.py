"""Where addresses come from: a pin, a line of the lock, or the allocator's first free place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import pins, subnets_of
from podlan.review.answer import Step, written
from podlan.source import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.addressing import Range
    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.pipeline import Checked
    from podlan.source import KeyPath

NOT_YET = "`podlan compile` writes it into podlan.lock"


def attachment_of(site: Site, node: ResolvedNode, subnet: str) -> Attachment | None:
    """Find the master through which a node has a subnet."""
    return next((item for item in node.attachments if subnet in subnets_of(site, item)), None)


def node_named(site: Site, name: str) -> ResolvedNode | None:
    """Find a node of the site."""
    return next((node for node in site.nodes if node.name == name), None)


def slice_steps(checked: Checked, site: Site, subnet: str, node: ResolvedNode) -> Iterator[Step]:
    """Tell why a node has the slice that it has in a subnet."""
    attachment = attachment_of(site, node, subnet)
    if attachment is None or checked.allocation is None:
        return
    pinned = [(item, path) for name, item, path in pins(site, node, attachment) if name == subnet]
    if pinned:
        yield from (written(site, "pin", path, f"{dotted(path)}: {item}") for item, path in pinned)
        return
    now = checked.allocation.slices.get((subnet, node.name), ())
    yield from _remembered(checked, site, subnet, node, now)
    yield from _size(site, node, attachment)


def _remembered(
    checked: Checked, site: Site, subnet: str, node: ResolvedNode, now: tuple[Range, ...]
) -> Iterator[Step]:
    names = lock_names(site, subnet, node.name)
    key = next((name for name in names if name in checked.lock.slices), None)
    if key is not None:
        before = checked.lock.slices[key]
        if before != now:
            yield Step("allocator", f"changed to {_texts(now)} since it was locked; {NOT_YET}")
        yield Step("lock", f"slice {key[0]} {key[1]} {_texts(before)}", checked.lock.places.get(("slice", *key)))
        yield from _renames(site, subnet, node, key)
        return
    for entry in sorted(checked.lock.quarantine):
        is_own = (entry.subnet, entry.node) in names and entry.kind == "slice"
        if is_own and any(item.overlaps(part) for item in now for part in entry.ranges):
            place = checked.lock.places.get(("quarantine", *entry[:2], entry.text))
            yield Step("lock", f"back from the quarantine of {_texts(entry.ranges)}", place)
            return
    yield Step("allocator", f"the first place that is free for it; {NOT_YET}")


def _size(site: Site, node: ResolvedNode, attachment: Attachment) -> Iterator[Step]:
    if attachment.pods is None:
        return
    source, path = size_origin(site, node, attachment)
    yield written(site, source, path, f"{dotted(path)}: {attachment.pods} pods")
    is_power = attachment.pods & (attachment.pods - 1) == 0
    if attachment.master.allocate == "aligned" and not is_power and not attachment.master.fragmented:
        path = ("masters", attachment.name, "allocate")
        text = f"{dotted(path)}: aligned, so rounded up to {1 << attachment.pods.bit_length()}"
        yield written(site, "site", path, text) if site.source.has(path) else Step("default", text)


def size_origin(site: Site, node: ResolvedNode, attachment: Attachment) -> tuple[str, KeyPath]:
    """Find who says how many pods a node has, and where."""
    path = site.origin(node, "masters", attachment.name, "pods")
    if path == ("nodes", node.name):
        return "site", ("masters", attachment.name, "podsPerNode")
    return ("node", path) if path[0] == "nodes" else (f"profile {path[1]}", path)


def lock_names(site: Site, subnet: str, node: str) -> list[tuple[str, str]]:
    """Give the names under which the lock may know what a node has in a subnet: today's, or those before a rename."""
    was_node = site.inventory.nodes[node].was if node in site.inventory.nodes else None
    was_subnet = site.subnets[subnet].was if subnet in site.subnets else None
    return [(one, other) for one in (subnet, was_subnet) if one for other in (node, was_node) if other]


def _renames(site: Site, subnet: str, node: ResolvedNode, key: tuple[str, str]) -> Iterator[Step]:
    """Say why a line of the lock that has another name speaks of this node."""
    if key[0] != subnet:
        yield written(site, "site", ("subnets", subnet, "was"), f"{subnet} was {key[0]}")
    if key[1] != node.name:
        yield written(site, "node", ("nodes", node.name, "was"), f"{node.name} was {key[1]}")


def shim_steps(checked: Checked, site: Site, subnet: str, node: ResolvedNode) -> Iterator[Step]:
    """Tell why a node's shim has the address that it has."""
    key = next((name for name in lock_names(site, subnet, node.name) if name in checked.lock.shims), None)
    if (
        key is not None
        and checked.allocation
        and checked.lock.shims[key] == checked.allocation.shims[(subnet, node.name)]
    ):
        text = f"shim {key[0]} {key[1]} {checked.lock.shims[key]}"
        yield Step("lock", text, checked.lock.places.get(("shim", *key)))
        yield from _renames(site, subnet, node, key)
        return
    attachment = attachment_of(site, node, subnet)
    path: KeyPath = ("masters", attachment.name, "hostAccess", "pool") if attachment else ()
    where = "hostAccess.pool" if path and site.source.has(path) else f"the pool of {subnet}"
    yield Step("allocator", f"the last free address of {where}; {NOT_YET}")


def _texts(items: tuple[Range, ...]) -> str:
    return ", ".join(map(str, items)) or "nothing"
