"""A change as a whole: it is in the journal and guarded before it begins, and at its end it is done or never was."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.diagnostics import PodlanError
from podlan.node import confirm, journal, state, unfinished
from podlan.node._errors import RollbackFailed, RolledBack, Unusable
from podlan.node.aloud import say
from podlan.node.apply import apply, deferred, roll_back
from podlan.node.deadman import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.node._kernel import Kernel
    from podlan.node.apply import Signals
    from podlan.node.deadman import Guard
    from podlan.node.files import Root
    from podlan.node.operations import Operation
    from podlan.node.state import State


@dataclass(frozen=True, slots=True)
class Change:
    """The operations, what is remembered before the first and after the last, and what must hold then.

    `verify` raises an OSError if it does not. `undo_after`: seconds without a word after which the run hangs;
    `confirm`: seconds to wait for `podlan confirm`, 0 where nobody has to.
    """

    root: Root
    node: str
    operations: tuple[Operation, ...]
    intent: State
    settled: Callable[[], State]
    verify: Callable[[Guard], None]
    undo_after: float
    confirm: float = 0.0

    def make(self, kernel: Kernel) -> State:
        """Do it, give what is remembered; on any failure all is taken back, and the state with it."""
        token = os.urandom(8).hex() if self.confirm else ""
        with contextlib.closing(journal.Steps(self.root)) as steps, deferred() as signals:
            entry = journal.begin(self.root, self.node, self.operations, token)
            with contextlib.ExitStack() as guarding:
                try:
                    guarding.enter_context(journal.held(self.root))  # by the guard, too
                    guard = guarding.enter_context(guarded(self.root, entry, steps, self.undo_after))
                    state.remember(self.root, self.intent)
                    final = self._done(kernel, token, signals, guard)
                    unfinished.close(self.root)  # from here on nobody takes it back
                except RollbackFailed:
                    raise  # the journal stays: the next run tries again, or finishes
                except PodlanError:
                    journal.restore(self.root, entry)
                    unfinished.close(self.root)
                    raise
        if token:
            confirm.withdraw(self.root)
        return final

    def _done(self, kernel: Kernel, token: str, signals: Signals, guard: Guard) -> State:
        apply(self.operations, kernel, signals, guard)
        try:
            return self._verified(token, signals, guard)
        except RolledBack as error:
            roll_back(self.operations, kernel, guard, error)
        except (OSError, Unusable) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            roll_back(self.operations, kernel, guard, RolledBack("verification", reason))

    def _verified(self, token: str, signals: Signals, guard: Guard) -> State:
        guard.beat()
        self.verify(guard)
        final = self.settled()
        state.remember(self.root, final)
        if token:
            confirm.offer(self.root, token, self.node, self.confirm)
            say(
                f"{self.node}: changed and verified; within {self.confirm:g} s run podlan confirm, or all is taken back"
            )
            confirm.wait(self.root, token, signals, guard)
        return final
