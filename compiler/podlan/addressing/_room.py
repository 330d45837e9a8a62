"""Finding room for a new slice: a clean block first, then a block around what is taken, then pieces."""

from __future__ import annotations

import heapq
import math

from podlan.addressing._ranges import Addresses, Range

MOST_PIECES = 32
"""Ranges that a fragmented slice may have; each is several routes on the host."""


class Room:
    """The free addresses of one subnet, and those that belong to a slice, a pin or a quarantine.

    `free` shrinks as addresses find their owners. What is neither free nor owned (the gateway, a node's address,
    a reservation, the world outside the pool) may lie inside an aligned block and is cut out of it.
    """

    def __init__(self, free: Addresses) -> None:
        self.free = free
        self.owned = Addresses(free.family)
        self._start: dict[tuple[int, int], int] = {}
        self._too_many: float = math.inf

    def own(self, item: Range) -> None:
        """Take addresses out for a slice, a pin or a quarantine."""
        self.free.remove(item)
        self.owned.add(item)

    def clean(self, size: int, step: int) -> Range | None:
        """Find the first range of a size that begins at a multiple of `step` and is wholly free.

        What lies before the place found last was too small for this size, and since `free` only shrinks it still is.
        """
        for index in range(self.free.index(self._start.get((size, step), 0)), len(self.free)):
            item = self.free[index]
            first = -(-item.first // step) * step
            self._start[(size, step)] = item.first
            if first + size - 1 <= item.last:
                return Range(item.family, first, first + size - 1)
        return None

    def block(self, size: int, pods: int) -> tuple[Range, ...]:
        """Find the first aligned block of nobody's that holds enough free addresses, and give those."""
        start = self._start.get((size, -pods), 0)
        for index in range(self.free.index(start), len(self.free)):
            item = self.free[index]
            self._start[(size, -pods)] = item.first
            for first in dict.fromkeys((item.first & -size, item.last & -size)):
                block = Range(item.family, first, first + size - 1)
                inside = tuple(self.free.within(block))
                if sum(part.size for part in inside) >= pods and not any(self.owned.within(block)):
                    return inside
        return ()

    def pieces(self, pods: int) -> tuple[Range, ...]:
        """Gather free ranges, the largest first so that they are few, until there are enough addresses."""
        if pods >= self._too_many:
            return ()
        found: list[Range] = []
        missing = pods
        for item in heapq.nsmallest(MOST_PIECES, self.free, key=lambda item: (-item.size, item)):
            if missing <= 0:
                break
            found.append(Range(item.family, item.first, min(item.last, item.first + missing - 1)))
            missing -= found[-1].size
        if missing > 0:
            self._too_many = min(self._too_many, pods)
            return ()
        return tuple(sorted(found))
