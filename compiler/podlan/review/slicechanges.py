"""Slices that grow, shrink or move, and pools that host-local would begin anew."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from podlan.addressing import Addresses, Range
from podlan.review.model import Change, Kind, Risk, addresses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.review.forms import Form

_LEAVE = "pods there keep their addresses until they end; new pods get others"


def slice_changes(old: Form, new: Form) -> Iterator[Change]:
    """Compare the slices of one node, subnet by subnet."""
    for before, after in _pairs(old.slices, new.slices):
        yield from _slice(before, old.slices.get(before, ()), after, new.slices.get(after, ()))
        if before in old.stores and after in new.stores and old.stores[before] != new.stores[after]:
            yield Change(
                Kind.FRESH_POOL,
                Risk.HIGH,
                f"host-local's pool of {after}: {old.stores[before]} -> {new.stores[after]}",
                "it begins anew and gives addresses of living pods again; drain the node first",
            )


def _pairs(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Pair the subnets; one whose network was widened or narrowed is still the same."""
    came = [subnet for subnet in new if subnet not in old]
    for subnet in sorted(old):
        if subnet in new:
            yield subnet, subnet
            continue
        network = Range.of_network(ip_network(subnet, strict=False))
        successor = next(
            (other for other in came if network.overlaps(Range.of_network(ip_network(other, strict=False)))), subnet
        )
        if successor in came:
            came.remove(successor)
        yield subnet, successor
    yield from ((subnet, subnet) for subnet in sorted(came))


def _slice(before: str, old: tuple[Range, ...], after: str, new: tuple[Range, ...]) -> Iterator[Change]:
    leaves, comes = _without(old, new), _without(new, old)
    if not leaves and not comes:
        return
    was, now = _texts(old), _texts(new)
    where = after if before == after else f"{before}, now {after}"
    gone = sum(item.size for item in leaves)
    if not leaves:
        more = sum(item.size for item in comes)
        cost = f"{more} more for new pods; nothing leaves"
        yield Change(Kind.SLICE_GROWN, Risk.NONE, f"{where}: {was or 'none'} -> {now}", cost)
    elif not comes:
        cost = f"{addresses(gone)} leave{'s' * (gone == 1)}: {_LEAVE}"
        yield Change(Kind.SLICE_SHRUNK, Risk.MEDIUM, f"{where}: {was} -> {now or 'none'}", cost, leaves)
    else:
        cost = f"{addresses(gone)} leave{'s' * (gone == 1)}: {_LEAVE}"
        yield Change(Kind.SLICE_MOVED, Risk.MEDIUM, f"{where}: {was} -> {now}", cost, leaves)


def _without(items: tuple[Range, ...], others: tuple[Range, ...]) -> tuple[Range, ...]:
    """Give the addresses of `items` that are in none of `others`."""
    families = sorted({item.family for item in items})
    left: list[Range] = []
    for family in families:
        kept = Addresses(family, [item for item in items if item.family == family])
        for other in others:
            if other.family == family:
                kept.remove(other)
        left += kept
    return tuple(left)


def _texts(items: tuple[Range, ...]) -> str:
    return ", ".join(map(str, items))
