"""Who else could have written a thing: its owner and mode, and those of every directory that leads to it."""

from __future__ import annotations

import errno
import os
import stat

from podlan.node._errors import Unusable

OWN = (
    "/etc/podlan",
    "/var/lib/podlan/state.json",
    "/var/lib/podlan/journal.json",
    "/var/lib/podlan/plugins",
    "/run/podlan/lock",
    "/run/podlan/steps",
    "/run/podlan/verify",
    "/run/podlan/watches",
)
"""What podlan believes of an earlier run, and by which runs take turns; the copy itself is judged as it is loaded."""
_MOST_LINKS = 40  # as the kernel's own walk
_OTHERS = 0o022


class Untrusted(Exception):
    """Others than root, or who runs podlan, could have put something else there; `remedy` is the start of a command."""

    def __init__(self, path: str, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.path = path
        self.remedy = remedy


def followed(path: str) -> str:
    """Give the path without symbolic links; raises Untrusted where others decide what it leads to, or OSError.

    Who can write a directory can rename what lies in it, whoever owns that, unless the directory is sticky (/tmp).
    """
    here, links = "/", 0
    whole = path if path.startswith("/") else f"{os.getcwd()}/{path}"  # noqa: PTH109 - pathlib costs 10 ms
    left = [part for part in whole.split("/") if part][::-1]
    require(here, os.lstat(here))
    while left:
        part = left.pop()
        if part in (".", ".."):  # of a link's target
            here = here if part == "." else os.path.dirname(here)  # noqa: PTH120 - as above
            continue
        there = f"{here.rstrip('/')}/{part}"
        found = os.lstat(there)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            _require_owner(there, found)
            target = os.readlink(there)  # noqa: PTH115 - as above
            here = "/" if target.startswith("/") else here
            left += [one for one in target.split("/") if one][::-1]
            continue
        require(there, found, leads=bool(left))
        here = there
    return here


def require_below(directory: str, path: str) -> None:
    """Raise Untrusted where others could write the path, or what leads to it from the directory, or it is a link.

    What is not there is no matter, and neither is what lies above the directory.
    """
    here = directory.rstrip("/")
    parts = [part for part in path.split("/") if part]
    for number, part in enumerate(["", *parts]):
        here = f"{here}/{part}" if part else here
        try:
            found = os.lstat(here or "/")
        except FileNotFoundError:
            return
        if stat.S_ISLNK(found.st_mode):
            raise Untrusted(here, f"{here} is a symbolic link")
        require(here or "/", found, leads=number < len(parts))


def require_own(directory: str) -> None:
    """Raise Unusable where others could write what podlan remembers below the directory, or lead it elsewhere."""
    for path in OWN:
        try:
            require_below(directory, path)
        except Untrusted as error:
            raise Unusable("podlan does not believe what others could have written", str(error)) from error
        except OSError as error:
            raise Unusable(path, error) from error


def require(path: str, found: os.stat_result, *, leads: bool = True) -> None:
    """Raise Untrusted where others own it or may write it; `leads`: something below it is meant, not it itself."""
    _require_owner(path, found)
    if found.st_mode & _OTHERS and not (leads and found.st_mode & stat.S_ISVTX):
        raise Untrusted(path, f"others can write {path}", "chmod go-w")


def _require_owner(path: str, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise Untrusted(path, f"{path} belongs to user {found.st_uid}", "chown root")
