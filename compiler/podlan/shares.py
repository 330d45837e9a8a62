"""Work that several processes share: forked from this one, they need to be told nothing, and tell what they found."""

from __future__ import annotations

import os
import pickle
import signal
from typing import TYPE_CHECKING, ClassVar, Generic, NoReturn, TypeVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

_T = TypeVar("_T")
_I = TypeVar("_I")

MOST = 4
"""More processes than this wait for each other in the file system."""


class ShareLost(PodlanError):
    """A process that had a share of the work was ended by somebody else, for instance for want of memory."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how

    def __str__(self) -> str:
        return f"a process of this run was ended ({self.how}); nothing was changed. Try again, perhaps with --jobs 1"


def processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: nodes are, and not every machine that compiles is
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared(parts: Sequence[Iterable[_I]], work: Callable[[Iterable[_I]], _T]) -> Generator[_T, None, None]:
    """Give work(part) of every part: of the first done here, of each other one by a process of its own meanwhile.

    Where there may be no process more, its part is done here, too. What comes of a part is pickled on its way. An error
    of any is raised here, and no process outlives the generator. Raises ShareLost.
    """
    own = [*parts[:1]]
    others: list[_Share[_T]] = []
    try:
        for part in parts[1:]:
            try:
                others.append(_Share(work, part))
            except OSError:
                own.append(part)
        yield from map(work, own)
        yield from (other.result() for other in others)
    finally:
        for other in others:
            other.end()


class _Share(Generic[_T]):
    """One process, and the pipe by which its result comes."""

    def __init__(self, work: Callable[[Iterable[_I]], _T], part: Iterable[_I]) -> None:
        self._reader, writer = os.pipe()
        parent = os.getpid()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._reader)
            os.close(writer)
            raise
        if not self._pid:
            os.close(self._reader)
            _tell(work, _wanted(part, parent), writer)
        os.close(writer)

    def result(self) -> _T:
        parts = []
        while part := os.read(self._reader, 1 << 20):
            parts.append(part)
        code = self._wait()
        if code:
            raise ShareLost(f"signal {-code}" if code < 0 else f"exit {code}")
        error, value = pickle.loads(b"".join(parts))  # noqa: S301 - of our own process
        if error is not None:
            raise error
        made: _T = value
        return made

    def end(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
            self._wait()
        os.close(self._reader)

    def _wait(self) -> int:
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)


def _wanted(items: Iterable[_I], parent: int) -> Iterator[_I]:
    """Pass items on as long as the process is there that waits for what comes of them."""
    for item in items:
        if os.getppid() != parent:
            return
        yield item


def _tell(work: Callable[[Iterable[_I]], object], part: Iterable[_I], writer: int) -> NoReturn:
    """Do a share in the process that was just forked, tell what came of it, and end."""
    code = 1
    try:
        try:
            told: tuple[Exception | None, object] = (None, work(part))
        except Exception as error:  # noqa: BLE001 - raised again where it is known what to do about it
            told = (error, None)
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(told, pipe, pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)  # nothing of the other process is closed, flushed or cleaned up here
