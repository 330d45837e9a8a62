"""The numbers behind `podlan show`: how full every subnet is, and what every node has of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.addressing import Range, natural, pins
from podlan.review.land import Land, Use, lands
from podlan.review.provenance import attachment_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Allocation
    from podlan.inventory import ResolvedNode, Site
    from podlan.pipeline import Checked


@dataclass(frozen=True, slots=True)
class SubnetFigures:
    """How a subnet's pool is used, in addresses.

    `slices`, `shims`, `reserved`, `quarantined`, `other` and `free` add up to `size`. `other` is the gateway, nodes'
    own addresses, what nobody may have, and what is set aside for shims. `outside` lies in slices outside the pool.
    `asked` are the pods that unpinned slices were cut for, `waste` what those slices have beyond.
    """

    name: str
    cidr: str
    pool: tuple[Range, ...]
    size: int
    slices: int
    shims: int
    reserved: int
    quarantined: int
    other: int
    free: int
    largest_free: int
    outside: int
    asked: int
    waste: int

    @property
    def utilisation(self) -> float:
        """Give the share of what can be given away that is given, or held back by a quarantine."""
        usable = self.size - self.reserved - self.other
        return (usable - self.free) / usable if usable else 1.0


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """What a node has of a subnet; `source` is pinned, locked, or new (not in the lock as it is now)."""

    node: str
    subnet: str
    ranges: tuple[Range, ...]
    pods: int
    source: str
    shim: Range | None

    @property
    def size(self) -> int:
        """Count the addresses."""
        return sum(item.size for item in self.ranges)

    @property
    def waste(self) -> int:
        """Count what the slice has beyond the pods asked for; a pinned one is as somebody wanted it."""
        return 0 if self.source == "pinned" else max(0, self.size - self.pods)


def slices(checked: Checked, site: Site, allocation: Allocation) -> list[SliceFigures]:
    """Give every slice, by subnet and node."""
    nodes = {node.name: node for node in site.nodes}
    keys = sorted(allocation.slices, key=lambda key: (key[0], natural(key[1])))
    return [_slice(checked, site, allocation, subnet, nodes[name]) for subnet, name in keys]


def _slice(checked: Checked, site: Site, allocation: Allocation, subnet: str, node: ResolvedNode) -> SliceFigures:
    key = (subnet, node.name)
    ranges = allocation.slices[key]
    attachment = attachment_of(site, node, subnet)
    pinned = [item for name, item, _ in pins(site, node, attachment) if name == subnet] if attachment else []
    asked = attachment.pods if attachment and attachment.pods else 0
    source = "pinned" if pinned else "locked" if checked.lock.slices.get(key) == ranges else "new"
    return SliceFigures(node.name, subnet, ranges, asked, source, allocation.shims.get(key))


def subnets(site: Site, allocation: Allocation, cut: list[SliceFigures]) -> list[tuple[SubnetFigures, Land]]:
    """Give the numbers of every subnet, and how it is divided."""
    by_subnet: dict[str, list[SliceFigures]] = {}
    for item in cut:
        by_subnet.setdefault(item.subnet, []).append(item)
    return [(_subnet(land, by_subnet.get(name, [])), land) for name, land in lands(site, allocation).items()]


def _subnet(land: Land, cut: list[SliceFigures]) -> SubnetFigures:
    inside: dict[Use, int] = {}
    for piece in land.pieces:
        if piece.in_pool:
            inside[piece.use] = inside.get(piece.use, 0) + piece.range.size
    size = sum(inside.values())
    told = (Use.SLICE, Use.SHIM, Use.RESERVED, Use.QUARANTINE, Use.FREE)
    free = [piece.range.size for piece in land.pieces if piece.use is Use.FREE]
    unpinned = [item for item in cut if item.source != "pinned"]
    return SubnetFigures(
        name=land.ground.name,
        cidr=str(land.ground.subnet.cidr),
        pool=land.ground.pool,
        size=size,
        slices=inside.get(Use.SLICE, 0),
        shims=inside.get(Use.SHIM, 0),
        reserved=inside.get(Use.RESERVED, 0),
        quarantined=inside.get(Use.QUARANTINE, 0),
        other=size - sum(inside.get(use, 0) for use in told),
        free=inside.get(Use.FREE, 0),
        largest_free=max(free, default=0),
        outside=sum(piece.range.size for piece in land.pieces if piece.use is Use.SLICE and not piece.in_pool),
        asked=sum(item.pods for item in unpinned),
        waste=sum(item.waste for item in unpinned),
    )


def free_ranges(land: Land) -> Iterator[Range]:
    """Give what is free in a pool, in order."""
    return (piece.range for piece in land.pieces if piece.use is Use.FREE)


def as_values(figures: SubnetFigures, land: Land) -> Mapping[str, object]:
    """Give a subnet's numbers as JSON values."""
    return {
        "name": figures.name,
        "cidr": figures.cidr,
        "pool": [item.text for item in figures.pool],
        "size": figures.size,
        "utilisation": round(figures.utilisation, 4),
        "slices": figures.slices,
        "shims": figures.shims,
        "reserved": figures.reserved,
        "quarantined": figures.quarantined,
        "other": figures.other,
        "free": figures.free,
        "largestFree": figures.largest_free,
        "slicesOutsidePool": figures.outside,
        "podsAsked": figures.asked,
        "waste": figures.waste,
        "freeRanges": [item.text for item in free_ranges(land)],
    }
