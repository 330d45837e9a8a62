"""Several sites: where podlan's outputs lie, and which of their subnets meet."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from podlan.audit._addresses import Span, network_text, parse_network
from podlan.audit._remarks import Remark, Spot, some
from podlan.audit._sweep import sweep
from podlan.audit._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podlan.audit._networks import Network
    from podlan.audit._own import Own

MARKER = "site.json"
OUTSIDE = "the files outside every site"


class Output(NamedTuple):
    """The output of one site, by the directory that its marker lies in."""

    site: str
    path: Path


def outputs(paths: Iterable[str]) -> list[Output]:
    """Find podlan's outputs at and below every path, without a look into them; those of one name by their paths.

    Raises OSError for what cannot be read, since it may be one.
    """
    found: dict[str, Output] = {}
    for path in map(Path, paths):
        for output in _below(path, frozenset()) if path.is_dir() else ():
            found.setdefault(os.path.realpath(output.path), output)
    names = Counter(output.site for output in found.values())
    return [
        output if names[output.site] == 1 else output._replace(site=f"{output.site} ({output.path})")
        for output in found.values()
    ]


def _below(path: Path, above: frozenset[tuple[int, int]]) -> Iterator[Output]:
    status = path.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link that leads back
        return
    site = _site_of(path)
    if site:
        yield Output(site, path)
        return
    with os.scandir(path) as entries:
        directories = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in directories:
        yield from _below(path / name, above | {identity})


def _site_of(path: Path) -> str:
    """Give the name in an output's marker; empty where the directory is no output."""
    if not (path / "nodes").is_dir():
        return ""
    try:
        value = json.loads(text_of(str(path / MARKER)))
    except (FileNotFoundError, ValueError, RecursionError):
        return ""
    name = value.get("site") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


class Claim(NamedTuple):
    """A subnet that a site's pods are in, and where a file says so first; or an address that a node has elsewhere."""

    site: str
    subnet: Span
    spot: Spot | None


def claims(site: str, networks: Iterable[Network], own: Iterable[Own]) -> list[Claim]:
    """Give a site's subnets, each once, and its nodes' addresses outside them: all that other sites need to know."""
    found: dict[Span, Claim] = {}
    for network in networks:
        for item in network.ranges:
            if item.subnet not in found:
                found[item.subnet] = Claim(site, item.subnet, Spot(network.file, (*item.path, "subnet")))
    subnets = [*found, *_LINK_LOCAL]
    for one in own:
        span = Span(one.family, one.address, one.address)
        if not is_within(span, subnets):
            found.setdefault(span, Claim(site, span, one.spot))
    return list(found.values())


_LINK_LOCAL = [parse_network(text)[0] for text in ("169.254.0.0/16", "fe80::/10")]


def overlaps(claimed: Iterable[Claim], shared: Sequence[Span]) -> Iterator[Remark]:
    """Find the addresses that are in subnets of several sites, unless these share a LAN there."""
    told: set[tuple[Claim, ...]] = set()
    for held in sweep((claim.subnet, _holder(claim, shared), claim) for claim in claimed):
        if held.claims in told:  # a subnet that others cut into pieces
            continue
        told.add(held.claims)
        whose = some((f"{network_text(claim.subnet)} of {claim.site}" for claim in held.claims), held.owners)
        first, *others = held.claims
        also = tuple((other.spot, f"{other.site}: {network_text(other.subnet)}") for other in others if other.spot)
        hint = "give every site subnets of its own; --apart where no route leads, --shared CIDR where it is one LAN"
        yield Remark("PL727", f"subnets of different sites overlap: {whose}", first.spot, hint, also)


def _holder(claim: Claim, shared: Iterable[Span]) -> str | Span:
    """Give the site, or the LAN that all its sites hold together."""
    return next((lan for lan in shared if is_within(claim.subnet, (lan,))), claim.site)


def is_within(subnet: Span, shared: Iterable[Span]) -> bool:
    """Tell whether a subnet lies in one that sites share."""
    return any(lan.holds(subnet.family, subnet.first) and lan.last >= subnet.last for lan in shared)
