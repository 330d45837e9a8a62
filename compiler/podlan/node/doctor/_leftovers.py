"""What a run that was killed left behind, and what waits for the next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from podlan.diagnostics import Severity
from podlan.node import state, unfinished
from podlan.node.copy import remains
from podlan.node.doctor._case import told
from podlan.node.files import SUFFIX
from podlan.node.lock import is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case


def leftovers(case: Case) -> Iterator[Finding]:
    """Tell of an open journal, files that were being written, and units that still run with what they read before."""
    for unit in case.last.restart:
        yield told("PL679", f"{unit} still waits for its restart", place=case.root.shown(state.STATE))
    if is_held(case.root):  # what lies about is in use
        note = "reconcile is at work: what differs now may be as planned in a moment"
        yield told("PL679", note, hint="run doctor again", severity=Severity.NOTE)
        return
    if unfinished.is_open(case.root):
        message = "a run began and never ended: the next one takes it back first"
        yield told("PL679", message, place=case.root.shown(unfinished.JOURNAL))
    half = (f"{path}{SUFFIX}" for path in (*state.written(case.plan, case.last), state.STATE, unfinished.JOURNAL))
    for shown in (*map(case.root.shown, half), *remains(case.root)):
        if os.path.lexists(shown):
            hint = "the next run that writes this file takes it away; it does no harm"
            yield told("PL679", "half a file, of a run that was killed", place=shown, hint=hint)
