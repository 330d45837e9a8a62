"""Reading below an output, with refusal of all that podlan would not dare to write over or through."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from podlan.output._errors import CannotWrite

_LINK = "it is a symbolic link, and podlan writes through none; remove it"
_NO_FILE = "a file must stand there, and something else does; move it away"
_NO_DIRECTORY = "a directory must stand there, and something else does; move it away"


class Reader:
    """Reads files by their names relative to an output, which may itself be a link.

    Raises CannotWrite where a symbolic link, a directory in a file's place or the like stands in the way.
    """

    def __init__(self, out: Path) -> None:
        self.root = str(out)
        self._directories: dict[str, bool] = {"": True}

    def content(self, name: str) -> bytes | None:
        """Give what a file holds, None where it is not there."""
        opened = self._open(name)
        return None if opened is None else self._rest(name, *opened)

    def is_same(self, name: str, content: bytes) -> bool | None:
        """Tell whether a file holds just that, None where it is not there; of another size it is not even read."""
        opened = self._open(name)
        if opened is None:
            return None
        descriptor, size = opened
        if size != len(content):
            os.close(descriptor)
            return False
        return self._rest(name, descriptor, size) == content

    def _open(self, name: str) -> tuple[int, int] | None:
        """Open a file: its descriptor and size."""
        if not self.is_directory(name.rpartition("/")[0]):
            return None
        path = f"{self.root}/{name}"
        try:
            # Not blocked by a pipe, not led astray by a link.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotWrite(Path(path), _reason(error)) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise CannotWrite(Path(path), _NO_FILE)
        return descriptor, status.st_size

    def _rest(self, name: str, descriptor: int, size: int) -> bytes:
        """Read an open file to its end, and close it."""
        try:
            content = os.read(descriptor, size + 1)
            while len(content) < size and (part := os.read(descriptor, size)):
                content += part
        except OSError as error:
            raise CannotWrite(Path(self.root, name), error.strerror or str(error)) from error
        finally:
            os.close(descriptor)
        return content

    def has(self, name: str) -> bool:
        """Tell whether a file is there."""
        mode = self._mode(name) if self.is_directory(name.rpartition("/")[0]) else None
        if mode is not None and not stat.S_ISREG(mode):
            raise CannotWrite(Path(self.root, name), _LINK if stat.S_ISLNK(mode) else _NO_FILE)
        return mode is not None

    def is_directory(self, name: str) -> bool:
        """Tell whether a directory is there, as all above it."""
        known = self._directories.get(name)
        if known is not None:
            return known
        mode = self._mode(name) if self.is_directory(name.rpartition("/")[0]) else None
        if mode is not None and not stat.S_ISDIR(mode):
            raise CannotWrite(Path(self.root, name), _LINK if stat.S_ISLNK(mode) else _NO_DIRECTORY)
        self._directories[name] = mode is not None
        return mode is not None

    def _mode(self, name: str) -> int | None:
        path = f"{self.root}/{name}"
        try:
            return os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotWrite(Path(path), _reason(error)) from error


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return _LINK
    if error.errno == errno.ENXIO:  # a socket
        return _NO_FILE
    return error.strerror or str(error)
