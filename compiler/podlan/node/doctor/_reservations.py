"""host-local's reservations, compared with the pods that live: leaked, outside, in a forgotten store, missing."""

from __future__ import annotations

import ipaddress
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from podlan.node.doctor._case import told
from podlan.node.doctor._sandboxes import known
from podlan.node.networks import DATA_DIR
from podlan.node.store import freeing, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case, Look
    from podlan.node.networks import Network
    from podlan.node.store import Reservation

_PAUSE = 0.5  # seconds; a pod is reserved some milliseconds before it has its address, and released as much before
_OUR_DATA_DIR = "/run/podlan/ipam"


class _Doubts(NamedTuple):
    """What looks wrong at one moment: reservations without a pod, pods without one, and what nobody can tell."""

    dead: frozenset[Reservation] = frozenset()
    bare: frozenset[str] = frozenset()
    unknown: frozenset[Reservation] = frozenset()


def in_use(case: Case) -> Iterator[Finding]:
    """Tell of reservations without a pod, and of pods without a reservation; both only if two looks agree."""
    doubts = _doubts(case, case.look)
    if doubts.dead or doubts.bare:
        time.sleep(_PAUSE)
        again = _doubts(case, case.look_again())
        doubts = _Doubts(doubts.dead & again.dead, doubts.bare & again.bare, doubts.unknown)
    for one in sorted(doubts.dead, key=lambda one: (one.store, one.address.version, int(one.address))):
        outside = "" if _in_slice(case, one) else ", outside the slice"
        yield told(
            "PL660",
            f"{one.address} is reserved for {one.whose}{outside}, which is gone",
            place=case.root.shown(one.path),
            hint=f"give it back under host-local's own lock: {freeing(one, case.root)}",
        )
    for address in sorted(doubts.bare):
        yield told("PL666", f"a pod has {address}, and host-local does not know: the next pod may get it too")
    for store, number in sorted(Counter(one.store for one in doubts.unknown).items()):
        runtime = case.plan.runtime.name if case.plan.runtime else "the runtime"
        yield told(
            "PL661",
            f"cannot tell with {runtime} whether {number} of the reservations in {case.root.shown(store)} "
            f"{'have pods' if number > 1 else 'has a pod'}",
            place=case.root.shown(store),
        )


def _doubts(case: Case, look: Look) -> _Doubts:
    addresses = look.pods.addresses
    without = [one for one in look.reserved if one.container and str(one.address) not in addresses]
    runtime = known(case, (one.container for one in without))
    lost = frozenset(one for one in without if one.container not in runtime.containers)
    reserved = {str(one.address) for one in look.reserved}
    bare = frozenset(
        address
        for address in addresses - reserved
        for network in case.networks
        if network.has(ipaddress.ip_address(address))
    )
    if runtime.certain and look.pods.complete:
        return _Doubts(dead=lost, bare=bare)
    return _Doubts(unknown=lost, bare=bare)


def _in_slice(case: Case, one: Reservation) -> bool:
    return any(network.store == one.store and network.has(one.address) for network in case.networks)


def misplaced(case: Case) -> Iterator[Finding]:
    """Tell of reservations that cannot be right, whoever lives: outside the slice, twice, of nobody."""
    gone = _doubts(case, case.look).dead  # told as such
    for network in case.networks:
        ours = [one for one in case.look.reserved if one.store == network.store]
        yield from _damaged(case, network, ours)
        for one in ours:
            place = case.root.shown(one.path)
            owner = _owner(case, network, one)
            if owner:
                yield told("PL665", f"{one.address} is reserved for {one.whose}, and is {owner}", place=place)
            elif one.container and one not in gone and not network.has(one.address):
                ranges = ", ".join(f"{each.first}-{each.last}" for each in network.ranges)
                yield told("PL662", f"{one.whose} has {one.address}, and the slice is {ranges}", place=place)


def _damaged(case: Case, network: Network, ours: list[Reservation]) -> Iterator[Finding]:
    seen: dict[tuple[str, str, int], Reservation] = {}
    for one in ours:
        place, hint = case.root.shown(one.path), freeing(one, case.root)
        if not one.container:
            yield told("PL664", f"the reservation of {one.address} names no container", place=place, hint=hint)
            continue
        number = next((at for at, ranges in enumerate(network.sets) if any(one.address in each for each in ranges)), -1)
        first = seen.setdefault((one.container, one.interface, number), one)
        if first is not one and number >= 0:
            has = case.look.pods.addresses
            wrong = first if str(one.address) in has else one
            yield told(
                "PL664",
                f"{one.whose} has two reservations for {one.interface or 'its interface'}: {first.address} and "
                f"{one.address}",
                place=case.root.shown(wrong.path),
                hint=f"free the one that the pod does not use: {freeing(wrong, case.root)}",
            )


def _owner(case: Case, network: Network, one: Reservation) -> str:
    address = str(one.address)
    if any(one.address == each.gateway for each in network.ranges):
        return "the gateway's"
    if address in case.host_access:
        return "an address that podlan adds to this node"
    return "this node's own" if address in case.plan.identity else ""


def elsewhere(case: Case) -> Iterator[Finding]:
    """Tell of reservations of this slice that host-local no longer sees: another name, another dataDir."""
    current = {network.store for network in case.networks if network.store}
    places = dict.fromkeys([*(store.rpartition("/")[0] for store in current), DATA_DIR, _OUR_DATA_DIR])
    stores = [f"{place}/{name}" for place in places for name in sorted(_names(case, place))]
    # Of a directory that is the same by another way (/var/run) there is nothing to tell.
    own = {os.path.realpath(case.root.shown(store)) for store in current}
    for store in stores:
        if os.path.realpath(case.root.shown(store)) in own:
            continue
        ours = [one for one in stored(store, case.root) if any(each.has(one.address) for each in case.networks)]
        if not ours:
            continue
        living = [str(one.address) for one in ours if str(one.address) in case.look.pods.addresses]
        alive = f", {', '.join(living[:3])}{' …' * (len(living) > 3)} of living pods" if living else ""  # noqa: PLR2004 - enough to find them
        shown = case.root.shown(store)
        yield told("PL663", f"{shown} holds reservations of this node's slice: {len(ours)}{alive}", place=shown)


def _names(case: Case, place: str) -> list[str]:
    try:
        return os.listdir(case.root.shown(place))  # noqa: PTH208 - strings, as everywhere here
    except OSError:
        return []
