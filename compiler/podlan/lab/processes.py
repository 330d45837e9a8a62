"""Running the programs that build and try a lab, so that all of them can be ended at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from podlan.lab.errors import CommandFailed, ToolMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_T = TypeVar("_T")
_R = TypeVar("_R")

_PACKAGES = {
    "busybox": "busybox-static",
    "ip": "iproute2",
    "ping": "iputils-ping",
    "mount": "mount",
    "umount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "taskset": "util-linux",
    "unshare": "util-linux",
}
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 120.0


class Stopped(Exception):
    """The lab is being taken down: no further program starts."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        """Everything it said."""
        return "\n".join(part for part in (self.out.strip(), self.err.strip()) if part)


class Processes:
    """The programs of one lab that run now.

    Each starts in a session of its own, so that a Ctrl-C reaches podlan only, which then ends them in
    order. Each inherits the lab's lock: who gets the lock knows that none of them is left.
    """

    def __init__(self, lock: int, *, workers: int = 16) -> None:
        self._lock = lock
        self._workers = workers
        self._running: set[subprocess.Popen[str]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        environment: dict[str, str] | None = None,
        timeout: float = _TIMEOUT,
    ) -> Done:
        """Run a program to its end, which is forced after so many seconds; what it answers is the caller's to judge."""
        process = self._start(argv, environment or {})
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            out, err = process.communicate()
            err += f"\nended after {timeout:.0f} seconds without a result"
        except BaseException:  # Ctrl-C: nothing goes on without us
            _kill(process)
            process.wait()
            raise
        finally:
            with self._guard:
                self._running.discard(process)
        return Done(process.returncode, out, err)

    def require(self, *tools: str) -> None:
        """Raise ToolMissing unless all of these programs are there."""
        for tool in tools:
            if shutil.which(tool, path=SEARCH) is None:
                raise ToolMissing(tool, _PACKAGES.get(tool, tool))

    def must(self, doing: str, argv: Sequence[str], *, stdin: str = "", timeout: float = _TIMEOUT) -> str:
        """Run a program that has no reason to fail; `doing` names the step in the message if it does."""
        done = self.run(argv, stdin=stdin, timeout=timeout)
        if done.code:
            raise CommandFailed(doing, done.output)
        return done.out

    def each(self, function: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Call the function for all items at the same time; the first failure ends the others."""
        pool = ThreadPoolExecutor(self._workers)
        # A queue, since a signal that ends concurrent.futures.wait may leave a future's lock taken for ever.
        ended: SimpleQueue[Future[_R]] = SimpleQueue()
        futures: list[Future[_R]] = []
        try:
            for item in items:
                futures.append(pool.submit(function, item))
                futures[-1].add_done_callback(ended.put)
            for _ in futures:
                ended.get().result()
            return [future.result() for future in futures]
        finally:
            if not all(future.done() for future in futures):
                self.stop()
            pool.shutdown(cancel_futures=True)

    def stop(self) -> None:
        """End every program that runs, and let no further one start."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def start_over(self) -> None:
        """End every program that runs; those that start from now on clean up."""
        self.stop()
        with self._guard:
            self._stopped = False

    def _start(self, argv: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        with self._guard:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(  # noqa: S603 - programs and arguments are the lab's own
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={"PATH": SEARCH, "LC_ALL": "C.UTF-8", "HOME": "/root"} | environment,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
            self._running.add(process)
            return process


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        # Its session is its own: the group holds what it started, and nothing else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
