"""What a run can do to files: each operation a value with `do`, `undo` and the text of the like command."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from podlan.node.files import NotSynced
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel
    from podlan.node.files import FileState, Root


@dataclass(frozen=True, slots=True)
class FileWrite:
    """Write a whole file, at once or not at all; `source` is where its content lies as a file, if anywhere."""

    root: Root
    path: str
    content: bytes
    mode: int
    before: FileState | None
    made: tuple[str, ...] = ()
    source: str = ""

    def do(self, kernel: Kernel) -> None:
        """Write it, its owner kept."""
        try:
            self.root.write(self.path, self.content, self.mode, self.before.owner if self.before else None)
        except NotSynced:
            self.undo(kernel)
            raise
        except OSError:
            self.root.remove_directories(self.made)
            raise

    def undo(self, kernel: Kernel) -> None:
        """Write what was there, or remove the file and the directories that were made for it.

        What others have put there by now stays.
        """
        del kernel
        found = self.root.read(self.path)
        is_ours = found is not None and (found.link, found.content, found.mode) == (None, self.content, self.mode)
        self.root.clean(self.path)
        if is_ours and self.before is not None:
            self.root.write(self.path, self.before.content, self.before.mode, self.before.owner)
        elif is_ours:
            self.root.remove(self.path)
        if self.before is None:
            self.root.remove_directories(self.made)

    def __str__(self) -> str:
        path = shlex.quote(self.root.shown(self.path))
        if self.source:
            return f"install -D -m {self.mode:04o} {shlex.quote(self.source)} {path}"
        text = self.content.decode(errors="replace").replace("\\", "\\\\").replace("\n", "\\n")
        make = f"mkdir -p {shlex.quote(os.path.dirname(self.root.shown(self.path)))} && " if self.made else ""  # noqa: PTH120 - text only
        return f"{make}printf %b {shlex.quote(text)} > {path} && chmod {self.mode:04o} {path}"


@dataclass(frozen=True, slots=True)
class FileRemove:
    """Remove a file, or a symbolic link, that podlan put there."""

    root: Root
    path: str
    before: FileState

    def do(self, kernel: Kernel) -> None:
        """Remove it."""
        del kernel
        self.root.remove(self.path)

    def undo(self, kernel: Kernel) -> None:
        """Put it there again, unless something is there."""
        del kernel
        self.root.clean(self.path)
        if self.root.read(self.path) is not None:
            return
        if self.before.link is not None:
            self.root.symlink(self.path, self.before.link)
        else:
            self.root.write(self.path, self.before.content, self.before.mode, self.before.owner)

    def __str__(self) -> str:
        return f"rm -f {shlex.quote(self.root.shown(self.path))}"


@dataclass(frozen=True, slots=True)
class DirectoryRemove:
    """Remove a directory that podlan made and that is empty by now; one that is used again stays."""

    root: Root
    path: str

    def do(self, kernel: Kernel) -> None:
        """Remove it."""
        del kernel
        self.root.remove_directories((self.path,))

    def undo(self, kernel: Kernel) -> None:
        """Make it again."""
        del kernel
        self.root.make_directory(self.path)

    def __str__(self) -> str:
        return f"rmdir {shlex.quote(self.root.shown(self.path))}"


@dataclass(frozen=True, slots=True)
class Enable:
    """Make the symbolic link by which a target pulls a unit in, as `systemctl enable` does."""

    root: Root
    path: str
    target: str
    before: FileState | None
    made: tuple[str, ...] = ()

    def do(self, kernel: Kernel) -> None:
        """Make it."""
        del kernel
        try:
            self.root.symlink(self.path, self.target)
        except OSError:
            self.root.remove_directories(self.made)
            raise

    def undo(self, kernel: Kernel) -> None:
        """Remove it, or put back the link that was there; what others have put there by now stays."""
        del kernel
        found = self.root.read(self.path)
        is_ours = found is not None and found.link == self.target
        self.root.clean(self.path)
        if is_ours and self.before is not None and self.before.link is not None:
            self.root.symlink(self.path, self.before.link)
        elif is_ours:
            self.root.remove(self.path)
        if self.before is None:
            self.root.remove_directories(self.made)

    def __str__(self) -> str:
        path = self.root.shown(self.path)
        make = f"mkdir -p {shlex.quote(os.path.dirname(path))} && " if self.made else ""  # noqa: PTH120 - text only
        return f"{make}ln -sfn {shlex.quote(self.target)} {shlex.quote(path)}"
