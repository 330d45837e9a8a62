"""What every node asks for in every subnet, and what people have decided about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from podlan.addressing._claims import pins, subnets_of

if TYPE_CHECKING:
    from podlan.addressing._lock import Lock
    from podlan.addressing._ranges import Range
    from podlan.inventory import Attachment, ResolvedNode, Site


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a person decided for one compile, by node names.

    `move`: give up what the lock holds and get new addresses. `keep`: stay where another node claims the same
    addresses; the other moves. `shrink`: give the end of a slice back that is larger than asked for. `base`: the
    lock before a merge; of two nodes with the same addresses the one that it does not know moves.
    """

    move: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    shrink: frozenset[str] = frozenset()
    base: Lock | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A node that needs addresses of one subnet: for so many pods, in a slice of so many addresses."""

    node: ResolvedNode
    attachment: Attachment
    pinned: tuple[Range, ...]
    pods: int
    size: int

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def step(self) -> int:
        """At which multiples a slice may begin."""
        return 1 if self.attachment.master.allocate == "packed" else self.size


def wants(site: Site) -> dict[str, list[Want]]:
    """Collect what nodes ask for, by subnet; in each the nodes are sorted by name."""
    found: dict[str, list[Want]] = {}
    for node in site.nodes:
        for attachment in node.attachments:
            if not attachment.has_slices:
                continue
            pinned = list(pins(site, node, attachment))
            pods = attachment.pods or max(
                (sum(item.size for name, item, _ in pinned if name == subnet) for subnet, _, _ in pinned), default=0
            )
            for name in subnets_of(site, attachment):
                own = tuple(sorted(item for subnet, item, _ in pinned if subnet == name))
                if own or pods:
                    found.setdefault(name, []).append(Want(node, attachment, own, pods, _size(attachment, pods)))
    return found


def networks(site: Site) -> dict[str, dict[str, str]]:
    """Name the networks in which addresses of a subnet are given, by subnet: {name of the network: a master of it}.

    A secondary master's network has its name, that of all others is cni.name. host-local keeps reservations by it.
    """
    found: dict[str, dict[str, str]] = {}
    for node in site.nodes:
        for attachment in node.attachments:
            if attachment.has_slices:
                network = attachment.name if attachment.master.secondary else str(site.inventory.cni.name)
                for subnet in subnets_of(site, attachment):
                    found.setdefault(subnet, {}).setdefault(network, attachment.name)
    return found


def _size(attachment: Attachment, pods: int) -> int:
    """How many addresses a slice of so many pods takes: aligned ones are rounded up to a power of two."""
    return pods if attachment.master.allocate == "packed" else 1 << (pods - 1).bit_length()


@cache
def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key by which node-9 comes before node-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name))
