"""Single files that must never be half: the lock; and whose turn it is to write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.output._errors import Busy, CannotWrite, OutputInsideSite
from podlan.output._owned import CLUSTER, NODES

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 30.0
"""Seconds to wait for another podlan before giving up."""
_TEMPORARY = ".podlan-tmp"


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that a power cut leaves the old or the new one: temporary, fsync, rename, fsync."""
    # O_EXCL and a name that nobody can know: in a directory that others write to, too, no link is followed.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as file:
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
        raise CannotWrite(path, error.strerror or str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed runs left of `write_durably`; whoever calls this holds the turn of the directory."""
    try:
        with os.scandir(path.parent) as entries:
            found = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
        for entry in found:
            if entry.name.startswith(f".{path.name}.") and entry.name.endswith(_TEMPORARY):
                Path(entry.path).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(Path(error.filename or path.parent), error.strerror or str(error)) from error


@contextlib.contextmanager
def turn(*directories: Path) -> Iterator[None]:
    """Hold the right to write under each directory; another podlan waits its turn. Raises Busy when it lasts.

    Directories of two names are one, and all podlans take them in the same order, so that none waits for itself or
    in a circle.
    """
    with contextlib.ExitStack() as stack:
        opened: dict[tuple[int, int], tuple[int, Path]] = {}
        for directory in directories:
            try:
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise CannotWrite(directory, error.strerror or str(error)) from error
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            opened.setdefault((status.st_dev, status.st_ino), (descriptor, directory))
        deadline = time.monotonic() + _PATIENCE
        for _, (descriptor, directory) in sorted(opened.items()):
            _take(descriptor, directory, deadline)
        yield


def _take(descriptor: int, directory: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(directory) from None
            time.sleep(0.05)
        except OSError as error:
            raise CannotWrite(directory, error.strerror or str(error)) from error
        else:
            return


def refuse_nesting(out: Path, site: Path) -> None:
    """Refuse an output inside the site's directory, or a site inside the output's own directories."""
    real_out = out.resolve()
    real_site = site.resolve()
    directory = real_site if real_site.is_dir() else real_site.parent
    inside = real_out.is_relative_to(directory) if site.is_dir() else real_out == real_site
    if inside or any(directory.is_relative_to(real_out / name) for name in (NODES, CLUSTER)):
        raise OutputInsideSite(out, site)
