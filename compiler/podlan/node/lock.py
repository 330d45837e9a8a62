"""Runs take turns: one lock file, waited for a bounded time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from podlan.node._errors import Busy, Unusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.files import Root

LOCK = "/run/podlan/lock"
_POLL = 0.05  # seconds


@contextlib.contextmanager
def turn(root: Root, seconds: float) -> Iterator[None]:
    """Hold the lock until the block, or the process, ends; raises Busy when others hold it longer than `seconds`."""
    path = root.shown(LOCK)
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib costs 10 ms
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(path, error) from error
    try:
        end = time.monotonic() + seconds
        while not _taken(descriptor):
            if time.monotonic() >= end:
                raise Busy(path, seconds)
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
