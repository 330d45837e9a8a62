"""Why an allotment cannot be: who is in the way, how much is missing, and what would free it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing._lock import Quarantined
from podlan.addressing._wants import natural
from podlan.diagnostics import Finding, Severity

if TYPE_CHECKING:
    from podlan.addressing._ranges import Range
    from podlan.addressing._subnet import Allotment
    from podlan.addressing._wants import Want
    from podlan.diagnostics import Place

_SHOWN = 3


def pin_on_quarantine(allotment: Allotment, want: Want, entry: Quarantined) -> Finding:
    """Refuse a pin on addresses that another node gave up and that may still be answered."""
    held = ", ".join(map(str, entry.ranges))
    if entry in allotment.fresh:
        message = f"the slice pinned for {want.name} takes {held} that {entry.node} gives up only now"
        hint = f"compile without the pin first; then `podlan release SITE {entry.node}` when nothing answers there"
    else:
        message = f"the slice pinned for {want.name} holds {held}, which is quarantined since {entry.node} gave it up"
        hint = f"make sure that nothing answers there any more, then `podlan release SITE {entry.node}`"
    at = allotment.lock.places.get(("quarantine", entry.subnet, entry.node, entry.text))
    at = at or allotment.lock.places.get((entry.kind, entry.subnet, entry.node))
    also = _places(at.labelled(f"{entry.node} held it here") if at else None)
    return Finding("PL504", message, _asked_at(allotment, want, "ranges"), hint=hint, also=also)


def pins_on(allotment: Allotment, node: str, ranges: tuple[Range, ...]) -> list[Finding]:
    """Refuse pins on addresses that a node has to leave in this very compile."""
    entry = Quarantined(allotment.ground.name, node, "slice", ranges)
    return [
        pin_on_quarantine(allotment, want, entry)
        for want in allotment.wants.values()
        if any(pin.overlaps(item) for pin in want.pinned for item in ranges)
    ]


def lost(allotment: Allotment, want: Want, item: Range, kind: str) -> Finding:
    """Say why what the lock holds cannot stay: what lies in it now, whose it is, or that it left the subnet."""
    ground = allotment.ground
    claim = next((claim for claim in ground.claims if claim.range.overlaps(item)), None)
    entry = next((entry for entry in allotment.blocking() if any(part.overlaps(item) for part in entry.ranges)), None)
    way = f"compile with `--move {want.name}`: it gets new addresses, and these are quarantined"
    if claim is not None:
        at = allotment.site.place(claim.path, label=f"{claim.kind.value} stands here")
        reason = f"holds {claim}"
        way = f"free them there, or {way}"
    elif entry is not None:
        at = allotment.lock.places.get(("quarantine", entry.subnet, entry.node, entry.text))
        at = at.labelled("quarantined here") if at else None
        reason = f"holds addresses that are quarantined since {entry.node} gave them up"
        way = f"`podlan release SITE {entry.node}` when nothing answers there, or {way}"
    else:
        at = allotment.site.place(("subnets", ground.name, "cidr"), label="the subnet")
        reason = f"is not in {ground.name} ({ground.subnet.cidr}) any more"
    what = "slice" if kind == "slice" else "shim address"
    return Finding(
        "PL508",
        f"the locked {what} {item} of {want.name} {reason}",
        _locked_at(allotment, kind, want.name),
        hint=way,
        also=_places(at, _node_at(allotment, want, f"{want.name} is here")),
    )


def outside_pool(allotment: Allotment, want: Want, ranges: tuple[Range, ...]) -> Finding:
    """Tell that a slice lies outside the pool: it stays, and nobody may have meant it."""
    held = ", ".join(map(str, ranges))
    pool = ("subnets", allotment.ground.name, "pool")
    return Finding(
        "PL511",
        f"the slice {held} of {want.name} is not in the pool of {allotment.ground.name}; it stays",
        _locked_at(allotment, "slice", want.name),
        Severity.WARNING,
        f"widen the pool, or pin {want.name} to {held}",
        _places(allotment.site.place(pool, label="the pool")),
    )


def cannot_grow(allotment: Allotment, want: Want, ranges: tuple[Range, ...]) -> Finding:
    """Say what growing would cost."""
    have = sum(item.size for item in ranges)
    held = ", ".join(map(str, ranges))
    return Finding(
        "PL505",
        f"{want.name} wants {want.pods} pods, but its slice {held} has {have} and cannot grow in place",
        _asked_at(allotment, want, "pods"),
        hint=f"compile with `--move {want.name}`: it gets a new slice, and these {have} addresses are quarantined",
        also=_places(_locked_at(allotment, "slice", want.name, label="its locked slice")),
    )


def no_shim(allotment: Allotment, want: Want) -> Finding:
    """Say that a host gets no address for its shim."""
    return Finding(
        "PL205",
        f"no address is left in {allotment.ground.name} for the shim of {want.name}",
        _node_at(allotment, want),
        hint="widen hostAccess.pool or the subnet's pool, or set hostAccess.via to none",
    )


def exhausted(allotment: Allotment, unserved: list[Want]) -> Finding:
    """Say who finds no room, how many addresses are missing, who holds what, and what would free some."""
    ground, free = allotment.ground, allotment.room.free
    names = ", ".join(want.name for want in unserved[:_SHOWN])
    more = f" and {len(unserved) - _SHOWN} more" if len(unserved) > _SHOWN else ""
    needed = sum(want.size for want in unserved)
    sizes = " or ".join(str(size) for size in sorted({want.size for want in unserved}))
    largest = max((item.size for item in free), default=0)
    rows = f"in rows of {sizes}" if unserved[0].step == 1 else f"in aligned blocks of {sizes}"
    message = (
        f"the pool of {ground.name} is exhausted: {names}{more} need {needed} addresses {rows}; "
        f"{free.size} are free, at most {largest} in a row"
    )
    pool = ("subnets", ground.name, "pool")
    at = allotment.site.place(pool if allotment.site.source.has(pool) else ("subnets", ground.name, "cidr"))
    also = [_node_at(allotment, want, f"wants {want.size}") for want in unserved[:_SHOWN]]
    return Finding("PL205", message, at, hint=_ways_out(allotment, needed), also=_places(*also))


def _ways_out(allotment: Allotment, needed: int) -> str:
    held = {node: sum(item.size for item in ranges) for node, ranges in allotment.slices.items()}
    largest = sorted(held, key=lambda node: (-held[node], natural(node)))[:_SHOWN]
    told = (
        [f"slices hold {sum(held.values())} ({', '.join(f'{node} {held[node]}' for node in largest)})"] if held else []
    )
    quarantined: dict[str, int] = {}
    for entry in allotment.quarantine():
        quarantined[entry.node] = quarantined.get(entry.node, 0) + entry.size
    if quarantined:
        most = sorted(quarantined, key=lambda node: (-quarantined[node], natural(node)))[:_SHOWN]
        release = f"podlan release SITE {' '.join(most)}"
        told.append(
            f"{sum(quarantined.values())} are quarantined (`{release}` frees {sum(quarantined[n] for n in most)})"
        )
    ways = "widen the pool, lower pods or podsPerNode, `allocate: packed`, or `fragmented: true`"
    return "; ".join([*told, f"{needed} more are needed: {ways}"])


def _asked_at(allotment: Allotment, want: Want, key: str) -> Place | None:
    return allotment.site.place(allotment.site.origin(want.node, "masters", want.attachment.name, key))


def _node_at(allotment: Allotment, want: Want, label: str = "") -> Place | None:
    return allotment.site.place(("nodes", want.name), key=True, label=label)


def _locked_at(allotment: Allotment, kind: str, node: str, *rest: str, label: str = "") -> Place | None:
    place = allotment.lock.places.get((kind, allotment.ground.name, node, *rest))
    return place.labelled(label) if place is not None else None


def _places(*places: Place | None) -> tuple[Place, ...]:
    return tuple(place for place in places if place is not None)
