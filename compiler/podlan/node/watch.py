"""`podlan reconcile --watch`: stay, and repair what drifts as soon as the kernel tells of it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Self

from podlan.node.events import Events
from podlan.node.files import Root
from podlan.node.keeper import Keeper, Settings, edition
from podlan.node.lock import watching
from podlan.node.notify import Systemd, Voice

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_QUIET, _LONGEST = 0.05, 0.5  # seconds without a change, and from the first one, before a run
_LOOK = 1.0  # seconds between two looks at the manifest
_SETTLED = 0.5  # seconds after which a changed manifest has its files beside it


def watch(settings: Settings) -> None:
    """Reconcile until SIGTERM or SIGINT; raises what stops the first run, unless time alone may mend it."""
    systemd, voice = Systemd(os.environ), Voice(os.environ, quiet=settings.quiet)
    # Subscribed before the first look, so that nothing happens unseen between the two.
    with watching(Root(settings.options.root)), Events() as events, _Signals() as signals:
        keeper = Keeper(settings, events, systemd, voice)
        _Loop(settings, events, signals, systemd, keeper).go()
        systemd.tell("STOPPING=1", "STATUS=stopped; what was applied stays")


class _Signals:
    """What was asked of us, and a descriptor that wakes the loop; a run that has begun is never cut short."""

    def __init__(self) -> None:
        self.end = False
        self.reload = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = -1
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.end = True

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._read

    def drain(self) -> None:
        """Sleep again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 512)


class _Loop:
    """Decides when to run; all moments are those of the monotonic clock, infinite for what has not happened."""

    def __init__(self, settings: Settings, events: Events, signals: _Signals, systemd: Systemd, keeper: Keeper) -> None:
        self._settings = settings
        self._events = events
        self._signals = signals
        self._systemd = systemd
        self._keeper = keeper
        self._edition = edition(settings)
        self._first = self._latest = self._delivered = math.inf
        self._next = self._hold = 0.0

    def go(self) -> None:
        """Wait and run, in turns."""
        while not self._signals.end:
            if self._signals.reload:
                self._signals.reload = False
                self._keeper.reread()
                self._next = self._hold = 0.0
            wait = self._due() - time.monotonic()
            if wait > 0:
                self._wait(wait)
            else:
                self._run()
            self._systemd.alive()

    def _due(self) -> float:
        drift = min(self._latest + _QUIET, self._first + _LONGEST)
        # A new plan is a person's word: no back-off keeps it waiting.
        return min(max(min(self._next, drift), self._hold), self._delivered + _SETTLED)

    def _wait(self, seconds: float) -> None:
        descriptors = [self._events.fileno(), self._signals.fileno()]
        select.select(descriptors, [], [], min(seconds, _LOOK, self._systemd.beat))
        self._signals.drain()
        self._listen()
        newest = edition(self._settings)
        if newest != self._edition:
            self._edition, self._delivered = newest, time.monotonic()

    def _listen(self) -> None:
        for event in self._events.read():
            self._latest = time.monotonic()
            self._first = min(self._first, self._latest)
            self._keeper.heard(event)

    def _run(self) -> None:
        self._listen()  # what has come by now is covered by the look that follows
        since = self._first
        self._first = self._latest = self._delivered = math.inf
        pause = self._keeper.round(since)
        now = time.monotonic()
        self._next, self._hold = now + pause.at_most, now + pause.at_least
