"""After the last operation: all must be as planned, and the probes that answered before must still answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node import frames
from podlan.node.addresses import Announce

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podlan.node.observe import Observed
    from podlan.node.operations import Operation
    from podlan.plan import Plan, Probe

_SECONDS = 1.0  # for an answer; a neighbour on the same link needs a millisecond


class NotKept(OSError):
    """The kernel shows something else than what it acknowledged, or a probe no longer answers."""


def answering(plan: Plan, observed: Observed, seconds: float = _SECONDS) -> tuple[Probe, ...]:
    """Give the plan's probes that answer now; a child that is not there yet is asked through its master."""
    return tuple(probe for probe in plan.probes if _answers(probe, plan, observed, seconds))


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
