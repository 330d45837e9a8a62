"""Network namespaces that last as long as a process of ours waits in them: they have no name that could be left behind.

Whatever ends this program, the processes see their pipes closed and end too, and the kernel takes the namespaces and
the pods' interfaces away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, Any

from podlan.node._kernel import Kernel
from podlan.node.echo import unanswered
from podlan.node.files import Root
from podlan.node.frames import is_answered, survey
from podlan.node.observe import observe
from podlan.node.trial._stop import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podlan.node.trial._stop import Stop

_NEWNET = 0x4000_0000  # CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
_POLL = 0.05  # seconds
_PATIENCE = 3.0
"""Seconds that a process has to end; what it does takes no longer than two."""


def look() -> Any:  # noqa: ANN401 - an Observed, which came through a pipe
    """See all of the namespace's own network."""
    with Kernel(Root()) as kernel:
        names = [str(message.get("ifname")) for message in kernel.link("dump", ext_mask=8)]
        return observe(kernel, names, ())


_ANSWERS: dict[str, Callable[..., Any]] = {
    "look": look,
    "unanswered": unanswered,
    "survey": survey,
    "is_answered": is_answered,
}


@dataclass(frozen=True, slots=True)
class Pod:
    """A namespace, by the process that waits in it."""

    process: int
    pipe: Connection

    @property
    def namespace(self) -> str:
        """Give the path by which plugins enter it.

        The process is this one's child, and its number nobody else's before `end`.
        """
        return f"/proc/{self.process}/ns/net"

    def ask(self, question: str, *arguments: object) -> None:
        """Let the process do something in the namespace; `answer` gives what comes of it."""
        self.pipe.send((question, arguments))

    def answer(self, stop: Stop) -> Any:  # noqa: ANN401 - what the question is answered with
        """Wait for what the process has to say; an error there is an OSError here."""
        while not self.pipe.poll(_POLL):
            stop.check()
        try:
            done, value = self.pipe.recv()
        except EOFError as error:
            raise OSError(f"process {self.process}, which kept a pod's namespace, was killed") from error
        if not done:
            raise OSError(value)
        return value

    def end(self) -> None:
        """Let the namespace go."""
        self.pipe.close()
        until = time.monotonic() + _PATIENCE
        while os.waitpid(self.process, os.WNOHANG) == (0, 0):
            if time.monotonic() >= until:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                return
            time.sleep(0.002)


def start(others: Iterable[Pod], stop: Stop) -> Pod:
    """Make a namespace; `others` are those that there are already."""
    here, there = Pipe()
    process = os.fork()
    if not process:
        _live(there, [here, *(pod.pipe for pod in others)])
    there.close()
    pod = Pod(process, here)
    try:
        pod.answer(stop)
    except BaseException:
        pod.end()
        raise
    return pod


def _live(pipe: Connection, ends: Iterable[Connection]) -> None:
    """Wait in a namespace of one's own, and answer; for a process that was just forked."""
    with contextlib.suppress(BaseException):  # whatever it is, it must not go on as a second podlan
        for number in SIGNALS:  # they go to all of a terminal's processes; the first of them decides
            signal.signal(number, signal.SIG_IGN)
        for end in ends:
            end.close()
        pipe.send(_told(_enter))
        while True:
            question, arguments = pipe.recv()
            pipe.send(_told(_ANSWERS[question], *arguments))
    os._exit(0)


def _told(function: Callable[..., Any], *arguments: object) -> tuple[bool, Any]:
    try:
        return True, function(*arguments)
    except OSError as error:
        return False, error.strerror or str(error)


def _enter() -> None:
    import ctypes  # noqa: PLC0415 - 11 ms, and only here

    if ctypes.CDLL(None, use_errno=True).unshare(_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot make a network namespace: {os.strerror(number)}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags: int = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
