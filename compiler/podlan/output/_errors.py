"""What can stand in the way of writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from pathlib import Path


class CannotWrite(PodlanError):
    """A path of the output or the lock that cannot be read or written."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.reason}"


class OutputInsideSite(PodlanError):
    """An output directory that the next compile would read as part of the site, or the other way round."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, out: Path, site: Path) -> None:
        super().__init__(out, site)
        self.out = out
        self.site = site

    def __str__(self) -> str:
        return f"the output {self.out} and the site {self.site} lie inside each other; choose another directory with -o"


class OtherSite(PodlanError):
    """An output directory that holds the nodes of another site, which would be removed as gone."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, out: Path, marker: str, held: str) -> None:
        super().__init__(out, marker, held)
        self.out = out
        self.marker = marker
        self.held = held

    def __str__(self) -> str:
        return (
            f"{self.out} holds the nodes of site {self.held}; choose another directory with -o"
            f" (or, if the site was renamed, remove {self.out / self.marker})"
        )


class LostLock(PodlanError):
    """An output without the lock that says whose the addresses in it are."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, lock: Path, out: Path) -> None:
        super().__init__(lock, out)
        self.lock = lock
        self.out = out

    def __str__(self) -> str:
        return (
            f"there is no {self.lock}, but {self.out} holds compiled nodes, whose addresses would be dealt anew;"
            f" restore it from version control (or remove {self.out} if no node ever used it)"
        )


class Busy(PodlanError):
    """Another podlan compiles the same site or into the same output."""

    exit_code: ClassVar[int] = Exit.NOT_READY

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"another podlan works on {self.path}; try again when it is done"
