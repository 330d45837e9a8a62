"""What podlan has on this node, and what is unfinished: read from its own records, and nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.node import confirm, lock, state, unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.files import Root
    from podlan.node.state import State

IDLE, UNDER_WAY, WAITING, INTERRUPTED, UNKNOWN = "idle", "under way", "waiting", "interrupted", "unknown"
_SHOWN = 4  # of each kind, so that all of it fits a screen


@dataclass(frozen=True, slots=True)
class Status:
    """The state as of this boot; `run` is what a run is about, `seconds` those left for `podlan confirm`."""

    state: State
    run: str
    seconds: float = 0.0

    @property
    def is_of_this_boot(self) -> bool:
        """Tell whether podlan has changed the network of this boot and namespace."""
        return bool(self.state.boot)

    def document(self) -> dict[str, object]:
        """Give it as JSON holds it."""
        last = self.state
        return {
            "node": last.node,
            "thisBoot": self.is_of_this_boot,
            "run": self.run,
            "confirmWithin": round(self.seconds) if self.run == WAITING else None,
            "links": list(last.links),
            "addresses": [{"link": link, "address": address} for link, address in last.addresses],
            "routes": [
                {"link": one.link, "destination": one.destination, "gateway": one.gateway, "metric": one.metric}
                for one in last.routes
            ],
            "altnames": [{"link": link, "altname": altname} for link, altname in last.altnames],
            "sysctls": {key: value for key, (_, value) in last.sysctls.items()},
            "promisc": list(last.promisc),
            "files": [record.path for record in last.files],
            "plugins": [record.path for record in last.binaries],
            "displaced": {
                "routes": [f"{one.destination} on {one.link}" for one in last.displaced],
                "metrics": list(last.metrics),
            },
            "pendingRestarts": list(last.restart),
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        last = self.state
        if not last.node:
            yield "podlan has applied nothing here"
        elif self.is_of_this_boot:
            yield f"{last.node}: applied in this boot"
        else:
            yield f"{last.node}: nothing applied to the network since the boot; podlan reconcile does it"
        kept = [f"{one.destination} on {one.link}" for one in last.displaced] + list(last.metrics)
        for name, items in (
            ("links", list(last.links)),
            ("addresses", [f"{address} on {link}" for link, address in last.addresses]),
            ("routes", [f"{one.destination} on {one.link}" for one in last.routes]),
            ("altnames", [f"{altname} of {link}" for link, altname in last.altnames]),
            ("promisc", list(last.promisc)),
            ("sysctls", [f"{key}={value}" for key, (_, value) in last.sysctls.items()]),
            ("displaced", kept),
            ("files", [record.path for record in last.files]),
            ("plugins", [record.path for record in last.binaries]),
            ("to restart", list(last.restart)),
        ):
            if items:
                more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
                yield f"  {name:<10} {', '.join(items[:_SHOWN])}{more}"
        yield f"  {'run':<10} {self._run()}"

    def _run(self) -> str:
        return {
            IDLE: "none is under way",
            UNDER_WAY: "one is under way",
            WAITING: f"one waits {self.seconds:.0f} s more for podlan confirm, then takes its changes back",
            INTERRUPTED: "one was killed; the next podlan reconcile takes it back first",
            UNKNOWN: "one is under way or was killed; root can tell which",
        }[self.run]


def look(root: Root) -> Status:
    """Read podlan's records; needs no privileges, but to tell a run that goes on from one that was killed."""
    return Status(state.recall(root), *_run(root))


def _run(root: Root) -> tuple[str, float]:
    is_open = unfinished.is_open(root)
    if not os.access(root.shown(lock.LOCK), os.R_OK | os.W_OK):
        held = None if os.path.lexists(root.shown(lock.LOCK)) else False
    else:
        held = lock.is_held(root)
    if held is None:
        held_or_idle = (WAITING, confirm.seconds_left(root)) if confirm.seconds_left(root) else (UNKNOWN, 0.0)
        return held_or_idle if is_open else (IDLE, 0.0)
    if not held:  # unless it has just ended
        return (INTERRUPTED if is_open and unfinished.is_open(root) else IDLE), 0.0
    seconds = confirm.seconds_left(root)
    return (WAITING, seconds) if seconds else (UNDER_WAY, 0.0)
