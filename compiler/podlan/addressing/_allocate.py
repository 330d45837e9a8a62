"""Slices for every node of every subnet: pins first, then what the lock remembers, then the first free place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.addressing._claims import Ground, Kind, pins, subnets_of
from podlan.addressing._lock import Lock
from podlan.addressing._ranges import Addresses, Range
from podlan.diagnostics import Finding, Place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from podlan.inventory import Attachment, ResolvedNode, Site
    from podlan.source import KeyPath

_SHOWN = 3


@dataclass(slots=True)
class Allocation:
    """What every node owns, by (subnet, node); `lock` is what the lock's file must say now."""

    slices: dict[tuple[str, str], tuple[Range, ...]] = field(default_factory=dict)
    shims: dict[tuple[str, str], Range] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Want:
    """A node that needs addresses of one subnet."""

    node: ResolvedNode
    attachment: Attachment
    pinned: tuple[Range, ...]
    pods: int
    size: int

    @property
    def name(self) -> str:
        return self.node.name


def allocate(
    site: Site, grounds: Mapping[str, Ground], lock: Lock, *, move: Collection[str] = frozenset()
) -> Allocation:
    """Give every node its slice and its shim address.

    A slice that the lock holds stays as long as it still serves its node; one that is too small grows in
    place where its neighbours allow. A node in `move` gives up what the lock holds for it. What a node gave
    up, or a node that is gone held, is quarantined and given to nobody. The result depends on names and
    numbers only, never on the order in which they are written.
    """
    result = Allocation()
    quarantine: set[tuple[str, str, Range]] = set()
    by_subnet = _wants(site)
    for name, ground in grounds.items():
        worker = _Subnet(site, ground, lock, by_subnet.get(name, []), frozenset(move))
        worker.run(result)
        quarantine |= {(name, node, item) for node, item in worker.quarantine}
    gone = {key for key in (*lock.slices, *lock.shims) if key[0] not in grounds}
    for key in gone:
        quarantine |= {(*key, item) for item in lock.slices.get(key, ())}
        quarantine |= {(*key, item) for item in [lock.shims[key]] if item} if key in lock.shims else set()
    quarantine |= {entry for entry in lock.quarantine if entry[0] not in grounds}
    meta = {"name": str(site.inventory.cni.name), "dataDir": site.inventory.cni.data_dir}
    result.lock = Lock(meta, dict(result.slices), dict(result.shims), frozenset(quarantine))
    return result


def _wants(site: Site) -> dict[str, list[_Want]]:
    wants: dict[str, list[_Want]] = {}
    for node in site.nodes:
        for attachment in node.attachments:
            pinned = list(pins(site, node, attachment))
            pods = attachment.pods or max((item.size for _, item, _ in pinned), default=0)
            for name in subnets_of(site, attachment):
                own = tuple(sorted(item for subnet, item, _ in pinned if subnet == name))
                if own or pods:
                    want = _Want(node, attachment, own, pods, _size(attachment, pods))
                    wants.setdefault(name, []).append(want)
    return wants


def _size(attachment: Attachment, pods: int) -> int:
    """How many addresses a slice of so many pods takes: aligned ones are rounded up to a power of two."""
    return pods if attachment.master.allocate == "packed" else 1 << (pods - 1).bit_length()


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key by which node-9 comes before node-10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name))


