"""Why an allotment cannot be: who is in the way, how much is missing, and what would free it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing._claims import Kind
from podlan.addressing._wants import natural
from podlan.diagnostics import Finding

if TYPE_CHECKING:
    from podlan.addressing._ranges import Range
    from podlan.addressing._subnet import Allotment
    from podlan.addressing._wants import Want
    from podlan.diagnostics import Place

_SHOWN = 3


def pin_on_quarantine(allotment: Allotment, want: Want, node: str, item: Range) -> Finding:
    """Refuse a pin on addresses that another node gave up and that may still be answered."""
    return Finding(
        "PL504",
        f"the slice pinned for {want.name} holds {item}, which is quarantined since {node} gave it up",
        _asked_at(allotment, want, "ranges"),
        hint=f"make sure that nothing answers there any more, then `podlan release SITE {node}`",
        also=_places(_locked_at(allotment, "quarantine", node, item.text, label="quarantined here")),
    )


def lost(allotment: Allotment, want: Want, item: Range, kind: str) -> Finding:
    """Say why what the lock holds cannot stay: it means something else now, another has it, or the pool shrank."""
    claim = next((claim for claim in allotment.ground.claims if claim.range.overlaps(item)), None)
    other = next((name for taken, name in allotment.holders if taken.overlaps(item) and name != want.name), None)
    who = other
    if claim is not None:
        at = allotment.site.place(claim.path, label=f"{claim.kind.value} stands here")
        reason = f"holds {claim}"
        who = claim.owner if claim.kind is Kind.PIN else None
    elif other is not None:
        at = _locked_at(allotment, "slice", other, label=f"{other} has it here")
        reason = f"overlaps what {other} has"
    else:
        at = allotment.site.place(("subnets", allotment.ground.name), key=True, label="the pool is here")
        reason = "is no longer in the pool, or is quarantined"
    what = "slice" if kind == "slice" else "shim address"
    else_ = f", or free them on {who}'s side" if who else ""
    return Finding(
        "PL508",
        f"the locked {what} {item} of {want.name} {reason}",
        _locked_at(allotment, kind, want.name),
        hint=f"`podlan compile --move {want.name}` gives it new addresses{else_}",
        also=_places(at, _node_at(allotment, want, f"{want.name} is here")),
    )


def cannot_grow(allotment: Allotment, want: Want, ranges: tuple[Range, ...]) -> Finding:
    """Say what growing would cost."""
    have = sum(item.size for item in ranges)
    held = ", ".join(map(str, ranges))
    return Finding(
        "PL505",
        f"{want.name} wants {want.pods} pods, but its slice {held} has {have} and cannot grow in place",
        _asked_at(allotment, want, "pods"),
        hint=f"`podlan compile --move {want.name}` gives it a new slice; its {have} addresses are then quarantined",
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
    for node, item in allotment.quarantine:
        quarantined[node] = quarantined.get(node, 0) + item.size
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
