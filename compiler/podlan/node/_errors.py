"""What stops a reconcile: each class holds data, builds its text, and says how the command ends on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.diagnostics import Finding


UNGUARDED = "the process that guards this run is gone"


class BadDirectory(PodlanError):
    """A node directory that is not one, is not whole, or could have been written by others."""

    def __init__(self, directory: str, problem: str, remedy: str) -> None:
        super().__init__(directory, problem, remedy)
        self.directory = directory
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"bad node directory {self.directory}: {self.problem}; {self.remedy}"


class BadState(PodlanError):
    """podlan's own record on this node cannot be read."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; move the file away, and podlan recognizes what it owns by its marks"


class Unusable(PodlanError):
    """A file or socket that podlan itself needs could not be read, written or opened."""

    def __init__(self, what: str, error: OSError | str) -> None:
        super().__init__(what, error)
        self.what = what
        self.error = error

    def __str__(self) -> str:
        reason = self.error if isinstance(self.error, str) else self.error.strerror or str(self.error)
        remedy = "; run podlan as root" if isinstance(self.error, PermissionError) and os.geteuid() else ""
        return f"{self.what}: {reason}{remedy}"


class Busy(PodlanError):
    """Another run holds the lock for longer than we wait; `waits` are the seconds that it waits to be confirmed."""

    exit_code: ClassVar[int] = Exit.NOT_READY

    def __init__(self, path: str, seconds: float, waits: float = 0.0) -> None:
        super().__init__(path, seconds, waits)
        self.path = path
        self.seconds = seconds
        self.waits = waits

    def __str__(self) -> str:
        if self.waits:
            return (
                f"another reconcile waits to be confirmed, for {self.waits:.0f} s more: run podlan confirm to keep its "
                "changes, or wait until they are taken back"
            )
        return f"another reconcile holds {self.path} for more than {self.seconds:g} s; try again when it has ended"


class Stopped(PodlanError):
    """Preflight found what must be settled first; nothing was changed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(tuple(findings))
        self.findings = tuple(findings)

    def __str__(self) -> str:
        return "\n".join(_sentence(finding) for finding in self.findings) + "\nnothing was changed"


class Refused(Stopped):
    """What the plan wants collides with what others own here."""

    exit_code: ClassVar[int] = Exit.FAILED


class NotReady(Stopped):
    """Something that the plan waits for is not there yet; the same run may succeed later."""

    exit_code: ClassVar[int] = Exit.NOT_READY

    def __init__(self, findings: Sequence[Finding], waited: float = 0.0) -> None:
        super().__init__(findings)
        self.waited = waited

    def __str__(self) -> str:
        waiting = f" within the {self.waited:g} s of --wait" if self.waited else "; --wait SECONDS waits for it"
        return super().__str__() + waiting

    def told_while_waiting(self) -> str:
        """Give what is missing, for who waits for it anyway."""
        return "waiting: " + "\n".join(_sentence(finding) for finding in self.findings)


class RolledBack(PodlanError):
    """An operation, or the check after the last one, failed; all is as it was.

    `reach` says whether the node reaches again what it reached before, once that was asked.
    """

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason
        self.reach = ""

    def __str__(self) -> str:
        return f"failed, rolled back: {self.what}: {self.reason}{self.reach and f'; {self.reach}'}"


class NotConfirmed(RolledBack):
    """Nobody confirmed the changes in time, or the run was told to end before; all is as it was."""

    def __init__(self, reason: str) -> None:
        super().__init__("podlan confirm", reason)

    def __str__(self) -> str:
        return f"not confirmed: {self.reason}; all is taken back{self.reach and f'; {self.reach}'}"


class RollbackFailed(PodlanError):
    """An operation failed and so did taking back the earlier ones; `reach` as above."""

    exit_code: ClassVar[int] = Exit.ROLLBACK_FAILED

    def __init__(self, what: str, reason: str, left: Sequence[str]) -> None:
        super().__init__(what, reason, tuple(left))
        self.what = what
        self.reason = reason
        self.left = tuple(left)
        self.reach = ""

    def __str__(self) -> str:
        left = "".join(f"\n  not undone: {line}" for line in self.left)
        reach = f"\n{self.reach}" if self.reach else ""
        return (
            f"failed, and the rollback failed too: {self.what}: {self.reason}{left}{reach}\nrun podlan reconcile again"
        )


def _sentence(finding: Finding) -> str:
    hint = f"; {finding.hint}" if finding.hint else ""
    return f"{finding.message} [{finding.code}]{hint}"
