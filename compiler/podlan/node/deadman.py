"""A process that takes a run back when the run's own process is killed, or hangs.

It is forked before the first change, with the operations in its memory, so that it needs neither the disk nor another
import. The lock is inherited: nobody interferes. What the two say to each other is a pipe: a character for whatever the
run does, another one where it cannot end well. Closed without that, the run's process is dead. One that ends well ends
the guard.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn, TypeVar

from podlan.diagnostics import Exit, PodlanError
from podlan.node import confirm, journal, unfinished
from podlan.node._errors import UNGUARDED, RollbackFailed, Unusable
from podlan.node._kernel import Kernel
from podlan.node.aloud import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.node.files import Root
    from podlan.node.journal import Journal, Steps

_Question = TypeVar("_Question")
_BEAT, _WAITS, _BROKEN = b".", b"w", b"b"
_GRACE = 1.0  # seconds in which the run's own process should have seen that its time for a confirmation is over
_POLL = 0.01  # seconds between two looks at a process, where the kernel has no pidfd (before 5.3)


class Guard:
    """The run's end of the pipe; the `Progress` of a run."""

    def __init__(self, pipe: int, steps: Steps) -> None:
        self._pipe = pipe
        self._steps = steps

    def begin(self) -> None:
        """Say that the next operation begins; raises OSError where nobody guards this run any more."""
        self.beat()
        self._steps.begin()

    def undone(self) -> None:
        """Say that the last operation is not done, or no longer."""
        self._steps.undone()
        with contextlib.suppress(OSError):
            self.beat()

    def beat(self) -> None:
        """Say that this process is alive."""
        self._say(_BEAT)

    def each(self, questions: Iterable[_Question]) -> Iterator[_Question]:
        """Give one after the other; each may take as long as an answer may."""
        for question in questions:
            self.beat()
            yield question

    def waits(self) -> None:
        """Say that nothing is heard from now on until the time for a confirmation is over, or a beat comes."""
        self._say(_WAITS)

    def is_there(self) -> bool:
        """Tell whether this run is guarded still."""
        poll = select.poll()
        poll.register(self._pipe, 0)  # that nobody reads it any more is told even so
        return not poll.poll(0)

    def _say(self, what: bytes) -> None:
        try:
            os.write(self._pipe, what)
        except BrokenPipeError as error:
            raise OSError(error.errno, UNGUARDED) from error

    def take_back(self) -> bool:
        """Have the guard take back what is there to take back; tell whether it was told so."""
        try:
            self._say(_BROKEN)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Say no more."""
        os.close(self._pipe)


@contextlib.contextmanager
def guarded(root: Root, run: Journal, steps: Steps, seconds: float) -> Iterator[Guard]:
    """Guard the block: it ends well, or with a PodlanError after it has taken everything back itself."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed by the caller, or nobody reads it
            stream.flush()  # what is in their buffers is this process's to say
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
    try:
        child, speak = _forked(root, run, steps, seconds)
    except OSError as error:
        raise Unusable("cannot start the process that guards this run", error) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    guard = Guard(speak, steps)
    well = False
    try:
        yield guard
        well = True
    except PodlanError:
        well = True
        raise
    finally:
        if well:
            # Its journal is closed, or is the next run's: whatever the guard is at, nobody waits for it.
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        elif guard.take_back():
            os.waitpid(child, 0)
        # A guard that was not told waits for the end of this process, and this one must not wait for it.
        guard.close()


def _forked(root: Root, run: Journal, steps: Steps, seconds: float) -> tuple[int, int]:
    """Start the guard; give its process and this one's end of the pipe."""
    parent = os.getpid()
    listen, speak = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
        if not child:
            os.close(speak)
            _guard(root, run, steps, listen, parent, seconds)
    except OSError:
        os.close(speak)
        raise
    finally:
        os.close(listen)
    return child, speak


def _guard(root: Root, run: Journal, steps: Steps, pipe: int, parent: int, seconds: float) -> NoReturn:
    """Be the guard; never returns."""
    code: int = Exit.ROLLBACK_FAILED
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        process = _Process(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with Kernel(root) as kernel:  # opened now: when it is needed, there may be no descriptor, no memory left
            why = _listen(root, pipe, process, seconds)
            code = _finish(root, run, steps, kernel, why)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it must not go on as the run itself
        what = f"{type(error).__name__}: {error}"
        say(f"error: the process that guards podlan reconcile failed: {what}; podlan status tells more")
    finally:
        os._exit(code)


def _listen(root: Root, pipe: int, process: _Process, seconds: float) -> str:
    """Listen until the run is to be taken back; give why."""
    patience, waits = seconds, False
    while True:
        ready, _, _ = select.select([pipe], [], [], patience)
        if ready:
            heard = os.read(pipe, 1 << 16)
            if not heard:
                process.await_end()
                return "was killed"
            if _BROKEN in heard:  # it waits for this process's end
                return "failed"
            waits = heard.endswith(_WAITS)
            patience = confirm.seconds_left(root) + _GRACE if waits else seconds
        elif not waits or confirm.expire(root):
            process.kill()
            return "was not confirmed in time" if waits else f"did nothing for {seconds:g} s"
        else:
            patience, waits = seconds, False


def _finish(root: Root, run: Journal, steps: Steps, kernel: Kernel, why: str) -> int:
    if not unfinished.is_open(root):  # it had just ended
        return Exit.DONE
    if run.token and confirm.is_kept(root, run.token):
        unfinished.close(root)
        say("podlan reconcile was killed after its changes were confirmed: they stay, and the next run does the rest")
        return Exit.DONE
    done = run.operations[: steps.count()]
    try:
        journal.undo(root, run, done, kernel, steps)
    except RollbackFailed as error:
        left = "".join(f"\n  not undone: {line}" for line in error.left)
        say(f"error: podlan reconcile {why}, and taking it back failed:{left}\nrun podlan reconcile again")
        return Exit.ROLLBACK_FAILED
    say(f"error: podlan reconcile {why}; all is as it was before, operations taken back: {len(done)}")
    return Exit.FAILED


class _Process:
    """The run's process, which is this one's parent."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = -1
        with contextlib.suppress(OSError, AttributeError):
            self._descriptor = os.pidfd_open(pid)
        if self._descriptor >= 0 and not self._is_there():
            # It had ended before, and the number may be another process's by now.
            os.close(self._descriptor)
            self._descriptor = -1

    def kill(self) -> None:
        """End it, so that it cannot go on when it wakes up, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            if self._descriptor >= 0:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            elif self._is_there():
                os.kill(self._pid, signal.SIGKILL)
        self.await_end()

    def await_end(self) -> None:
        """Wait until it changes nothing any more: a pipe may be closed before the last system call has ended."""
        if self._descriptor >= 0:
            select.select([self._descriptor], [], [])
        while self._descriptor < 0 and self._is_there():
            time.sleep(_POLL)

    def _is_there(self) -> bool:
        return os.getppid() == self._pid
