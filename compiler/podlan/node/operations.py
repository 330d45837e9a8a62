"""What every operation is: a value with `do`, `undo` and the text of the like command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel


class Operation(Protocol):
    """One step. `undo` is computed from what was observed, and is called only after `do` has succeeded."""

    def do(self, kernel: Kernel) -> None:
        """Take the step; raises OSError with nothing changed."""

    def undo(self, kernel: Kernel) -> None:
        """Take it back."""


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
        """Write the value that was there; without one the link goes, and the key with it."""
        if self.before is not None:
            kernel.write_sysctl(self.key, self.before)

    def __str__(self) -> str:
        # With slashes: a link's name may have dots.
        return f"sysctl -q -w {shlex.quote(f'{self.key}={self.value}')}"
