"""Slices for every node of every subnet: what the lock remembers is settled, then each subnet is allotted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.addressing._lock import NETWORK, Lock, Quarantined
from podlan.addressing._memory import of_gone_subnets, renamed, settled
from podlan.addressing._subnet import Allotment
from podlan.addressing._wants import Decisions, networks, wants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podlan.addressing._claims import Ground
    from podlan.addressing._ranges import Range
    from podlan.diagnostics import Finding
    from podlan.inventory import Site

_NOTHING = Decisions()


@dataclass(slots=True)
class Allocation:
    """What every node owns, by (subnet, node); `lock` is what the lock's file must say now."""

    slices: dict[tuple[str, str], tuple[Range, ...]] = field(default_factory=dict)
    shims: dict[tuple[str, str], Range] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    findings: list[Finding] = field(default_factory=list)


def allocate(site: Site, grounds: Mapping[str, Ground], lock: Lock, decisions: Decisions = _NOTHING) -> Allocation:
    """Give every node its slice and its shim address.

    A slice that the lock holds stays as long as it still serves its node; one that is too small grows in place
    where its neighbours allow. What a node gave up, or a node that is gone held, is quarantined: it goes to
    nobody else. The result depends on names and numbers only, never on the order in which they are written, and
    allocating again from it changes nothing. A finding that is an error means that the result must not be used.
    """
    lock = renamed(lock, site)
    kept, findings = of_gone_subnets(lock, grounds)
    lock, given, conflicts = settled(lock, decisions)
    result = Allocation(findings=[*findings, *conflicts])
    if result.findings:
        return result
    known = [*(entry for entry in lock.quarantine if entry.subnet in grounds), *kept, *given]
    asked = wants(site)
    quarantine = set(known) - {entry for entry in known if entry.subnet in grounds}
    for name, ground in grounds.items():
        allotment = Allotment(site, ground, lock, asked.get(name, []), known, decisions)
        allotment.run()
        result.slices |= {(name, node): ranges for node, ranges in allotment.slices.items()}
        result.shims |= {(name, node): address for node, address in allotment.shims.items()}
        result.findings += allotment.findings
        quarantine |= allotment.quarantine()
    cni = site.inventory.cni
    meta = {"name": str(cni.name), "dataDir": cni.data_dir, "site": site.name}
    given_up = _given_up(quarantine, result)
    meta |= _network_names(site, lock, {entry.subnet for entry in given_up})
    result.lock = Lock(meta, dict(result.slices), dict(result.shims), given_up)
    return result


def _network_names(site: Site, lock: Lock, remembered: set[str]) -> dict[str, str]:
    """Give the lock's lines about subnets whose addresses a secondary network gives, or gave to those in quarantine."""
    now = {subnet: next(iter(names)) for subnet, names in networks(site).items()}
    before = {key.removeprefix(NETWORK): name for key, name in lock.meta.items() if key.startswith(NETWORK)}
    kept = {subnet: name for subnet, name in before.items() if subnet in remembered}
    return {f"{NETWORK}{subnet}": name for subnet, name in (kept | now).items() if name != site.inventory.cni.name}


def _given_up(quarantine: set[Quarantined], result: Allocation) -> frozenset[Quarantined]:
    """Leave out what its node still has in another subnet: a lock edited by hand may have it twice."""
    nodes = {entry.node for entry in quarantine}
    held: dict[str, list[tuple[str, Range]]] = {}
    for (subnet, node), ranges in result.slices.items():
        if node in nodes:
            held.setdefault(node, []).extend((subnet, item) for item in ranges)

    def is_held(entry: Quarantined) -> bool:
        others = [item for subnet, item in held.get(entry.node, ()) if subnet != entry.subnet]
        return all(any(other.contains(item) for other in others) for item in entry.ranges)

    return frozenset(entry for entry in quarantine if not is_held(entry))
