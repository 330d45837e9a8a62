"""The allotment of one subnet, step by step, in the order in which a fact beats a wish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from podlan.addressing import _refusals as refusals
from podlan.addressing._claims import Kind
from podlan.addressing._lock import Quarantined
from podlan.addressing._ranges import Addresses, Range
from podlan.addressing._room import Room
from podlan.addressing._wants import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.addressing._claims import Ground
    from podlan.addressing._lock import Lock
    from podlan.addressing._wants import Decisions, Want
    from podlan.diagnostics import Finding
    from podlan.inventory import Site

Ranges = tuple[Range, ...]


class Allotment:
    """Who gets what of one subnet.

    Every address has at most one of these fates, and `grant` asserts it: claimed by something that is no slice
    (`taken`), granted to a node as slice or shim (`granted`), given up and not released (`blocked`), or free.
    """

    def __init__(
        self,
        site: Site,
        ground: Ground,
        lock: Lock,
        wants: Iterable[Want],
        known: Iterable[Quarantined],
        decisions: Decisions,
    ) -> None:
        self.site = site
        self.ground = ground
        self.lock = lock
        self.wants = {want.name: want for want in wants}
        self.decisions = decisions
        self.family = ground.network.family
        self.taken = self._set(claim.range for claim in ground.claims if claim.kind is not Kind.PIN)
        self.pins = self._set(item for want in self.wants.values() for item in want.pinned)
        self.granted = self._set()
        self.old: dict[str, list[Quarantined]] = {}
        """What nodes gave up earlier in this subnet: their own again when they want it."""
        self.elsewhere: list[Quarantined] = []
        """What was given up under the name of another subnet, and what this subnet's family no longer holds."""
        self.fresh: list[Quarantined] = []
        """What nodes give up now."""
        self._sort(known)
        self.blocked = self._set(item for entry in self._quarantined() for item in entry.ranges)
        self.slices: dict[str, Ranges] = {}
        self.shims: dict[str, Range] = {}
        self.findings: list[Finding] = []
        self.room = Room(self._set())
        self.shim_pools: dict[Ranges, Addresses] = {}

    def run(self) -> None:
        """Do every step; what cannot be given is in `findings`."""
        held, shims = self._recall()
        self._pin()
        self._keep_shims(shims)
        self._keep_slices(held)
        self._open()
        self._shrink()
        self._grow()
        self._come_back()
        self._new_shims()
        self._new_slices()

    def quarantine(self) -> set[Quarantined]:
        """Give what is quarantined of this subnet now."""
        return {entry for entry in self._quarantined() if entry.subnet == self.ground.name}

    def blocking(self) -> Iterator[Quarantined]:
        """Give every entry of a quarantine that lies in this subnet, under whatever name."""
        return self._quarantined()

    def _quarantined(self) -> Iterator[Quarantined]:
        for entries in self.old.values():
            yield from entries
        yield from self.elsewhere
        yield from self.fresh

    def _set(self, items: Iterable[Range] = ()) -> Addresses:
        return Addresses(self.family, (item for item in items if item.family == self.family))

    def _sort(self, known: Iterable[Quarantined]) -> None:
        for entry in known:
            if entry.subnet == self.ground.name and entry.ranges[0].family == self.family:
                self.old.setdefault(entry.node, []).append(entry)
            elif entry.subnet == self.ground.name or any(item.overlaps(self.ground.network) for item in entry.ranges):
                self.elsewhere.append(entry)

    def _recall(self) -> tuple[dict[str, Ranges], dict[str, Range]]:
        """Take from the lock what nodes hold that stay; what others held is given up now."""
        held: dict[str, Ranges] = {}
        shims: dict[str, Range] = {}
        for (subnet, node), ranges in self.lock.slices.items():
            want = self.wants.get(node)
            if subnet != self.ground.name:
                continue
            if want is None or ranges[0].family != self.family:
                self._give_up(node, "slice", ranges)
            elif want.pinned:
                self._give_up(node, "slice", self._without(ranges, want.pinned))
            else:
                held[node] = ranges
        for (subnet, node), address in self.lock.shims.items():
            want = self.wants.get(node)
            if subnet != self.ground.name:
                continue
            if want is None or not self._has_shim(want) or address.family != self.family:
                self._give_up(node, "shim", (address,))
            elif not any(item.contains(address) for item in want.pinned):
                shims[node] = address
        return held, shims

    def _give_up(self, node: str, kind: Literal["slice", "shim"], ranges: Ranges) -> None:
        if not ranges:
            return
        entry = Quarantined(self.ground.name, node, kind, ranges)
        if ranges[0].family != self.family:
            self.elsewhere.append(entry)
            return
        self.fresh.append(entry)
        for item in ranges:
            self.blocked.add(item)

    def _without(self, ranges: Ranges, other: Iterable[Range]) -> Ranges:
        left = self._set(ranges)
        for item in other:
            left.remove(item)
        return tuple(left)

    def _grant(self, node: str, kind: Literal["slice", "shim"], ranges: Ranges) -> None:
        for item in ranges:
            assert not any(self.granted.within(item)), f"{item} is granted to {node} and to another"  # noqa: S101 - only a mistake of the steps above can break it
            self.granted.add(item)
            if kind == "slice":
                self.room.own(item)
            else:
                self.room.free.remove(item)
            for pool in self.shim_pools.values():
                pool.remove(item)
            self._use_again(node, item)

    def _use_again(self, node: str, item: Range) -> None:
        """Cut out of a node's own quarantine what it has again."""
        entries = self.old.get(node)
        if not entries or not any(self.blocked.within(item)):
            return
        cut = [entry._replace(ranges=self._without(entry.ranges, [item])) for entry in entries]
        self.old[node] = [entry for entry in cut if entry.ranges]

    def _is_others(self, node: str, item: Range) -> bool:
        """Tell whether any address of the range is quarantined for another node."""
        parts = list(self.blocked.within(item))
        if not parts:
            return False
        own = self._set(part for entry in self.old.get(node, []) for part in entry.ranges)
        return not all(own.contains(part) for part in parts)

    def _pin(self) -> None:
        """Grant pins; addresses that another node gave up are refused, now as later."""
        pins = sorted((item, want.name) for want in self.wants.values() for item in want.pinned)
        waiting = 0
        given_up = sorted((item, entry) for entry in self._quarantined() for item in entry.ranges)
        for item, entry in given_up:
            while waiting < len(pins) and pins[waiting][0].last < item.first:
                waiting += 1
            for pin, owner in pins[waiting:]:
                if pin.first > item.last:
                    break
                if owner != entry.node and pin.overlaps(item):
                    self.findings.append(refusals.pin_on_quarantine(self, self.wants[owner], entry))
        for want in self.wants.values():
            if want.pinned:
                self.slices[want.name] = want.pinned
                self._grant(want.name, "slice", want.pinned)

    def _stays(self, node: str, kind: Literal["slice", "shim"], ranges: Ranges) -> bool:
        """Tell whether what the lock holds can stay; if not, it is given up where the node may move, else a finding."""
        lost = next((item for item in ranges if self._is_obstructed(node, item)), None)
        if lost is None:
            self._grant(node, kind, ranges)
            return True
        if node not in self.decisions.move:
            self.findings.append(refusals.lost(self, self.wants[node], lost, kind))
            return False
        self.findings += refusals.pins_on(self, node, ranges)
        self._give_up(node, kind, self._without(ranges, self.granted))
        return False

    def _is_obstructed(self, node: str, item: Range) -> bool:
        return (
            not self.ground.network.contains(item)
            or any(self.taken.within(item))
            or any(self.pins.within(item))
            or any(self.granted.within(item))
            or self._is_others(node, item)
        )

    def _keep_shims(self, shims: dict[str, Range]) -> None:
        for node in sorted(shims, key=natural):
            if self._stays(node, "shim", (shims[node],)):
                self.shims[node] = shims[node]

    def _keep_slices(self, held: dict[str, Ranges]) -> None:
        """Keep every slice that nothing is in the way of; the pool limits new slices only."""
        pool = self._set(self.ground.pool)
        for node in sorted(held, key=natural):
            if not self._stays(node, "slice", held[node]):
                continue
            self.slices[node] = held[node]
            if not all(pool.contains(item) for item in held[node]):
                self.findings.append(refusals.outside_pool(self, self.wants[node], held[node]))

    def _open(self) -> None:
        """Make out what is free: for slices the pool without shims' own pools, for shims those pools."""
        written = {self._shim_pool(want) for want in self.wants.values()}
        gone = (*self.taken, *self.granted, *self.blocked)
        free = self._set(self.ground.pool)
        for item in (*gone, *(item for pool in written for item in pool)):
            free.remove(item)
        self.room = Room(free)
        for item in (*self.blocked, *(item for ranges in self.slices.values() for item in ranges)):
            self.room.own(item)
        for pool in written - {()}:
            addresses = self._set(pool)
            for item in gone:
                addresses.remove(item)
            self.shim_pools[pool] = addresses

    def _has_shim(self, want: Want) -> bool:
        return want.attachment.has_shim(self.family)

    def _shim_pool(self, want: Want) -> Ranges:
        written = (Range.of(item) for item in want.attachment.access.pool)
        return tuple(item for item in written if item.family == self.family)

    def _shrink(self) -> None:
        """Keep the front of a slice that a person wants smaller; its end is quarantined."""
        for node in sorted(self.decisions.shrink & self.slices.keys()):
            want, left = self.wants[node], self.wants[node].size
            if want.pinned:
                continue
            kept: list[Range] = []
            for item in self.slices[node]:
                if left > 0:
                    kept.append(Range(item.family, item.first, min(item.last, item.first + left - 1)))
                    left -= kept[-1].size
            self._give_up(node, "slice", self._without(self.slices[node], kept))
            self.slices[node] = tuple(kept)

    def _grow(self) -> None:
        for node, want in self.wants.items():
            ranges = self.slices.get(node)
            if ranges is None or want.pinned or sum(item.size for item in ranges) >= want.pods:
                continue
            grown = self._grown(want, ranges)
            if grown:
                self._grant(node, "slice", self._without(grown, ranges))
                self.slices[node] = grown
            elif node in self.decisions.move:
                self._give_up(node, "slice", self.slices.pop(node))
            else:
                self.findings.append(refusals.cannot_grow(self, want, ranges))

    def _grown(self, want: Want, ranges: Ranges) -> Ranges:
        """Give the larger slice that holds the old one, where all that it adds is free, or the node's own again."""
        if len(ranges) == 1:
            old = ranges[0]
            own = [item for entry in self.old.get(want.name, []) for item in entry.ranges]
            for first in (old.first & -want.size, old.first):
                new = Range(old.family, first, first + want.size - 1)
                added = self._without((new,), [old])
                missing = self._without(added, [*self.room.free.within(new), *own])
                if (
                    new.contains(old)
                    and not missing
                    and not any(self._is_obstructed(want.name, item) for item in added)
                ):
                    return (new,)
        if not want.attachment.master.fragmented:
            return ()
        more = self.room.pieces(want.pods - sum(item.size for item in ranges))
        return tuple(self._set((*ranges, *more))) if more else ()

    def _come_back(self) -> None:
        """Let a node that comes back find its slice and its shim where it left them."""
        for node, want in self.wants.items():
            for entry in sorted(self.old.get(node, []), key=lambda entry: (-entry.size, entry)):
                if any(self._is_obstructed(node, item) for item in entry.ranges):
                    continue
                if entry.kind == "slice" and node not in self.slices and entry.size >= want.pods:
                    self._grant(node, "slice", entry.ranges)
                    self.slices[node] = entry.ranges
                elif entry.kind == "shim" and node not in self.shims and self._has_shim(want):
                    self._grant(node, "shim", entry.ranges)
                    self.shims[node] = entry.ranges[0]

    def _new_shims(self) -> None:
        """Shim addresses come from their own pool, else from the pool's top, where they break no aligned block."""
        for node in sorted(self.wants, key=natural):
            want = self.wants[node]
            if not self._has_shim(want) or node in self.shims:
                continue
            free = self.shim_pools.get(self._shim_pool(want), self.room.free)
            if not len(free):
                self.findings.append(refusals.no_shim(self, want))
                continue
            top = free[len(free) - 1]
            self.shims[node] = Range(top.family, top.last, top.last)
            self._grant(node, "shim", (self.shims[node],))

    def _new_slices(self) -> None:
        """First fit, the largest first, so that small slices fill what large ones leave."""
        unserved: list[Want] = []
        missing = [want for node, want in self.wants.items() if node not in self.slices]
        if any(finding.code != "PL511" for finding in self.findings):
            return  # what follows from a finding would only be noise
        for want in sorted(missing, key=lambda want: (-want.size, natural(want.name))):
            found = self._find(want)
            if found:
                self._grant(want.name, "slice", found)
                self.slices[want.name] = found
            else:
                unserved.append(want)
        if unserved:
            self.findings.append(refusals.exhausted(self, unserved))

    def _find(self, want: Want) -> Ranges:
        clean = self.room.clean(want.size, want.step)
        if clean is not None:
            return (clean,)
        around = self.room.block(want.size, want.pods) if want.step > 1 else ()
        return around or (self.room.pieces(want.pods) if want.attachment.master.fragmented else ())
