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

    def __init__(self, out: Path | str) -> None:
        self.root = str(out)
        self._directories: dict[str, bool] = {"": True}

    def fork(self) -> Reader:
        """Give a reader that knows the directories that this one knows; what it learns stays with it."""
        other = Reader(self.root)
        other._directories.update(self._directories)
        return other

    def content(self, name: str) -> bytes | None:
        """Give what a file holds, None where it is not there."""
        descriptor = self._open(name)
        if descriptor is None:
            return None
        return self._read(name, descriptor, os.fstat(descriptor).st_size)

    def is_same(self, name: str, content: bytes) -> bool | None:
        """Tell whether a file holds just that, None where it is not there."""
        descriptor = self._open(name)
        if descriptor is None:
            return None
        return self._read(name, descriptor, len(content)) == content

    def _open(self, name: str) -> int | None:
        """Open a file, or what stands in its place."""
        if not self.is_directory(name.rpartition("/")[0]):
            return None
        path = f"{self.root}/{name}"
        try:
            # Not blocked by a pipe, not led astray by a link.
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotWrite(Path(path), _reason(error)) from error

    def _read(self, name: str, descriptor: int, size: int) -> bytes:
        """Read as much of what is open, and a byte more where there is one, and close it.

        A file gives all of it at once; whatever gives something else is asked what it is.
        """
        try:
            content = os.read(descriptor, size + 1)
            if (not size or len(content) != size) and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CannotWrite(Path(self.root, name), _NO_FILE)
            while len(content) < size and (part := os.read(descriptor, size + 1 - len(content))):
                content += part
        except (IsADirectoryError, BlockingIOError) as error:
            raise CannotWrite(Path(self.root, name), _NO_FILE) from error
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