class _Subnet:
    """The allocation of one subnet, step by step; `free` shrinks as addresses find their owners."""

    def __init__(self, site: Site, ground: Ground, lock: Lock, wants: list[_Want], move: frozenset[str]) -> None:
        self.site = site
        self.ground = ground
        self.lock = lock
        self.wants = wants
        self.move = move
        self.free = ground.free()
        self.quarantine: set[tuple[str, Range]] = set()
        self.held: dict[str, tuple[Range, ...]] = {}
        self.holders: list[tuple[Range, str]] = []
        self.shims: dict[str, Range] = {}
        self.slices: dict[str, tuple[Range, ...]] = {}
        self.findings: list[Finding] = []

    def run(self, result: Allocation) -> None:
        """Do the steps in the order in which a fact beats a wish."""
        self._recall()
        self._keep_pins()
        self._keep_shims()
        self._keep_slices()
        self._grow()
        self._new_shims()
        self._new_slices()
        name = self.ground.name
        result.slices |= {(name, node): ranges for node, ranges in self.slices.items()}
        result.shims |= {(name, node): address for node, address in self.shims.items()}
        result.findings += self.findings

    def _recall(self) -> None:
        """Sort what the lock remembers into what nodes still hold and what is quarantined."""
        wanted = {want.name for want in self.wants}
        unpinned = {want.name for want in self.wants if not want.pinned}
        for (subnet, node), ranges in self.lock.slices.items():
            if subnet == self.ground.name:
                if node in wanted and node not in self.move:
                    self.held[node] = ranges
                else:
                    self.quarantine |= {(node, item) for item in ranges}
        returning: dict[str, list[Range]] = {}
        for subnet, node, item in self.lock.quarantine:
            if subnet == self.ground.name:
                self.quarantine.add((node, item))
                if node in unpinned and node not in self.held and node not in self.move:
                    returning.setdefault(node, []).append(item)
        for want in self.wants:
            # A node that comes back finds its addresses where it left them.
            items = sorted(item for item in returning.get(want.name, []) if item.size >= want.pods)
            if items:
                self.held[want.name] = (items[0],)
                self.quarantine.discard((want.name, items[0]))
        for _, item in self.quarantine:
            self.free.remove(item)

    def _keep_pins(self) -> None:
        for want in self.wants:
            if not want.pinned:
                continue
            self.slices[want.name] = want.pinned
            self._set_free_of_quarantine(want)
            left = Addresses(self.ground.network.family, self.held.pop(want.name, ()))
            for item in want.pinned:
                left.remove(item)
                self.holders.append((item, want.name))
            for item in left:
                self.free.remove(item)
                self.quarantine.add((want.name, item))

    def _set_free_of_quarantine(self, want: _Want) -> None:
        """Let a pin take the node's own quarantined addresses back, but not those of another."""
        for node, item in sorted(self.quarantine):
            if not any(item.overlaps(pin) for pin in want.pinned):
                continue
            if node == want.name:
                self.quarantine.discard((node, item))
                left = Addresses(item.family, [item])
                for pin in want.pinned:
                    left.remove(pin)
                self.quarantine |= {(node, rest) for rest in left}
            else:
                message = f"the slice pinned for {want.name} holds {item}, which is quarantined since {node} gave it up"
                hint = f"make sure that nothing answers there any more, then `podlan release SITE {node}`"
                self._report("PL504", message, want, hint)

    def _keep_shims(self) -> None:
        """Keep every locked shim address that is still nobody else's; its pool does not matter any more."""
        by_name = {want.name: want for want in self.wants}
        ground = Addresses(self.ground.network.family, [self.ground.network])
        for item in (*(claim.range for claim in self.ground.claims), *(item for item, _ in self.holders)):
            ground.remove(item)
        for (subnet, node), address in sorted(self.lock.shims.items()):
            if subnet != self.ground.name:
                continue
            want = by_name.get(node)
            if want is None or want.attachment.access.via != "shim" or node in self.move:
                self.quarantine.add((node, address))
            elif ground.contains(address):
                self.shims[node] = address
                self.holders.append((address, node))
                ground.remove(address)
            else:
                self._report_lost(want, address, "shim address")
            self.free.remove(address)

    def _keep_slices(self) -> None:
        by_name = {want.name: want for want in self.wants}
        for node in sorted(self.held, key=natural):
            want, ranges = by_name[node], self.held[node]
            if all(self.free.contains(item) for item in ranges):
                self.slices[node] = ranges
                self.holders += [(item, node) for item in ranges]
                for item in ranges:
                    self.free.remove(item)
            else:
                lost = next(item for item in ranges if not self.free.contains(item))
                self._report_lost(want, lost, "slice")

    def _grow(self) -> None:
        for want in self.wants:
            ranges = self.slices.get(want.name)
            if ranges is None or want.pinned or sum(item.size for item in ranges) >= want.pods:
                continue
            grown = self._grown(want, ranges)
            if grown is not None:
                self.free.remove(grown)
                self.slices[want.name] = (grown,)
                continue
            have = sum(item.size for item in ranges)
            message = (
                f"{want.name} wants {want.pods} pods, but its slice {ranges[0]} has {have} and cannot grow in place"
            )
            hint = (
                f"`podlan compile --move {want.name}` gives it a new slice; its {have} addresses are then quarantined"
            )
            self._report("PL505", message, want, hint)

    def _grown(self, want: _Want, ranges: tuple[Range, ...]) -> Range | None:
        """Give the larger slice that holds the old one, where all that it adds is free."""
        if len(ranges) != 1:
            return None
        old = ranges[0]
        aligned = old.first & -want.size
        for first in (aligned, old.first):
            new = Range(old.family, first, first + want.size - 1)
            added = Addresses(old.family, [new])
            added.remove(old)
            if new.contains(old) and all(self.free.contains(item) for item in added):
                return new
        return None

    def _new_shims(self) -> None:
        """Shim addresses come from their own pool, else from the pool's top, where they break no aligned block."""
        own: dict[tuple[Range, ...], Addresses] = {}
        for want in self.wants:
            pool = self._shim_pool(want)
            if pool and pool not in own:
                own[pool] = self._open_part(pool)
                for item in pool:
                    self.free.remove(item)
        missing = [want for want in self.wants if want.attachment.access.via == "shim" and want.name not in self.shims]
        for want in sorted(missing, key=lambda want: natural(want.name)):
            free = own.get(self._shim_pool(want), self.free)
            if not len(free):
                message = f"no address is left in {self.ground.name} for the shim of {want.name}"
                hint = "widen hostAccess.pool or the subnet's pool, or set hostAccess.via to none"
                self._report("PL205", message, want, hint)
                continue
            top = free[len(free) - 1]
            address = Range(top.family, top.last, top.last)
            free.remove(address)
            self.shims[want.name] = address

    def _shim_pool(self, want: _Want) -> tuple[Range, ...]:
        written = (Range.of(item) for item in want.attachment.access.pool)
        return tuple(item for item in written if item.family == self.ground.network.family)

    def _open_part(self, pool: tuple[Range, ...]) -> Addresses:
        free = Addresses(self.ground.network.family, pool)
        for item in (claim.range for claim in self.ground.claims):
            free.remove(item)
        for item, _ in self.holders:
            free.remove(item)
        for _, item in self.quarantine:
            free.remove(item)
        return free

    def _new_slices(self) -> None:
        """First fit, the largest first, so that small slices fill what large ones leave."""
        missing = [want for want in self.wants if want.name not in self.slices and want.name not in self.held]
        start: dict[tuple[int, int], int] = {}
        unserved: list[_Want] = []
        for want in sorted(missing, key=lambda want: (-want.size, natural(want.name))):
            step = 1 if want.attachment.master.allocate == "packed" else want.size
            found = self._first_fit(want.size, step, start)
            if found is None:
                unserved.append(want)
            else:
                self.free.remove(found)
                self.slices[want.name] = (found,)
        if unserved:
            self._report_exhausted(unserved)

    def _first_fit(self, size: int, step: int, start: dict[tuple[int, int], int]) -> Range | None:
        """Find the first free place; ranges before `start` were too small for this size and still are."""
        index = start.get((size, step), 0)
        while index < len(self.free):
            item = self.free[index]
            first = -(-item.first // step) * step
            if first + size - 1 <= item.last:
                start[(size, step)] = index
                return Range(item.family, first, first + size - 1)
            index += 1
        start[(size, step)] = index
        return None

    def _report_exhausted(self, unserved: list[_Want]) -> None:
        name = self.ground.name
        names = ", ".join(want.name for want in unserved[:_SHOWN])
        more = f" and {len(unserved) - _SHOWN} more" if len(unserved) > _SHOWN else ""
        largest = max((item.size for item in self.free), default=0)
        sizes = sorted({want.size for want in unserved})
        kind = "" if unserved[0].attachment.master.allocate == "packed" else ", aligned to their number"
        message = (
            f"the pool of {name} is exhausted: no {' or '.join(map(str, sizes))} addresses in a row{kind} for "
            f"{names}{more}; {self.free.size} are free, at most {largest} in a row"
        )
        pool: KeyPath = ("subnets", name, "pool")
        place = self.site.place(pool if self.site.source.has(pool) else ("subnets", name, "cidr"))
        also = [self._place(want, f"wants {want.size}") for want in unserved[:_SHOWN]]
        hint = "widen the pool, lower pods or podsPerNode, `allocate: packed`, or release what is quarantined"
        self.findings.append(Finding("PL205", message, place, hint=hint, also=tuple(p for p in also if p)))

    def _report_lost(self, want: _Want, item: Range, what: str) -> None:
        """Say why what the lock holds cannot stay: another has it, it means something else, or the pool shrank."""
        key = ("shim" if what != "slice" else "slice", self.ground.name, want.name)
        place = self.lock.places.get(key)
        other = next((name for taken, name in self.holders if taken.overlaps(item) and name != want.name), None)
        claim = next((claim for claim in self.ground.claims if claim.range.overlaps(item)), None)
        if claim is not None:
            at = self.site.place(claim.path, label=f"{claim.kind.value} stands here")
            reason = f"holds {claim}"
        elif other is not None:
            at = self.lock.places.get(("slice", self.ground.name, other))
            at = at.labelled(f"{other} has it here") if at else None
            reason = f"overlaps what {other} has"
        else:
            at = self.site.place(("subnets", self.ground.name), key=True, label="the pool is here")
            reason = "is no longer in the pool, or is quarantined"
        message = f"the locked {what} {item} of {want.name} {reason}"
        who = claim.owner if claim is not None and claim.kind is Kind.PIN else other
        hint = f"`podlan compile --move {want.name}` gives it new addresses" + (
            f", or free them on {who}'s side" if who else ""
        )
        inventory = self._place(want, f"{want.name} is here")
        also = tuple(spot for spot in (at, inventory) if spot is not None)
        self.findings.append(Finding("PL503", message, place, hint=hint, also=also))

    def _place(self, want: _Want, label: str) -> Place | None:
        return self.site.place(("nodes", want.name), key=True, label=label)

    def _report(self, code: str, message: str, want: _Want, hint: str) -> None:
        locked = self.lock.places.get(("slice", self.ground.name, want.name))
        also: Iterable[Place] = [locked.labelled("its locked slice")] if locked else []
        place = self.site.place(self.site.origin(want.node, "masters", want.attachment.name, "pods"))
        self.findings.append(Finding(code, message, place, hint=hint, also=tuple(also)))
