"""What a run that was killed left behind, and what waits for the next."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from podlan.diagnostics import Severity
from podlan.node import state, unfinished
from podlan.node.copy import COPY
from podlan.node.doctor._case import told
from podlan.node.files import SUFFIX
from podlan.node.lock import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case


def leftovers(case: Case) -> Iterator[Finding]:
    """Tell of an open journal, files that were being written, and units that still run with what they read before."""
    for unit in case.last.restart:
        yield told("PL679", f"{unit} still waits for its restart", place=case.root.shown(state.STATE))
    if _is_running(case):  # what lies about is in use
        note = "reconcile is at work: what differs now may be as planned in a moment"
        yield told("PL679", note, hint="run doctor again", severity=Severity.NOTE)
        return
    if unfinished.is_open(case.root):
        message = "a run began and never ended: the next one takes it back first"
        yield told("PL679", message, place=case.root.shown(unfinished.JOURNAL))
    for path in _temporary(case):
        if os.path.lexists(case.root.shown(path)):
            hint = "the next run that writes this file takes it away; it does no harm"
            yield told("PL679", "half a file, of a run that was killed", place=case.root.shown(path), hint=hint)


def _is_running(case: Case) -> bool:
    """Tell whether a run holds the lock; a shared lock for a moment, on a file opened for reading."""
    with contextlib.suppress(OSError):
        descriptor = os.open(case.root.shown(LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _temporary(case: Case) -> Iterator[str]:
    release = case.plan.release
    binaries = [f"{release.directory}/{name}" for name in release.names] if release else []
    files = [*(file.path for file in case.plan.files), *(record.path for record in case.last.files)]
    own = (state.STATE, unfinished.JOURNAL, COPY)
    yield from (f"{path}{SUFFIX}" for path in dict.fromkeys([*files, *binaries, *own]))
    yield f"{COPY}{SUFFIX}-old"
