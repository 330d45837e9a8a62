"""What the world can do to a run: the root of podlan's exceptions, and the exit codes of every command."""

from __future__ import annotations

from typing import ClassVar


class Exit:
    """Exit codes, the same for every command (2 is click's own, for wrong usage)."""

    DONE = 0
    FAILED = 1
    DIFFERS = 3
    ENVIRONMENT = 4
    ROLLBACK_FAILED = 5
    NOT_READY = 75  # EX_TEMPFAIL of sysexits.h: systemd's RestartForceExitStatus= can retry on it


class PodlanError(Exception):
    """Something outside podlan stands in the way: a file, a privilege, the kernel, a peer.

    A subclass holds data, builds its text in `__str__` (the thing, the place, the next step) and says by
    `exit_code` how a command ends on it. The command line catches this class once, in one place.
    """

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def told(self) -> str:
        """Give what the command line prints: the text, and what was noted of it on its way (`add_note`)."""
        return "\n".join([f"error: {self}", *getattr(self, "__notes__", ())])
