"""Slices for every node of every subnet: pins first, then what the lock remembers, then the first free place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.addressing._lock import Lock
from podlan.addressing._memory import givers, merged_quarantine, renamed
from podlan.addressing._subnet import Allotment
from podlan.addressing._wants import Decisions, wants

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    where its neighbours allow. What a node gave up, or a node that is gone held, is quarantined and given to
    nobody. The result depends on names and numbers only, never on the order in which they are written.
    """
    lock = renamed(lock, site)
    giving, findings = givers(lock, decisions)
    result = Allocation(findings=findings)
    if findings:
        return result
    asked = wants(site)
    quarantine: list[tuple[str, str, Range]] = list(_of_gone_subnets(lock, grounds))
    for name, ground in grounds.items():
        gives = frozenset(node for subnet, node in giving if subnet == name)
        allotment = Allotment(site, ground, lock, asked.get(name, []), gives, decisions.shrink)
        allotment.run()
        result.slices |= {(name, node): ranges for node, ranges in allotment.slices.items()}
        result.shims |= {(name, node): address for node, address in allotment.shims.items()}
        result.findings += allotment.findings
        quarantine += [(name, node, item) for node, item in allotment.quarantine]
    meta = {"name": str(site.inventory.cni.name), "dataDir": site.inventory.cni.data_dir}
    result.lock = Lock(meta, dict(result.slices), dict(result.shims), merged_quarantine(quarantine))
    return result


def _of_gone_subnets(lock: Lock, grounds: Mapping[str, Ground]) -> Iterator[tuple[str, str, Range]]:
    """Quarantine what lies in subnets that the site no longer has: it may still be in use on that wire."""
    for (subnet, node), ranges in lock.slices.items():
        if subnet not in grounds:
            yield from ((subnet, node, item) for item in ranges)
    for (subnet, node), item in lock.shims.items():
        if subnet not in grounds:
            yield (subnet, node, item)
    yield from (entry for entry in lock.quarantine if entry[0] not in grounds)
