"""A run that waits for `podlan confirm`: who is first to rename one file decides whether its changes stay."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.node._errors import UNGUARDED, NotConfirmed, Unusable

if TYPE_CHECKING:
    from podlan.node.apply import Signals
    from podlan.node.deadman import Guard
    from podlan.node.files import Root

WAITING, CONFIRMED, EXPIRED = "/run/podlan/waiting", "/run/podlan/confirmed", "/run/podlan/expired"
_POLL = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits: its token, its node, and until which moment of the monotonic clock."""

    token: str
    node: str
    until: float

    @property
    def seconds(self) -> float:
        """Give how long it still waits."""
        return max(0.0, self.until - time.monotonic())


def waiting(root: Root) -> Waiting | None:
    """Give the run that waits, if one does."""
    return _read(root, WAITING)


def seconds_left(root: Root) -> float:
    """Give how long the run that waits still does so."""
    found = waiting(root)
    return found.seconds if found else 0.0


def offer(root: Root, token: str, node: str, seconds: float) -> None:
    """Say that a run waits from now on."""
    document = {"token": token, "node": node, "until": time.monotonic() + seconds}
    withdraw(root)
    try:
        root.write(WAITING, json.dumps(document).encode() + b"\n", 0o644)
    except OSError as error:
        raise Unusable(root.shown(WAITING), error) from error


def withdraw(root: Root) -> None:
    """Remove what earlier runs left."""
    for path in (WAITING, CONFIRMED, EXPIRED):
        root.remove(path)


def accept(root: Root) -> bool:
    """Keep what the run that waits has done; tell whether that was still possible."""
    return _decide(root, CONFIRMED)


def expire(root: Root) -> bool:
    """Decide that it is taken back; tell whether that was still possible."""
    return _decide(root, EXPIRED)


def is_confirmed(root: Root, token: str) -> bool:
    """Tell whether the run with this token was confirmed."""
    found = _read(root, CONFIRMED)
    return found is not None and found.token == token


def is_kept(root: Root, token: str) -> bool:
    """Decide about a run whose process is dead: it stays only if it was confirmed."""
    return not expire(root) and is_confirmed(root, token)


def wait(root: Root, token: str, signals: Signals, guard: Guard) -> None:
    """Wait for the confirmation; raises NotConfirmed when it did not come, or when we are told to end."""
    guard.waits()
    while not is_confirmed(root, token):
        if not signals.name and seconds_left(root) > 0 and guard.is_there():
            time.sleep(_POLL)
        elif expire(root) or not is_confirmed(root, token):
            why = f"ended by {signals.name}" if signals.name else "" if guard.is_there() else UNGUARDED
            raise NotConfirmed(why or "it did not come in time")
    with contextlib.suppress(OSError):  # it is decided, be the guard there or not
        guard.beat()
    signals.name = ""  # it came after the decision


def _decide(root: Root, verdict: str) -> bool:
    try:
        os.rename(root.shown(WAITING), root.shown(verdict))  # noqa: PTH104 - strings, as everywhere here
    except FileNotFoundError:
        return False
    return True


def _read(root: Root, path: str) -> Waiting | None:
    try:
        found = root.read(path)
        if found is None or found.link is not None:
            return None
        document = json.loads(found.content)
        return Waiting(str(document["token"]), str(document["node"]), float(document["until"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
