"""What git remembers of a file: its text in another revision, and since when each of its lines stands."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from pathlib import Path

_UNCOMMITTED = "0" * 40


class GitFailed(PodlanError):
    """git cannot tell: no repository, no such revision, no such file in it, or no git at all."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"git cannot give {self.what}: {self.reason}"


def text_at(file: Path, revision: str) -> str:
    """Give a file's text in a revision. Raises GitFailed."""
    return _git(file, f"{file.name} of {revision}", "show", "--end-of-options", f"{revision}:./{file.name}")


def line_times(file: Path) -> dict[str, int]:
    """Give for every committed line when it was committed last, in seconds since 1970. Raises GitFailed."""
    told = _git(file, f"the history of {file}", "blame", "--line-porcelain", "--", file.name)
    times: dict[str, int] = {}
    commit, when = "", 0
    for line in told.splitlines():
        if line.startswith("\t"):
            if commit != _UNCOMMITTED:
                times[line[1:]] = when
            commit = ""
        elif not commit:
            commit = line.partition(" ")[0]
        elif line.startswith("committer-time "):
            when = int(line.split()[1])
    return times


def _git(file: Path, what: str, *arguments: str) -> str:
    command = ["git", "-C", str(file.parent), *arguments]
    try:
        # An old revision may hold bytes that are no text; who reads the lock then says what is wrong with it.
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except OSError as error:
        raise GitFailed(what, error.strerror or str(error)) from error
    if done.returncode:
        raise GitFailed(what, done.stderr.strip().removeprefix("fatal: ").splitlines()[-1] if done.stderr else "failed")
    return done.stdout
