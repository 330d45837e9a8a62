"""Single files that must never be half: the lock; and whose turn it is to write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from podlan.output._errors import Busy, CannotWrite, OutputInsideSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 30.0
"""Seconds to wait for another podlan before giving up."""


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that a power cut leaves the old or the new one: temporary, fsync, rename, fsync."""
    temporary = path.with_name(f".{path.name}.podlan-tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise CannotWrite(path, error.strerror or str(error)) from error


@contextlib.contextmanager
def turn(directory: Path) -> Iterator[None]:
    """Hold the right to write under a directory; another podlan waits its turn. Raises Busy when it lasts."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CannotWrite(directory, error.strerror or str(error)) from error
    try:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(directory) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def refuse_nesting(out: Path, site: Path) -> None:
    """Refuse an output inside the site's directory, or a site inside the output's nodes."""
    real_out = out.resolve()
    real_site = site.resolve()
    directory = real_site if real_site.is_dir() else real_site.parent
    inside = real_out.is_relative_to(directory) if site.is_dir() else real_out == real_site
    if inside or directory.is_relative_to(real_out / "nodes"):
        raise OutputInsideSite(out, site)
