"""Run operations one by one; take back those that were done, the last first, when one fails or we are told to end."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, NoReturn, Protocol

from podlan.node._errors import RollbackFailed, RolledBack
from podlan.node._kernel import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from podlan.node._kernel import Kernel
    from podlan.node.operations import Operation


class Signals:
    """Which signal asked this run to end, if any: it ends between two operations, never within one."""

    def __init__(self) -> None:
        self.name = ""

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; the handler of `deferred`."""
        del frame
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def deferred() -> Iterator[Signals]:
    """Put SIGTERM and SIGINT off; ignore SIGHUP, since the change may be what cuts the terminal off.

    A caller that handles SIGTERM itself is left to it: it lets a run come to its end.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread() or callable(signal.getsignal(signal.SIGTERM)):
        yield signals
        return
    earlier = {number: signal.signal(number, signals.note) for number in (signal.SIGTERM, signal.SIGINT)}
    earlier[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield signals
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


class Progress(Protocol):
    """Who wants to know how far a run has come."""

    def begin(self) -> None:
        """Hear that the next operation begins; raises OSError if it must not."""

    def undone(self) -> None:
        """Hear that the last operation is not done, or no longer."""


def apply(operations: Sequence[Operation], kernel: Kernel, signals: Signals, progress: Progress) -> None:
    """Do all of them, or none: raises RolledBack, or RollbackFailed when taking back fails."""
    done: list[Operation] = []
    for operation in operations:
        if signals.name:
            roll_back(done, kernel, progress, RolledBack(f"ended by {signals.name}", "before it was done"))
        try:
            progress.begin()
        except OSError as error:
            roll_back(done, kernel, progress, RolledBack(str(operation), f"not begun: {error.strerror or error}"))
        try:
            operation.do(kernel)
        except Unanswered as error:
            why = RolledBack(str(operation), error.strerror or str(error))
            roll_back([*done, operation], kernel, progress, why)  # it may have been done
        except OSError as error:
            progress.undone()
            roll_back(done, kernel, progress, RolledBack(str(operation), error.strerror or str(error)))
        done.append(operation)
    if signals.name:
        roll_back(done, kernel, progress, RolledBack(f"ended by {signals.name}", "before it was verified"))


def roll_back(done: Sequence[Operation], kernel: Kernel, progress: Progress, why: RolledBack) -> NoReturn:
    """Undo all of them; always raises: `why`, or RollbackFailed."""
    left = take_back(done, kernel, progress.undone)
    if left:
        raise RollbackFailed(why.what, why.reason, left)
    raise why


def take_back(done: Sequence[Operation], kernel: Kernel, undone: Callable[[], None]) -> list[str]:
    """Undo all of them, the last first, past those that cannot be undone; give these.

    `undone` hears of each one, until one cannot be undone: whoever tries again begins with that one.
    """
    left: list[str] = []
    for operation in reversed(done):
        try:
            operation.undo(kernel)
        except OSError as error:
            left.append(f"{operation}: {error.strerror or error}")
        if not left:
            undone()
    return left
