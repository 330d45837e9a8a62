"""The node's own copy of its directory, swapped in whole: a killed run leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
from typing import TYPE_CHECKING

from podlan.node.files import SUFFIX, Root
from podlan.node.trust import Untrusted, require_below
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel
    from podlan.node.directory import NodeDirectory

COPY = "/etc/podlan/node"
_PARENTS = ("/etc/podlan", "/etc")  # as far as they are empty without the copy, they were made for it
_EXECUTABLE = ("boot.sh",)
_EXCHANGE = 2  # RENAME_EXCHANGE
_AT_FDCWD = -100


@dataclass(frozen=True, slots=True)
class KeepCopy:
    """Make /etc/podlan/node what was just applied; the earlier copy stays beside it until the run has ended."""

    root: Root
    directory: NodeDirectory

    @property
    def _place(self) -> str:
        return self.root.shown(COPY)

    def do(self, kernel: Kernel) -> None:
        """Write the new copy beside the old one, then swap them."""
        del kernel
        new = self._place + SUFFIX
        self.forget()
        below = Root(new)
        try:
            self.root.make_directory(COPY + SUFFIX)
            for name, content in self.directory.files.items():
                below.write(f"/{name}", content, 0o755 if name in _EXECUTABLE else 0o644)
            _swap(new, self._place)
        except OSError:
            self._leave()
            raise

    def undo(self, kernel: Kernel) -> None:
        """Swap back, or remove the copy where there was none; what is not this copy stays."""
        del kernel
        _put_back(self._place)
        if is_kept(self.root, self.directory):
            if os.path.lexists(self._place + SUFFIX):
                _swap(self._place + SUFFIX, self._place)
            else:
                os.rename(self._place, self._place + SUFFIX)  # noqa: PTH104 - strings, as everywhere here
        self._leave()

    def _leave(self) -> None:
        self.forget()
        self.root.remove_directories(_PARENTS)

    def forget(self) -> None:
        """Remove what lies beside the copy: the earlier one, or half a new one."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place + SUFFIX)

    def __str__(self) -> str:
        source, place = shlex.quote(self.directory.path), shlex.quote(self._place)
        return f"mkdir -p {place} && cp -RT {source} {place}"


@dataclass(frozen=True, slots=True)
class DropCopy:
    """Remove /etc/podlan/node, so that no boot applies it again; it lies beside its place until the run has ended."""

    root: Root

    def do(self, kernel: Kernel) -> None:
        """Move it aside."""
        del kernel
        self.forget()
        place = self.root.shown(COPY)
        os.rename(place, place + SUFFIX)  # noqa: PTH104 - strings, as everywhere here

    def undo(self, kernel: Kernel) -> None:
        """Move it back."""
        del kernel
        place = self.root.shown(COPY)
        if os.path.lexists(place + SUFFIX) and not os.path.lexists(place):
            os.rename(place + SUFFIX, place)  # noqa: PTH104 - as above

    def forget(self) -> None:
        """Remove what lies beside its place."""
        for aside in remains(self.root):
            if os.path.islink(aside):  # noqa: PTH114 - as above
                os.unlink(aside)  # noqa: PTH108 - as above
            else:
                shutil.rmtree(aside)

    def __str__(self) -> str:
        place = self.root.shown(COPY)
        directory = shlex.quote(os.path.dirname(place))  # noqa: PTH120 - text only
        return f"rm -rf {shlex.quote(place)} && rmdir --ignore-fail-on-non-empty {directory}"


def remains(root: Root) -> list[str]:
    """Give what a run that was killed left beside the copy."""
    place = root.shown(COPY)
    return [path for path in (place + SUFFIX, f"{place}{SUFFIX}-old") if os.path.lexists(path)]


def recover(root: Root) -> None:
    """Put the earlier copy back where a run was killed between two renames, and remove what it left beside it."""
    place = root.shown(COPY)
    _put_back(place)
    if os.path.lexists(place):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place + SUFFIX)


def _put_back(place: str) -> None:
    aside = place + SUFFIX + "-old"
    if os.path.lexists(aside):
        os.rename(aside, place + SUFFIX if os.path.lexists(place) else place)  # noqa: PTH104 - as above


def is_kept(root: Root, directory: NodeDirectory) -> bool:
    """Tell whether the node's copy is this directory, or has the same files."""
    place = root.shown(COPY)
    if os.path.realpath(directory.path) == os.path.realpath(place):
        return True
    below = Root(place)
    try:
        for name, content in directory.files.items():
            require_below(place, name)
            found = below.read(f"/{name}")
            if found is None or found.content != content:
                return False
    except (OSError, Untrusted):
        return False
    return True


def _swap(new: str, place: str) -> None:
    if not os.path.lexists(place):
        os.rename(new, place)  # noqa: PTH104 - strings, as everywhere here
        return
    try:
        _exchange(new, place)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        # A file system without exchange: two renames, and `recover` should we be killed between them.
        aside = place + SUFFIX + "-old"
        os.rename(place, aside)  # noqa: PTH104 - as above
        os.rename(new, place)  # noqa: PTH104 - as above
        os.rename(aside, new)  # noqa: PTH104 - as above


def _exchange(first: str, second: str) -> None:
    import ctypes  # noqa: PLC0415 - 11 ms, and only when a copy is replaced

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
