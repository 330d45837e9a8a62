"""Ctrl-C and its like: noted at once, heeded where it is safe, so that no pod is left behind."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Self

from podlan.diagnostics import PodlanError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL = 0.05  # seconds


class Interrupted(PodlanError):
    """A signal ended the trial before it had an answer; all is cleaned up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number  # type: ignore[misc]  # as a shell reports it

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name} before all was tried"


class Stop:
    """Notes the signals that end a command, for as long as the block lasts."""

    def __init__(self) -> None:
        self._number = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._number = self._number or number

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._number:
            raise Interrupted(self._number)

    def wait(self) -> None:
        """Wait for a signal."""
        while not self._number:
            time.sleep(_POLL)
