"""What the lock remembers, made ready for an allocation: renames, subnets that are gone, double holdings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from podlan.addressing._lock import NETWORK, Quarantined
from podlan.addressing._ranges import Addresses, Range
from podlan.diagnostics import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing._claims import Ground
    from podlan.addressing._lock import Lock
    from podlan.addressing._wants import Decisions
    from podlan.inventory import Site

_KEYED = 3  # kind, subnet, node: the keys of places that a rename concerns


@dataclass(frozen=True, slots=True)
class Held:
    """A line of the lock that gives a node addresses."""

    range: Range
    node: str
    subnet: str
    kind: Literal["slice", "shim"]

    @property
    def key(self) -> tuple[str, str, str]:
        """Give what the lock's places are found by."""
        return (self.kind, self.subnet, self.node)


def renamed(lock: Lock, site: Site) -> Lock:
    """Give what the lock holds under an old name (`was`) to the new one, once: then the lock knows the new name.

    Rule PL310 leaves only names that the site has no more, each wanted by one newcomer.
    """
    subnets = _names({name: subnet.was for name, subnet in site.subnets.items()}, {key[0] for key in _keys(lock)})
    nodes = _names({name: node.was for name, node in site.inventory.nodes.items()}, {key[1] for key in _keys(lock)})
    if not subnets and not nodes:
        return lock

    def new(key: tuple[str, str]) -> tuple[str, str]:
        return subnets.get(key[0], key[0]), nodes.get(key[1], key[1])

    return replace(
        lock,
        meta={
            f"{NETWORK}{subnets.get(key.removeprefix(NETWORK), key.removeprefix(NETWORK))}"
            if key.startswith(NETWORK)
            else key: value
            for key, value in lock.meta.items()
        },
        slices={new(key): held for key, held in lock.slices.items()},
        shims={new(key): held for key, held in lock.shims.items()},
        quarantine=frozenset(Quarantined(*new(entry[:2]), *entry[2:]) for entry in lock.quarantine),
        places={
            (key[0], *new((key[1], key[2])), *key[3:]) if len(key) >= _KEYED else key: place
            for key, place in lock.places.items()
        },
    )


def _keys(lock: Lock) -> Iterator[tuple[str, str]]:
    yield from lock.slices
    yield from lock.shims
    yield from (entry[:2] for entry in lock.quarantine)


def _names(was: dict[str, str | None], known: set[str]) -> dict[str, str]:
    return {old: name for name, old in was.items() if old is not None and old in known and name not in known}


def of_gone_subnets(lock: Lock, grounds: Mapping[str, Ground]) -> tuple[list[Quarantined], list[Finding]]:
    """Quarantine what lies in subnets that the site has no more; refuse where another subnet covers it now.

    The wire is still there, and so may be the pods.
    """
    kept: list[Quarantined] = []
    findings: list[Finding] = []
    told: set[str] = set()
    lines: list[Quarantined] = [
        *(Quarantined(*key, "slice", ranges) for key, ranges in lock.slices.items()),
        *(Quarantined(*key, "shim", (item,)) for key, item in lock.shims.items()),
    ]
    for line in sorted(line for line in lines if line.subnet not in grounds):
        kept.append(line)
        cover = next((name for name, ground in grounds.items() if _covers(ground, line)), None)
        if cover is not None and line.subnet not in told:
            told.add(line.subnet)
            place = lock.places.get((line.kind, line.subnet, line.node))
            message = f"the lock holds addresses of {line.subnet}, which the site has no more and {cover} covers now"
            hint = f"if {cover} is the same subnet under another name, say `was: {line.subnet}` there"
            findings.append(Finding("PL509", message, place, hint=hint))
    kept += [entry for entry in lock.quarantine if entry.subnet not in grounds]
    return kept, findings


def _covers(ground: Ground, line: Quarantined) -> bool:
    return any(item.overlaps(ground.network) for item in line.ranges)


