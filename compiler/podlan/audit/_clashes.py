"""What all ranges together show: addresses that two could hand out, and addresses that are somebody's already."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from podlan.audit._addresses import Span, to_text
from podlan.audit._remarks import Remark, Spot, some
from podlan.audit._sweep import Held, sweep
from podlan.audit._wires import Taken, wires

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podlan.audit._host_local import Range
    from podlan.audit._networks import Network
    from podlan.audit._own import Own

    Claim = tuple[Network, Range]


def clashes(networks: Sequence[Network], own: Sequence[Own]) -> Iterator[Remark]:
    """Judge all networks of all nodes together."""
    found = wires(networks)
    for wire in found:
        yield from wire.disagreements()
    taken = _by_address([*(item for wire in found for item in wire.taken()), *_of_nodes(own), *_hops(networks)])
    for held in sweep(_claims(networks), taken):
        if held.is_point:
            yield from _inside(held, taken[held.span.family, held.span.first])
        else:
            yield _shared(held)
    yield from _within_nodes(networks)
    yield from _twins(own)


def count(networks: Iterable[Network]) -> int:
    """Count the addresses that are handed out, each once."""
    total, reached = 0, (0, -1)
    for family, first, last in sorted(span for network in networks for item in network.ranges for span in item.parts()):
        start = max(first, reached[1] + 1) if reached[0] == family else first
        total += max(0, last - start + 1)
        reached = max(reached, (family, last))
    return total


def _claims(networks: Iterable[Network]) -> Iterator[tuple[Span, str, Claim]]:
    for network in networks:
        for item in network.ranges:
            for span in item.parts():
                yield span, network.node, (network, item)


def _shared(held: Held[str, Claim]) -> Remark:
    nodes = some((network.node for network, _ in held.claims), held.owners)
    message = f"{nodes} could {'both' if held.owners == 2 else 'all'} hand out {held.span}"  # noqa: PLR2004 - a pair
    first, *others = held.claims
    also = tuple((_start(other), f"{other[0].node}: {other[1].span}") for other in others)
    return Remark("PL720", message, _start(first), "give every node a range of its own", also)


def _within_nodes(networks: Iterable[Network]) -> Iterator[Remark]:
    """Compare the networks of each node that has several: each network's name and dataDir has its own reservations."""
    for _, group in groupby(networks, key=lambda network: network.node):
        of_node = list(group)
        if len({(network.store, network.name) for network in of_node}) > 1:
            claims = [
                (span, (network.store, network.name), (network, item))
                for network in of_node
                for item in network.ranges
                for span in item.parts()
            ]
            for held in sweep(claims):
                (network, _), *others = held.claims
                names = some((repr(claim[0].name) for claim in held.claims), held.owners)
                message = f"{network.node} could hand out {held.span} twice: networks {names} hold it"
                also = tuple((_start(other), f"{other[0].name}: {other[1].span}") for other in others)
                yield Remark("PL721", message, _start(held.claims[0]), "give every network a range of its own", also)


def _by_address(taken: Iterable[Taken]) -> dict[tuple[int, int], list[Taken]]:
    """Group what is known of an address: each meaning once, and a next hop only if it is nothing better known."""
    found: dict[tuple[int, int], list[Taken]] = defaultdict(list)
    for item in taken:
        known = found[item.family, item.address]
        if not any(item.code == other.code for other in known) and not (known and item.code == "PL725"):
            known.append(item)
    return found


def _of_nodes(own: Iterable[Own]) -> Iterator[Taken]:
    for item in own:
        yield Taken(item.family, item.address, "PL723", f"{item.node}'s {item.what}", item.spot)


def _hops(networks: Iterable[Network]) -> Iterator[Taken]:
    for network in networks:
        for family, address, path in network.hops:
            what = f"the next hop of a route of {network.node}'s pods"
            yield Taken(family, address, "PL725", what, Spot(network.file, path))


def _inside(held: Held[str, Claim], meanings: Iterable[Taken]) -> Iterator[Remark]:
    nodes = some((network.node for network, _ in held.claims), held.owners)
    for item in meanings:
        message = f"{to_text(item.family, item.address)} is {item.what}, and {nodes} could hand it out"
        also = ((item.spot, "said here"),) if item.spot else ()
        yield Remark(item.code, message, _start(held.claims[0]), "cut the range so that it is not in it", also)


def _twins(own: Iterable[Own]) -> Iterator[Remark]:
    """Find the addresses that two nodes call their own."""
    holders: dict[tuple[int, int], dict[str, Own]] = defaultdict(dict)
    for item in own:
        holders[item.family, item.address].setdefault(item.node, item)
    for (family, address), nodes in holders.items():
        if len(nodes) > 1:
            first, second, *_ = nodes.values()
            also = ((second.spot, f"{second.node}'s"),) if second.spot else ()
            message = f"{some(nodes)} have the same address {to_text(family, address)}"
            yield Remark("PL726", message, first.spot, "give each an address of its own", also)


def _start(claim: Claim) -> Spot:
    network, item = claim
    return Spot(network.file, (*item.path, item.start))
