"""The audit: gather the files, read each, judge all together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from podlan.audit._addresses import Span
from podlan.audit._clashes import clashes, count
from podlan.audit._files import read_directory
from podlan.audit._gather import Gathered, gather
from podlan.audit._remarks import Remark, placed
from podlan.audit._sites import OUTSIDE, Claim, Output, claims, is_within, outputs, overlaps
from podlan.audit._text import text_of
from podlan.diagnostics import Exit, PodlanError, has_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.audit._networks import Network
    from podlan.audit._own import Own
    from podlan.diagnostics import Finding


class UnknownSite(PodlanError):
    """A site that is to be left out of the comparison, and that no output is of: a slip of the pen."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"no output here is of a site {self.name}; there are: {', '.join(self.known) or 'none'}"


@dataclass(frozen=True, slots=True)
class Report:
    """What the audit found. `addresses` counts those that nodes hand out on a wire they share, each once."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    nodes: int = 0
    addresses: int = 0
    outputs: int = 0
    """How many sites' outputs were among the files."""

    @property
    def failed(self) -> bool:
        """Tell whether any finding is an error."""
        return has_errors(self.findings)


def audit(
    paths: Iterable[str],
    own: Iterable[Own] = (),
    remarks: Iterable[Remark] = (),
    *,
    shared: Iterable[Span] = (),
    apart: Iterable[str] = (),
) -> Report:
    """Audit the CNI files at and below every path.

    `own` are addresses of nodes that no plan tells, `remarks` what was wrong with their list. The outputs of several
    sites are read one after the other, and of each no more is kept than its subnets: those of sites that are routed
    to each other must not overlap. All are, but those `apart`; a subnet within one of `shared` is one LAN of them all.
    Raises OSError for a file or directory that cannot be read: it could hold anything; UnknownSite for a name in
    `apart` that no output has.
    """
    paths, own, lans = list(paths), list(own), list(shared)
    sites = outputs(paths)
    by_itself = _known({site.site for site in sites}, apart)
    if len(sites) <= 1:
        gathered = gather(paths)
        part = _judge(gathered, own)
        files = [file for directory in gathered.directories for file in directory.files]
        told = placed([*remarks, *part.remarks, *(() if files else [_NO_FILE])], _text)
        return Report(told, len(files), len({file.node for file in files}), count(part.shared), len(sites))
    return _of_sites(paths, sites, own, list(remarks), _Routing(by_itself, lans))


_NO_FILE = Remark("PL712", "no .conf, .conflist or .json file is here", hint="name the directory of CNI files")


class _Routing(NamedTuple):
    """What is known of the ways between sites."""

    apart: frozenset[str]
    shared: list[Span]


def _of_sites(
    paths: list[str], sites: list[Output], own: list[Own], remarks: list[Remark], routing: _Routing
) -> Report:
    rest = frozenset(Path(os.path.realpath(site.path)) for site in sites)
    parts = [_part_of(site.site, [str(site.path)], own, routing) for site in sites]
    parts.append(_part_of(OUTSIDE, paths, own, routing, rest))
    between = [
        *overlaps((claim for part in parts for claim in part.claims), routing.shared),
        *_on_shared([part.lan for part in parts]),
    ]
    findings = [*(one for part in parts for one in part.report.findings), *placed([*remarks, *between], _text)]
    return Report(
        list(dict.fromkeys(findings)),  # what stands in a list given by hand is told once, not once a site
        files=sum(part.report.files for part in parts),
        nodes=sum(part.report.nodes for part in parts),
        addresses=sum(part.report.addresses for part in parts),
        outputs=len(sites),
    )


class _Part(NamedTuple):
    """What is kept of a site's output when the next one is read: no more than the others must be held against."""

    report: Report
    claims: list[Claim]
    lan: _Judged


def _part_of(
    name: str, paths: list[str], own: list[Own], routing: _Routing, without: frozenset[Path] = frozenset()
) -> _Part:
    gathered = gather(paths, without)
    files = [file for directory in gathered.directories for file in directory.files]
    judged = _judge(gathered, own)
    told = [*judged.remarks, *(() if files or name == OUTSIDE else [_empty(name)])]
    report = Report(placed(told, _text), len(files), len({file.node for file in files}), count(judged.shared))
    if name in routing.apart:
        return _Part(report, [], _Judged())
    return _Part(report, claims(name, judged.shared, judged.own), judged.within(name, routing.shared))


def _empty(site: str) -> Remark:
    return Remark("PL712", f"the output of {site} holds no .conf, .conflist or .json file", hint=_NO_FILE.hint)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was read together: the networks that nodes share, the nodes' own addresses, and all remarks."""

    shared: list[Network] = field(default_factory=list)
    own: list[Own] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def within(self, site: str, lans: list[Span]) -> _Judged:
        """Keep what is on a LAN of several sites, with nodes named after their site too."""
        networks = [
            replace(network, node=f"{site}/{network.node}", ranges=ranges)
            for network in self.shared
            if lans and (ranges := tuple(item for item in network.ranges if is_within(item.subnet, lans)))
        ]
        own = [
            item._replace(node=f"{site}/{item.node}")
            for item in self.own
            if is_within(Span(item.family, item.address, item.address), lans)
        ]
        return _Judged(networks, own)


def _judge(gathered: Gathered, own: Iterable[Own]) -> _Judged:
    """Read what a runtime takes of the files, and judge it."""
    said: list[Remark] = []
    networks: list[Network] = []
    for directory in gathered.directories:
        found, about = read_directory(directory)
        networks += found
        said += about
    # Behind masquerading the addresses stay on the node: nobody else's can clash with them.
    shared = sorted((network for network in networks if not network.masquerade), key=lambda network: network.node)
    planned = list(_planned(gathered))
    said += clashes(shared, [*own, *planned])
    return _Judged(shared, planned, said)


def _on_shared(parts: list[_Judged]) -> Iterator[Remark]:
    """Judge a LAN that several sites are on, as one; what is within a site was said of it already."""
    within = {remark for part in parts for remark in clashes(part.shared, part.own)}
    networks = sorted((network for part in parts for network in part.shared), key=lambda network: network.node)
    together = clashes(networks, [item for part in parts for item in part.own])
    return (remark for remark in together if remark not in within and remark.code not in _PER_SITE)


_PER_SITE = frozenset({"PL721", "PL735", "PL736"})
"""Of one cluster only: the networks of a node, and what its nodes call the network and keep reservations in."""


def _known(sites: set[str], apart: Iterable[str]) -> frozenset[str]:
    named = frozenset(apart)
    for name in sorted(named - sites):
        raise UnknownSite(name, sorted(sites))
    return named


def _planned(gathered: Gathered) -> Iterator[Own]:
    """Give what the plans tell, under the names by which the nodes go here."""
    return (item._replace(node=node) for node, plan in gathered.plans for item in plan.own)


def _text(path: str) -> str:
    """Read a file again, to tell where something stands in it; it may have gone since."""
    try:
        return text_of(path)
    except (OSError, ValueError):
        return ""
