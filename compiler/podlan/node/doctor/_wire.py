"""Who else answers for this node's addresses, and whether the LAN hears a second MAC address of this port.

The questions harm nobody: an ARP probe (RFC 5227) has no sender's address, so no cache learns from it, and a
neighbour solicitation comes from the master's own link-local address, since one without a sender would look like
another machine's duplicate address detection and make a pod that just starts give up its address (RFC 4862, 5.4.3).
They leave by the master, where this node's own pods do not hear them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from podlan.node import frames
from podlan.node.doctor._case import told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case
    from podlan.node.networks import Address, Network
    from podlan.node.observe import LinkState

_PROBE_NUM = 3
"""RFC 5227, section 1.1. It waits PROBE_MIN (1 s) to PROBE_MAX (2 s) between two, being about to take the address."""
_INTERVAL = 0.3  # seconds; nothing is taken here, and a machine that is there answers within milliseconds
_MOST = 1024
"""Addresses to ask for on one master: at the pace of `frames.survey` that is some seconds."""
_SECONDS = 1.0  # for the gateway's answer; it is asked four times within


def wire(case: Case) -> Iterator[Finding]:
    """Ask for every address of the slices, podlan's own and the node's; whoever answers is another machine."""
    own = _own_macs(case)
    for master, networks in _masters(case).items():
        link = case.observed.links[master]
        if not link.up:
            yield told("PL668", f"{master} is down, so nobody was asked")
            continue
        asked, left = _addresses(case, master, networks)
        answers: dict[str, frozenset[str]] = {}
        for source, addresses in _by_family(case, master, asked).items():
            if source is None:
                left += len(addresses)
                continue
            try:
                found = frames.survey(master, addresses, _PROBE_NUM, _INTERVAL, source)
            except OSError as error:
                yield told("PL668", f"{master} cannot be asked: {error.strerror or error}")
                continue
            answers |= {address: frozenset(macs - own) for address, macs in found.items() if macs - own}
        yield from _strangers(case, master, answers)
        if left:
            total = len(asked) + left
            yield told("PL668", f"{total - left} of {total} addresses were asked about on {master}")


def _strangers(case: Case, master: str, answers: dict[str, frozenset[str]]) -> Iterator[Finding]:
    grouped: dict[frozenset[str], list[str]] = {}
    for address, macs in answers.items():
        grouped.setdefault(macs, []).append(address)
    used = case.look.pods.addresses
    for macs, addresses in grouped.items():
        numbers = [ipaddress.ip_address(address) for address in addresses]
        here = [address for address in addresses if address in used]
        pods = f"; pods here have {', '.join(here)}" if here else ""
        yield told("PL667", f"{' and '.join(sorted(macs))} on {master} answers for {_spans(numbers)}{pods}")


def _spans(addresses: Iterable[Address]) -> str:
    spans: list[list[Address]] = []
    for address in sorted(addresses, key=lambda one: (one.version, int(one))):
        if spans and address.version == spans[-1][1].version and int(address) == int(spans[-1][1]) + 1:
            spans[-1][1] = address
        else:
            spans.append([address, address])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _masters(case: Case) -> dict[str, list[Network]]:
    found: dict[str, list[Network]] = {}
    for link in case.plan.links:
        if link.kind == "master" and link.name in case.observed.links:
            found[link.name] = []
    for network in case.networks:
        link_of = case.master(network)
        if link_of is not None:
            found.setdefault(link_of.name, []).append(network)
    return found


def _addresses(case: Case, master: str, networks: list[Network]) -> tuple[list[str], int]:
    """Give what to ask for, podlan's own first, and how many there are beyond that."""
    parents = {link.name: link.master for link in case.plan.links if link.kind == "macvlan"}
    added = [address for address in case.plan.addresses if master in (address.link, parents.get(address.link))]
    there = {state.address.partition("/")[0] for state in case.observed.addresses if state.link == master}
    own = [address.address.partition("/")[0] for address in added]
    own += [address for address in case.plan.identity if address in there]
    asked = dict.fromkeys(own)
    total = len(asked)
    for one in (one for network in networks for one in network.ranges):
        total += one.size
        first = int(one.first)
        # Nobody waits for a billion answers: what does not fit is counted only.
        for number in range(first, min(int(one.last), first + _MOST) + 1):
            address = type(one.first)(number)
            if len(asked) < _MOST and address != one.gateway:
                asked.setdefault(str(address))
    return list(asked), max(0, total - len(asked))


def _by_family(case: Case, master: str, addresses: list[str]) -> dict[str | None, list[str]]:
    """Divide by the address to ask from: none for ARP; IPv6 needs one, else None."""
    own = [
        state.address.partition("/")[0]
        for state in case.observed.addresses
        if state.link == master and state.address.startswith("fe80:")
    ]
    found: dict[str | None, list[str]] = {}
    for address in addresses:
        source = "" if ":" not in address else own[0] if own else None
        found.setdefault(source, []).append(address)
    return found


def _own_macs(case: Case) -> frozenset[str]:
    links = case.kernel.link("dump", ext_mask=8)
    here = (str(message.get("address") or "").lower() for message in links)
    return frozenset(here) | frozenset(link.mac for link in case.look.pods.links)


def second_mac(case: Case) -> Iterator[Finding]:
    """Ask the gateway by the master and by its child: a port that accepts one MAC address lets the first pass only."""
    for link in case.plan.links:
        child, master = (case.observed.links.get(name) for name in (link.name, link.master))
        if link.kind != "macvlan" or child is None or master is None or not child.up or not master.up:
            continue
        gateway = _gateway(case, master)
        if gateway and _answers(master, gateway) and not _answers(child, gateway):
            yield told(
                "PL669",
                f"the gateway {gateway} answers {master.name} ({master.mac}) and not {child.name} ({child.mac})",
            )


def _gateway(case: Case, master: LinkState) -> str:
    found = (case.master(network) for network in case.networks)
    for network, link in zip(case.networks, found, strict=True):
        if link is not None and link.name == master.name:
            return next((str(one.gateway) for one in network.ranges if one.gateway.version == 4), "")  # noqa: PLR2004 - ARP
    return ""


def _answers(link: LinkState, address: str) -> bool:
    try:
        return frames.is_answered(link.name, address, _SECONDS)
    except OSError:
        return False
