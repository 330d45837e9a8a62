"""Runs take turns, by one lock file, waited for a bounded time; who watches holds a lock of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from podlan.node._errors import Busy, Unusable
from podlan.node.trust import require_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.files import Root

LOCK = "/run/podlan/lock"
_WATCHES = "/run/podlan/watches"
_POLL = 0.05  # seconds


@contextlib.contextmanager
def turn(root: Root, seconds: float) -> Iterator[None]:
    """Hold the lock until the block, or the process, ends; raises Busy when others hold it longer than `seconds`."""
    path = root.shown(LOCK)
    descriptor = _opened(root, path)
    try:
        end = time.monotonic() + seconds
        while not _taken(descriptor):
            from podlan.node.confirm import seconds_left  # noqa: PLC0415 - only who finds it held asks why

            waits = seconds_left(root)
            if waits or time.monotonic() >= end:
                raise Busy(path, seconds, waits)
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def watching(root: Root) -> Iterator[None]:
    """Show that this process watches, until the block or the process ends."""
    path = root.shown(f"{_WATCHES}/{os.getpid()}")
    descriptor = _opened(root, path)
    try:
        # Shared: in another PID namespace, a process of the same number may watch too.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - as below
        os.close(descriptor)


def watchers(root: Root) -> tuple[int, ...]:
    """Give the processes that watch now, in order."""
    found = []
    for name in root.names(_WATCHES) or ():
        path = root.shown(f"{_WATCHES}/{name}")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):  # it has just ended, or this is not root, who only looks
            continue
        except OSError as error:
            raise Unusable(path, error) from error
        try:
            # What a killed one left is locked by nobody.
            if name.isdecimal() and not _taken(descriptor):
                found.append(int(name))
        finally:
            os.close(descriptor)
    return tuple(sorted(found))


def _opened(root: Root, path: str) -> int:
    require_own(root.directory)
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)  # noqa: PTH103, PTH120 - pathlib costs 10 ms
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)  # who can open it can hold it for ever
    except OSError as error:
        raise Unusable(path, error) from error
    return descriptor


def is_held(root: Root) -> bool:
    """Tell whether a run holds the lock now, by a shared lock for a moment: others may ask at the same time."""
    path = root.shown(LOCK)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unusable(path, error) from error
    try:
        return not _taken(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
