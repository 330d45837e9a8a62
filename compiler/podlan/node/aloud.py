"""What is said while others wait for the lock: a terminal or a pipe that takes nothing more must not prolong that."""

from __future__ import annotations

import contextlib
import os
import select
import sys

_PIECE = 512  # bytes (POSIX's PIPE_BUF): what a pipe takes at once where it takes anything
_MILLISECONDS = 1000


def say(text: str) -> None:
    """Tell the operator on stderr, as far as somebody reads it; what nobody reads within a second is not said."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # closed by the caller, or a terminal that is gone
        descriptor = sys.stderr.fileno()
        left = f"{text}\n".encode(errors="replace")
        while left and _takes(descriptor):
            left = left[os.write(descriptor, left[:_PIECE]) :]


def _takes(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(_MILLISECONDS))
