"""After the last operation: all must be as planned, and the probes that answered before must still answer."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from podlan.node import frames
from podlan.node._errors import RollbackFailed, RolledBack
from podlan.node.addresses import AddressAdd, Announce, Gate
from podlan.node.codes import finding
from podlan.node.observe import bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podlan.diagnostics import Finding
    from podlan.node.observe import Observed
    from podlan.node.operations import Operation
    from podlan.node.state import State
    from podlan.plan import Plan, Probe

_CLAIM_SECONDS = 0.3  # for an answer that is not hoped for; all new addresses together cost this once


class NotKept(OSError):
    """The kernel shows something else than what it acknowledged, or a probe no longer answers."""


def answering(plan: Plan, observed: Observed) -> tuple[Probe, ...]:
    """Give the plan's probes that answer now; a child that is not there yet is asked through its master."""
    return _answered((probe, _way(probe, plan, observed)) for probe in plan.probes)


@contextlib.contextmanager
def asking_again(answered: Sequence[Probe], plan: Plan, look: Callable[[], Observed]) -> Iterator[None]:
    """Let an error that follows a rollback say whether this node reaches again what it reached before the change."""
    try:
        yield
    except (RolledBack, RollbackFailed) as error:
        with contextlib.suppress(OSError):
            observed = look()
            again = _answered((probe, _way(probe, plan, observed)) for probe in answered)
            error.reach = _reach(answered, again)
        raise


def _reach(answered: Sequence[Probe], again: Sequence[Probe]) -> str:
    lost = [probe.address for probe in answered if probe not in again]
    if lost:
        return f"{', '.join(lost)} answered before and no longer answers, though all was taken back"
    return f"all that answered before answers again: {', '.join(probe.address for probe in again)}" if again else ""


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


def _way(probe: Probe, plan: Plan, observed: Observed) -> str:
    """Give the link through which a probe can be asked now, '' if there is none."""
    # A child hears what its master hears; a VLAN's link has the frames of another LAN.
    masters = {link.name: link.master for link in plan.links if link.kind == "macvlan"}
    for name in (probe.link, masters.get(probe.link, "")):
        state = observed.links.get(name)
        if state is not None and state.up:
            return name
    return ""


def _answered(ways: Iterable[tuple[Probe, str]]) -> tuple[Probe, ...]:
    """Ask all at once, each through its link, so that together they take no longer than the slowest."""
    asked = [(probe, link) for probe, link in ways if link]
    heard: set[Probe] = set()

    def ask(probe: Probe, link: str) -> None:
        if _is_answered(link, probe.address, probe.timeout):
            heard.add(probe)

    threads = [threading.Thread(target=ask, args=pair) for pair in asked[1:]]
    for thread in threads:
        thread.start()
    for pair in asked[:1]:
        ask(*pair)
    for thread in threads:
        thread.join()
    return tuple(probe for probe, _ in asked if probe in heard)


def _is_answered(link: str, address: str, seconds: float) -> bool:
    try:
        return frames.is_answered(link, address, seconds)
    except OSError:
        return False


def require(left: Sequence[Operation], probes: Iterable[Probe]) -> None:
    """Raise NotKept if operations are left to do, or one of the probes does not answer any more."""
    lacking = [str(operation) for operation in left if not isinstance(operation, Announce)]
    if lacking:
        raise NotKept(5, f"the kernel did not keep {len(lacking)} of the changes: {'; '.join(lacking[:3])}")
    probes = tuple(probes)
    still = _answered((probe, probe.link) for probe in probes)
    for probe in probes:
        if probe not in still:
            raise NotKept(110, f"{probe.address} answered before the change and no longer answers on {probe.link}")
