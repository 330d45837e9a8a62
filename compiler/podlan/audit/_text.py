"""A file's text, whatever lies at its path."""

from __future__ import annotations

import os
import stat

_LARGEST = 1 << 20
"""Bytes of the largest file that is read; neither a CNI file nor a plan comes near it."""


def text_of(path: str) -> str:
    """Read a file's text, with what is no UTF-8 replaced, as Go does; raises ValueError for what cannot be one."""
    # Opened without waiting: a pipe in the directory would hold the audit up for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST:,} bytes")
    return content.decode("utf-8", "replace")
