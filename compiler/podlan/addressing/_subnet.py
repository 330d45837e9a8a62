"""The allotment of one subnet, step by step, in the order in which a fact beats a wish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import _refusals as refusals
from podlan.addressing._ranges import Addresses, Range
from podlan.addressing._room import Room
from podlan.addressing._wants import natural

if TYPE_CHECKING:
    from podlan.addressing._claims import Ground
    from podlan.addressing._lock import Lock
    from podlan.addressing._wants import Want
    from podlan.diagnostics import Finding
    from podlan.inventory import Site


class Allotment:
    """Who gets what of one subnet. `room` shrinks as addresses find their owners."""

    def __init__(
        self,
        site: Site,
        ground: Ground,
        lock: Lock,
        wants: list[Want],
        giving: frozenset[str],
        shrinking: frozenset[str],
    ) -> None:
        self.site = site
        self.ground = ground
        self.lock = lock
        self.wants = {want.name: want for want in wants}
        self.giving = giving
        self.shrinking = shrinking
        self.family = ground.network.family
        self.room = Room(ground.free())
        self.quarantine: set[tuple[str, Range]] = set()
        self.held: dict[str, tuple[Range, ...]] = {}
        self.holders: list[tuple[Range, str]] = []
        self.shims: dict[str, Range] = {}
        self.slices: dict[str, tuple[Range, ...]] = {}
        self.findings: list[Finding] = []

    def run(self) -> None:
        """Do every step; what cannot be given is in `findings`."""
        for step in (
            self._recall,
            self._take_leave,
            self._keep_pins,
            self._keep_shims,
            self._keep_slices,
            self._shrink,
            self._grow,
            self._new_shims,
            self._new_slices,
        ):
            step()

    def _locked(self, kind: dict[tuple[str, str], tuple[Range, ...]]) -> dict[str, tuple[Range, ...]]:
        return {node: held for (subnet, node), held in kind.items() if subnet == self.ground.name}

    def _recall(self) -> None:
        """Take from the lock what nodes that stay hold; a node that comes back finds its slice where it left it."""
        for node, ranges in self._locked(self.lock.slices).items():
            if node in self.wants and node not in self.giving:
                self.held[node] = ranges
        returning: dict[str, list[Range]] = {}
        for subnet, node, item in self.lock.quarantine:
            if subnet != self.ground.name:
                continue
            self.quarantine.add((node, item))
            want = self.wants.get(node)
            comes_back = want is not None and not want.pinned and node not in self.held and node not in self.giving
            if want is not None and comes_back and item.size >= want.pods:
                returning.setdefault(node, []).append(item)
        for node, items in returning.items():
            self.held[node] = (min(items),)
            self.quarantine.discard((node, min(items)))

    def _take_leave(self) -> None:
        """Quarantine what nodes give up or leave behind, except what another node holds too."""
        shims = {node: (item,) for (subnet, node), item in self.lock.shims.items() if subnet == self.ground.name}
        kept = Addresses(self.family, [item for ranges in self.held.values() for item in ranges])
        for node, held in shims.items():
            if self._keeps_shim(node):
                kept.add(held[0])
        for want in self.wants.values():
            for item in want.pinned:
                kept.add(item)
        left = [
            (node, item)
            for node, ranges in self._locked(self.lock.slices).items()
            for item in ranges
            if node not in self.held
        ]
        left += [(node, items[0]) for node, items in shims.items() if not self._keeps_shim(node)]
        for node, item in left:
            rest = Addresses(self.family, [item])
            for part in kept.within(item):
                rest.remove(part)
            self.quarantine |= {(node, part) for part in rest}
        for _, item in self.quarantine:
            self.room.own(item)

    def _keeps_shim(self, node: str) -> bool:
        want = self.wants.get(node)
        return want is not None and want.attachment.access.via == "shim" and node not in self.giving

    def _keep_pins(self) -> None:
        self._take_back()
        for want in self.wants.values():
            if not want.pinned:
                continue
            self.slices[want.name] = want.pinned
            left = Addresses(self.family, self.held.pop(want.name, ()))
            for item in want.pinned:
                left.remove(item)
                self.room.own(item)
                self.holders.append((item, want.name))
            for item in left:
                self.room.own(item)
                self.quarantine.add((want.name, item))

    def _take_back(self) -> None:
        """Let pins take their nodes' own quarantined addresses back, but not those of another; by one sweep."""
        pins = sorted((pin, want.name) for want in self.wants.values() for pin in want.pinned)
        waiting = 0
        for item, node in sorted((item, node) for node, item in self.quarantine):
            while waiting < len(pins) and pins[waiting][0].last < item.first:
                waiting += 1
            left = Addresses(item.family, [item])
            for pin, owner in pins[waiting:]:
                if pin.first > item.last:
                    break
                if owner == node:
                    left.remove(pin)
                elif pin.overlaps(item):
                    self.findings.append(refusals.pin_on_quarantine(self, self.wants[owner], node, item))
            self.quarantine.discard((node, item))
            self.quarantine |= {(node, rest) for rest in left}

    def _keep_shims(self) -> None:
        """Keep every locked shim address that is still nobody else's; its pool does not matter any more."""
        ground = Addresses(self.family, [self.ground.network])
        for item in (*(claim.range for claim in self.ground.claims), *(item for item, _ in self.holders)):
            ground.remove(item)
        for (subnet, node), address in sorted(self.lock.shims.items()):
            if subnet != self.ground.name or not self._keeps_shim(node):
                continue
            if ground.contains(address):
                self.shims[node] = address
                self.holders.append((address, node))
            else:
                self.findings.append(refusals.lost(self, self.wants[node], address, "shim"))
            self.room.free.remove(address)

    def _keep_slices(self) -> None:
        for node in sorted(self.held, key=natural):
            ranges = self.held[node]
            lost = next((item for item in ranges if not self.room.free.contains(item)), None)
            if lost is not None:
                self.findings.append(refusals.lost(self, self.wants[node], lost, "slice"))
                continue
            self.slices[node] = ranges
            for item in ranges:
                self.holders.append((item, node))
                self.room.own(item)

    def _shrink(self) -> None:
        """Keep the front of a slice that a person wants smaller; its end is quarantined."""
        for node in self.shrinking & self.slices.keys():
            want = self.wants[node]
            if want.pinned:
                continue
            left, kept = want.size, []
            for item in self.slices[node]:
                if left > 0:
                    kept.append(Range(item.family, item.first, min(item.last, item.first + left - 1)))
                    left -= kept[-1].size
                if not kept or kept[-1].last < item.last:
                    first = kept[-1].last + 1 if kept and item.contains(kept[-1]) else item.first
                    self.quarantine.add((node, Range(item.family, first, item.last)))
            self.slices[node] = tuple(kept)

    def _grow(self) -> None:
        for node, want in self.wants.items():
            ranges = self.slices.get(node)
            if ranges is None or want.pinned or sum(item.size for item in ranges) >= want.pods:
                continue
            grown = self._grown(want, ranges)
            if not grown:
                self.findings.append(refusals.cannot_grow(self, want, ranges))
                continue
            for item in grown:
                self.room.own(item)
            self.slices[node] = grown

    def _grown(self, want: Want, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
        """Give the larger slice that holds the old one, where all that it adds is free."""
        if len(ranges) == 1:
            old = ranges[0]
            for first in (old.first & -want.size, old.first):
                new = Range(old.family, first, first + want.size - 1)
                added = Addresses(old.family, [new])
                added.remove(old)
                if new.contains(old) and all(self.room.free.contains(item) for item in added):
                    return (new,)
        if not want.attachment.master.fragmented:
            return ()
        more = self.room.pieces(want.pods - sum(item.size for item in ranges))
        return tuple(Addresses(self.family, (*ranges, *more))) if more else ()

    def _new_shims(self) -> None:
        """Shim addresses come from their own pool, else from the pool's top, where they break no aligned block."""
        own: dict[tuple[Range, ...], Addresses] = {}
        for want in self.wants.values():
            pool = self._shim_pool(want)
            if pool and pool not in own:
                own[pool] = self._open_part(pool)
                for item in pool:
                    self.room.free.remove(item)
        missing = [
            want for want in self.wants.values() if want.attachment.access.via == "shim" and want.name not in self.shims
        ]
        for want in sorted(missing, key=lambda want: natural(want.name)):
            free = own.get(self._shim_pool(want), self.room.free)
            if not len(free):
                self.findings.append(refusals.no_shim(self, want))
                continue
            top = free[len(free) - 1]
            address = Range(top.family, top.last, top.last)
            free.remove(address)
            self.shims[want.name] = address

    def _shim_pool(self, want: Want) -> tuple[Range, ...]:
        written = (Range.of(item) for item in want.attachment.access.pool)
        return tuple(item for item in written if item.family == self.family)

    def _open_part(self, pool: tuple[Range, ...]) -> Addresses:
        free = Addresses(self.family, pool)
        taken = (claim.range for claim in self.ground.claims)
        for item in (*taken, *(item for item, _ in self.holders), *(item for _, item in self.quarantine)):
            free.remove(item)
        return free

    def _new_slices(self) -> None:
        """First fit, the largest first, so that small slices fill what large ones leave."""
        missing = [want for node, want in self.wants.items() if node not in self.slices and node not in self.held]
        unserved: list[Want] = []
        for want in sorted(missing, key=lambda want: (-want.size, natural(want.name))):
            found = self._find(want)
            for item in found:
                self.room.own(item)
            if found:
                self.slices[want.name] = found
            else:
                unserved.append(want)
        if unserved:
            self.findings.append(refusals.exhausted(self, unserved))

    def _find(self, want: Want) -> tuple[Range, ...]:
        clean = self.room.clean(want.size, want.step)
        if clean is not None:
            return (clean,)
        around = self.room.block(want.size, want.pods) if want.step > 1 else ()
        return around or (self.room.pieces(want.pods) if want.attachment.master.fragmented else ())