def settled(lock: Lock, decisions: Decisions) -> tuple[Lock, list[Quarantined], list[Finding]]:
    """Settle who keeps an address that two nodes hold, as after a merge of branches that took the same range.

    Who is new by `decisions.base`, stands against a node of `decisions.keep`, or may move, gives way: a newcomer
    wholly, a node that the base knows only in what is shared. Where nothing tells, it is a finding. Gives the lock
    without what was given up, and what of that nobody else holds.
    """
    pairs = list(_conflicts(lock))
    if not pairs:
        return lock, [], []
    losers: dict[tuple[str, str, str], list[Range]] = {}
    for first, second in pairs:
        loser = _loser(first, second, decisions)
        if loser is not None:
            losers.setdefault(loser.key, []).append(first.range.shared(second.range))
    findings = [_conflict(lock, *pair) for pair in pairs if pair[0].key not in losers and pair[1].key not in losers]
    slices, shims, given = dict(lock.slices), dict(lock.shims), []
    for (kind, subnet, node), shared in losers.items():
        if kind == "shim":
            del shims[(subnet, node)]
            continue
        left = Addresses(shared[0].family, slices.pop((subnet, node)))
        for item in shared:
            left.remove(item)
        if _is_known(subnet, node, decisions.base) and len(left):
            slices[(subnet, node)] = tuple(left)
        elif len(left):
            given.append(Quarantined(subnet, node, "slice", tuple(left)))
    return replace(lock, slices=slices, shims=shims), given, findings


def _holdings(lock: Lock) -> Iterator[Held]:
    for (subnet, node), ranges in lock.slices.items():
        for item in ranges:
            yield Held(item, node, subnet, "slice")
    for (subnet, node), item in lock.shims.items():
        yield Held(item, node, subnet, "shim")


def _conflicts(lock: Lock) -> Iterator[tuple[Held, Held]]:
    """Give every pair of holdings with a common address, by one sweep; a node's own shim and slice count too."""
    active: list[Held] = []
    for held in sorted(_holdings(lock), key=lambda held: (held.subnet, held.range, held.node)):
        active = [one for one in active if one.subnet == held.subnet and one.range.overlaps(held.range)]
        for one in active:
            yield one, held
        active.append(held)


def _loser(first: Held, second: Held, decisions: Decisions) -> Held | None:
    if first.node == second.node:
        return first if first.kind == "shim" else second
    shared = first.range.shared(second.range)
    is_old = (_in_base(first, shared, decisions.base), _in_base(second, shared, decisions.base))
    is_kept = (first.node in decisions.keep, second.node in decisions.keep)
    stays = (first.node not in decisions.move, second.node not in decisions.move)
    for told in (is_old, is_kept, stays):
        if told[0] != told[1]:
            return second if told[0] else first
    return None


def _in_base(held: Held, shared: Range, base: Lock | None) -> bool:
    """Tell whether the base gave the shared addresses to this node already."""
    if base is None:
        return False
    key = (held.subnet, held.node)
    ranges = base.slices.get(key, ()) if held.kind == "slice" else tuple(item for item in [base.shims.get(key)] if item)
    return any(item.overlaps(shared) for item in ranges)


def _is_known(subnet: str, node: str, base: Lock | None) -> bool:
    return base is not None and (subnet, node) in base.slices


def _conflict(lock: Lock, first: Held, second: Held) -> Finding:
    """Say that two nodes hold the same addresses; the line that stands later is the one pointed at."""
    spots = [(lock.places.get(held.key), held) for held in (first, second)]
    (at_first, early), (place, late) = sorted(spots, key=lambda spot: (spot[0] is not None, spot[0]))
    shared = early.range.shared(late.range)
    return Finding(
        "PL503",
        f"{early.node} and {late.node} both hold {shared} of {late.subnet}",
        place,
        hint=f"compile with --base REV, where REV is the branch that was first, or with --keep {early.node} "
        f"or --keep {late.node}: the other gets new addresses",
        also=(at_first.labelled(f"{early.node} holds it here"),) if at_first else (),
    )
