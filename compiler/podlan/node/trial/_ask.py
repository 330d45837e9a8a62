"""Asking: echo requests from every end at once, and who answers when the LAN is asked for an address."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_address, ip_interface
from typing import TYPE_CHECKING

from podlan.node.echo import unanswered
from podlan.node.frames import is_answered
from podlan.node.reach import Try
from podlan.node.trial._judge import checked, questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.node.reach import Row
    from podlan.node.trial._hosted import Attached
    from podlan.node.trial._judge import Question, Scene
    from podlan.node.trial._stop import Stop

_SECONDS = 0.3
"""Seconds to wait for the slower of two answers to an ARP request; on one LAN they take milliseconds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was tried, and what of it is promised; and the row that says how many MACs answer for an address."""

    promised: dict[Try, bool | None]
    macs: Row


def ask(scenes: Sequence[Scene], peers: Sequence[str], stop: Stop) -> Asked:
    """Ask all that there is to be asked."""
    listed = [(here, one) for here in scenes for one in questions(here)]
    pods = {one.asker.pod.process: one.asker.pod for _, one in listed if one.asker is not None}
    wanted: dict[int, dict[str, None]] = {0: {}, **{process: {} for process in pods}}
    for _, one in listed:
        wanted[_process(one)][one.address] = None
    for process, pod in pods.items():
        pod.ask("unanswered", list(wanted[process]))
    silent = {0: unanswered(wanted[0])}
    silent |= {process: pod.answer(stop) for process, pod in pods.items()}
    heard = _heard([(here, one) for here, one in listed if one.address in silent[_process(one)]], stop)
    promised = {
        Try(
            one.source,
            one.target,
            one.address,
            one.address not in silent[_process(one)] or (_process(one), one.address) in heard,
        ): one.promised
        for _, one in listed
    }
    return Asked(promised, _macs(scenes, peers, stop))


def _process(question: Question) -> int:
    return question.asker.pod.process if question.asker is not None else 0


def _heard(silent: Sequence[tuple[Scene, Question]], stop: Stop) -> set[tuple[int, str]]:
    """Give the gateways, with who asks, that answer for their address, if to no ping: many are told not to."""
    gateways = [(here, one) for here, one in silent if one.target is here.gateway]
    for _, one in gateways:
        if one.asker is not None:
            one.asker.pod.ask("is_answered", one.asker.net.interface, one.address)
    # A pod's answers come in the order of its questions.
    return {
        (_process(one), one.address)
        for here, one in gateways
        if (is_answered(here.net.master, one.address) if one.asker is None else one.asker.pod.answer(stop))
    }


def _macs(scenes: Sequence[Scene], peers: Sequence[str], stop: Stop) -> Row:
    """Ask who has the IPv4 addresses of hosts, as a pod asks: one must answer, and this host's own on this host.

    Two interfaces of this host that both answer the LAN (ARP flux) are seen from another node only: a pod hears no
    answer of the master that it hangs on. A trial there, with `--peer`, asks.
    """
    checks: dict[str, str] = {}
    for here in scenes:
        asker, sender = _asker(here)
        if asker is None or sender is None:
            continue
        own, near = (
            [one for one in several if ":" not in one and ip_address(one) in sender.network]
            for several in (here.net.host, peers if here.others else ())
        )
        # With a sender: whoever asks without one is answered by each interface, whatever arp_filter says.
        asker.pod.ask("survey", asker.net.interface, [*own, *near], 1, _SECONDS, str(sender.ip))
        answers: dict[str, set[str]] = asker.pod.answer(stop)
        mine = {link.mac for link in here.see.links.values()}
        for address in own:
            macs = answers.get(address, set())
            if others := sorted(macs - mine):
                checks[address] = f"{address} is this host's, and {', '.join(others)} beyond it answers for it"
            elif 4 in here.net.access:  # noqa: PLR2004 - IPv4
                checks[address] = _single(address, macs)
        checks |= {address: _single(address, answers.get(address, set())) for address in near}
    return checked("macs", "one MAC answers for a host's IPv4 address", checks.values())


def _asker(here: Scene) -> tuple[Attached | None, IPv4Interface | None]:
    """Give a pod, and its IPv4 address."""
    for _, one in here.pods:
        for address in map(ip_interface, one.addresses):
            if isinstance(address, IPv4Interface):
                return one, address
    return None, None


def _single(address: str, macs: set[str]) -> str:
    return "" if len(macs) == 1 else f"{address} is answered by {', '.join(sorted(macs)) or 'nobody'}"
