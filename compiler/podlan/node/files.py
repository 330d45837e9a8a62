"""The file tree below a root: every path walked by directory descriptors, no symbolic link followed, writes atomic."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".podlan-tmp"
"""Ending of files that are being written: no CNI loader (.conf, .conflist, .json) and no systemd reads it."""

LARGEST = 256 << 20
"""Bytes of a file that is read: more than any plugin has, and who can write one must not fill root's memory."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPlain(OSError):
    """A symbolic link, or another thing than a file, stands where podlan would read or write a file."""


class NotSynced(OSError):
    """A file is in its place, and nobody knows whether it would still be there after a power cut."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is; `link` is the target where it is a symbolic link, and then there is no content."""

    content: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """The directory that stands for '/'."""

    directory: str = "/"

    @property
    def is_host(self) -> bool:
        """Tell whether paths are this machine's own."""
        return self.directory == "/"

    def shown(self, path: str) -> str:
        """Give the path as it is from outside."""
        return path if self.is_host else self.directory.rstrip("/") + path

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        *parents, name = _parts(path)
        try:
            here = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OSError(error.errno, f"{self.directory}: {error.strerror}") from error
        walked = ""
        try:
            for part in parents:
                walked += f"/{part}"
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=here)
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=here)
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        raise NotPlain(
                            error.errno, f"{self.shown(walked)} is not a directory of its own (a symbolic link?)"
                        ) from error
                    raise
                os.close(here)
                here = below
            yield here, name
        finally:
            os.close(here)

    def read(self, path: str, most: int = LARGEST) -> FileState | None:
        """Give the file, None where there is none; raises NotPlain for a directory, a device and the like.

        `most`: bytes, more of which are no such file either.
        """
        try:
            with self._parent(path) as (parent, name):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISLNK(found.st_mode):
                    return FileState(link=os.readlink(name, dir_fd=parent))
                _require_regular(self.shown(path), found.st_mode)
                # Whatever has taken its place since: a pipe must not block, and its owner and mode are what count.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(name, flags, dir_fd=parent), "rb") as file:
                    found = os.fstat(file.fileno())
                    _require_regular(self.shown(path), found.st_mode)
                    content = file.read(most + 1)
                if len(content) > most:
                    raise NotPlain(errno.EFBIG, f"{self.shown(path)} is larger than {most} bytes")
                return FileState(content, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
        except FileNotFoundError:
            return None

    def missing_parents(self, path: str) -> tuple[str, ...]:
        """Give the directories that writing this path would create, the innermost first."""
        missing: list[str] = []
        parents = _parts(path)[:-1]
        while parents:
            whole = "/" + "/".join(parents)
            if os.path.lexists(self.shown(whole)):
                break
            missing.append(whole)
            parents.pop()
        return tuple(missing)

    def names(self, path: str) -> frozenset[str] | None:
        """Give what lies in a directory, None where there is no such directory."""
        try:
            with self._parent(f"{path}/{SUFFIX}") as (here, _):
                return frozenset(os.listdir(here))  # noqa: PTH208 - of a descriptor
        except (FileNotFoundError, NotPlain):
            return None

    def write(self, path: str, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
        """Put the whole file in place at once: temporary file beside it, fsync, rename, fsync of the directory."""
        with self._parent(path, make=True) as (parent, name):
            _refuse_other_kinds(self.shown(path), name, parent)
            temporary = name + SUFFIX
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    if owner is not None and owner != (os.geteuid(), os.getegid()):
                        os.fchown(file.fileno(), *owner)
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
                raise
            try:
                os.fsync(parent)
            except OSError as error:
                raise NotSynced(error.errno, f"{self.shown(path)}: {error.strerror}") from error

    def make_directory(self, path: str) -> None:
        """Create a directory and its parents, as far as they are missing."""
        with self._parent(f"{path}/{SUFFIX}", make=True):
            pass

    def symlink(self, path: str, target: str) -> None:
        """Put a symbolic link in place at once, over an older one if need be."""
        with self._parent(path, make=True) as (parent, name):
            temporary = name + SUFFIX
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            os.symlink(target, temporary, dir_fd=parent)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise

    def remove(self, path: str) -> None:
        """Remove a file or a symbolic link; it is no error if it is gone."""
        with contextlib.suppress(FileNotFoundError), self._parent(path) as (parent, name):
            os.unlink(name, dir_fd=parent)

    def remove_directories(self, paths: tuple[str, ...]) -> None:
        """Remove directories that podlan made, as far as they are empty."""
        for path in paths:
            try:
                with self._parent(path) as (parent, name):
                    os.rmdir(name, dir_fd=parent)
            except FileNotFoundError:  # it was never made
                continue
            except OSError:  # somebody uses it by now
                return

    def clean(self, path: str) -> None:
        """Remove what a killed run left beside this path."""
        with contextlib.suppress(NotPlain):
            self.remove(path + SUFFIX)


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if not path.startswith("/") or not parts or ".." in parts or "." in parts:
        raise NotPlain(errno.EINVAL, f"{path!r} is not an absolute path without '..'")
    return parts


def _refuse_other_kinds(shown: str, name: str, parent: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise NotPlain(errno.ELOOP, f"{shown} is a symbolic link, podlan writes through none")
        _require_regular(shown, found.st_mode)


def _require_regular(shown: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotPlain(errno.EINVAL, f"{shown} is not a regular file")
