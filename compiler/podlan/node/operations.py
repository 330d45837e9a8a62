"""What every operation is: a value with `do`, `undo` and the text of the like command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Protocol

from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel


class Operation(Protocol):
    """One step, with its inverse, which was computed from what was observed.

    `undo` leaves what was there before `do`, whether or not `do` was done, and whether or not `undo` was done before:
    whoever takes a killed run back knows neither for sure.
    """

    def do(self, kernel: Kernel) -> None:
        """Take the step; raises OSError with nothing changed."""

    def undo(self, kernel: Kernel) -> None:
        """Leave what was there before."""


@dataclass(frozen=True, slots=True)
class SysctlWrite:
    """Write one value below /proc/sys; `before` is None where the link that brings the key does not exist yet."""

    key: str
    value: str
    before: str | None = None

    def do(self, kernel: Kernel) -> None:
        """Write it."""
        kernel.write_sysctl(self.key, self.value)

    def undo(self, kernel: Kernel) -> None:
        """Write the value that was there; without one, or without the key, the link goes or has gone."""
        if self.before is not None and kernel.sysctl(self.key) not in (None, self.before):
            kernel.write_sysctl(self.key, self.before)

    def __str__(self) -> str:
        # With slashes: a link's name may have dots.
        return f"sysctl -q -w {shlex.quote(f'{self.key}={self.value}')}"
