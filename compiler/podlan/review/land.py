"""Who has what in a subnet: every address of it in exactly one piece, with its use and its owner.

Built from ranges only, by one sweep, so that a /8 or a v6 /64 costs no more than the ranges in it.
"""

from __future__ import annotations

import enum
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from podlan.addressing import Ground, Kind, Range, survey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.addressing import Allocation
    from podlan.inventory import Site


class Use(enum.Enum):
    """What an address is for; where several apply, the one that stands first here decides."""

    NETWORK = "network"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    GATEWAY = "gateway"
    NODE = "node"
    SLICE = "slice"
    SHIM = "shim"
    QUARANTINE = "quarantine"
    RESERVED = "reserved"
    DHCP = "dhcp"
    ROUTER = "router"
    SERVER = "dns-server"
    WITHHELD = "withheld"
    FREE_SHIM = "free-for-shims"
    FREE = "free"
    OUTSIDE = "outside-pool"


_RANKS = {use: rank for rank, use in enumerate(Use)}
OF_CLAIMS = {
    Kind.NETWORK: Use.NETWORK,
    Kind.BROADCAST: Use.BROADCAST,
    Kind.ANYCAST: Use.ANYCAST,
    Kind.GATEWAY: Use.GATEWAY,
    Kind.NODE: Use.NODE,
    Kind.RESERVED: Use.RESERVED,
    Kind.DHCP: Use.DHCP,
    Kind.ROUTER: Use.ROUTER,
    Kind.SERVER: Use.SERVER,
    Kind.WITHHELD: Use.WITHHELD,
}


class Piece(NamedTuple):
    """Neighbouring addresses with one use; `owner` is a node's name, or a reservation's reason."""

    range: Range
    use: Use
    owner: str = ""
    in_pool: bool = False


@dataclass(frozen=True, slots=True)
class Land:
    """One subnet, divided: `pieces` in order of address, with nothing between them; `uses` as they were given."""

    ground: Ground
    pieces: tuple[Piece, ...]
    uses: tuple[Piece, ...]

    def at(self, address: Range) -> Iterator[Piece]:
        """Give every use of an address, the one that decides first."""
        found = [use for use in self.uses if use.range.contains(address)]
        return iter(sorted(found, key=lambda use: _RANKS[use.use]))


def lands(site: Site, allocation: Allocation) -> dict[str, Land]:
    """Divide every subnet of a site."""
    uses: dict[str, list[Piece]] = {}
    for (subnet, node), items in allocation.slices.items():
        uses.setdefault(subnet, []).extend(Piece(item, Use.SLICE, node) for item in items)
    for (subnet, node), item in allocation.shims.items():
        uses.setdefault(subnet, []).append(Piece(item, Use.SHIM, node))
    for entry in sorted(allocation.lock.quarantine):
        uses.setdefault(entry.subnet, []).extend(Piece(item, Use.QUARANTINE, entry.node) for item in entry.ranges)
    return {name: _land(site, ground, uses.get(name, [])) for name, ground in survey(site).items()}


def _land(site: Site, ground: Ground, given: list[Piece]) -> Land:
    uses = [*given, Piece(ground.network, Use.OUTSIDE)]
    uses += [Piece(item, Use.FREE, in_pool=True) for item in ground.pool]
    uses += [Piece(item, Use.FREE_SHIM) for item in _shim_pools(site, ground)]
    uses += [
        Piece(claim.range, OF_CLAIMS[claim.kind], claim.owner or claim.reason)
        for claim in ground.claims
        if claim.kind in OF_CLAIMS
    ]
    # What is quarantined may lie outside a subnet that was narrowed.
    inside = [use for use in uses if use.range.overlaps(ground.network)]
    return Land(ground, tuple(_divide(inside)), tuple(inside))


def _shim_pools(site: Site, ground: Ground) -> Iterator[Range]:
    for master in site.inventory.masters.values():
        for written in master.host_access.pool:
            item = Range.of(written)
            if ground.name in master.subnets and item.overlaps(ground.network):
                yield item


def _divide(uses: list[Piece]) -> Iterator[Piece]:
    """Sweep over the uses' ends and give, between two of them, the use that decides."""
    events = sorted(
        [(use.range.first, 1, index) for index, use in enumerate(uses)]
        + [(use.range.last + 1, 0, index) for index, use in enumerate(uses)]
    )
    family = uses[0].range.family
    active: list[tuple[int, str, int]] = []
    pools, start, last = 0, 0, None
    for position, is_begin, index in events:
        if position > start and active:
            while active and uses[active[0][2]].range.last < start:
                heapq.heappop(active)
            if active:
                top = uses[active[0][2]]
                piece = Piece(Range(family, start, position - 1), top.use, top.owner, pools > 0)
                if last is not None and last[1:] == piece[1:] and last.range.last + 1 == start:
                    last = piece._replace(range=Range(family, last.range.first, position - 1))
                else:
                    if last is not None:
                        yield last
                    last = piece
        start = position
        pools += (1 if is_begin else -1) * uses[index].in_pool
        if is_begin:
            heapq.heappush(active, (_RANKS[uses[index].use], uses[index].owner, index))
    if last is not None:
        yield last
