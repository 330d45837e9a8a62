"""After the last operation: all must be as planned, and the probes that answered before must still answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node import frames
from podlan.node.addresses import AddressAdd, Announce, Gate
from podlan.node.codes import finding
from podlan.node.observe import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from podlan.diagnostics import Finding
    from podlan.node.observe import Observed
    from podlan.node.operations import Operation
    from podlan.node.state import State
    from podlan.plan import Plan, Probe

_SECONDS = 1.0  # for an answer; a neighbour on the same link needs a millisecond
_CLAIM_SECONDS = 0.3  # as above; all new addresses together cost this once


class NotKept(OSError):
    """The kernel shows something else than what it acknowledged, or a probe no longer answers."""


def answering(plan: Plan, observed: Observed, seconds: float = _SECONDS) -> tuple[Probe, ...]:
    """Give the plan's probes that answer now; a child that is not there yet is asked through its master."""
    return tuple(probe for probe in plan.probes if _answers(probe, plan, observed, seconds))


def taken(operations: Iterable[Operation], plan: Plan, last: State, observed: Observed) -> Iterator[Finding]:
    """Tell which addresses that are about to be added another machine has, or is about to take.

    What this machine has already, on any of the links, is no news, and what podlan applied in this boot comes back at
    once. An address that the kernel once found to be another's is asked for each time.
    """
    here = {bare(state.address) for state in observed.addresses if not state.failed}
    failed = {state.key for state in observed.addresses if state.failed}
    masters = {link.name: link.master for link in plan.links}
    questions: dict[tuple[str, str], AddressAdd] = {}
    for operation in operations:
        if not isinstance(operation, AddressAdd) or bare(operation.address) in here:
            continue
        key = (operation.link, operation.address)
        if key in last.addresses and key not in failed:
            continue
        for name in (operation.link, masters.get(operation.link, "")):
            state = observed.links.get(name)
            if state is not None and state.up:
                questions[name, bare(operation.address)] = operation
                break
    own = {link.mac for link in observed.links.values()}
    for question, mac in frames.claimants(questions, own, _CLAIM_SECONDS).items():
        operation = questions[question]
        address = question[1]
        if (operation.link, operation.address) in failed:
            yield finding("PL655", f"{address} on {operation.link} stays unused: {mac} has it, on another machine")
        else:
            yield finding("PL626", f"{address} is answered by {mac}: another machine has it")


def doubtful(operations: Iterable[Operation], answered: Iterable[Probe]) -> Iterator[Finding]:
    """Tell which gates were passed because nobody answered, neither before the change nor after it."""
    known = {(probe.link, probe.address) for probe in answered}
    for gate in operations:
        if not isinstance(gate, Gate) or (gate.link, gate.address) in known:
            continue
        if not _is_answered(gate.link, gate.address, gate.seconds):
            yield finding(
                "PL625",
                f"the gateway {gate.address} did not answer, so nobody knows whether the switch lets a second MAC "
                f"through to {gate.link}",
            )


def _answers(probe: Probe, plan: Plan, observed: Observed, seconds: float) -> bool:
    masters = {link.name: link.master for link in plan.links}
    for name in (probe.link, masters.get(probe.link, "")):
        state = observed.links.get(name)
        if state is not None and state.up:
            return _is_answered(name, probe.address, seconds)
    return False


def _is_answered(link: str, address: str, seconds: float) -> bool:
    try:
        return frames.is_answered(link, address, seconds)
    except OSError:
        return False


def require(left: Sequence[Operation], probes: Iterable[Probe], seconds: float = _SECONDS) -> None:
    """Raise NotKept if operations are left to do, or one of the probes does not answer any more."""
    lacking = [str(operation) for operation in left if not isinstance(operation, Announce)]
    if lacking:
        raise NotKept(5, f"the kernel did not keep {len(lacking)} of the changes: {'; '.join(lacking[:3])}")
    for probe in probes:
        if not _is_answered(probe.link, probe.address, seconds):
            raise NotKept(110, f"{probe.address} answered before the change and no longer answers on {probe.link}")
