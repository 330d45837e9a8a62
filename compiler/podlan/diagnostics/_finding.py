"""What a check has to say: a finding and the places it speaks of, as plain data."""

from __future__ import annotations

import enum
from dataclasses import field, replace

from podlan.records import dataclass


class Severity(enum.Enum):
    """How much a finding matters: only errors make a run fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A span on one line of one file.

    `line` and `column` count from 1, columns in code points; `length` is the number of code points to
    underline (at least 1). `label` says what is at a secondary place ("first used here"). `path` is the way to it
    in an inventory (keys of mappings, indexes of lists), where it has one.
    """

    file: str
    line: int
    column: int
    length: int = 1
    label: str = ""
    path: tuple[str | int, ...] = field(default=(), compare=False)

    def labelled(self, label: str) -> Place:
        """Give the same place with a text that says why it is shown."""
        return replace(self, label=label)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, about an input.

    `code` is stable ("PL203"). `message` is one line that makes sense alone; `hint` says what to do.
    `place` is None where no file is to blame; `also` holds the secondary places. `silenced` is the reason that the
    inventory gives for living with it; such a finding fails no run.
    """

    code: str
    message: str
    place: Place | None = None
    severity: Severity = Severity.ERROR
    hint: str = ""
    also: tuple[Place, ...] = ()
    silenced: str = ""

    @property
    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Order by file, line, column; findings without a place come first."""
        if self.place is None:
            return ("", 0, 0, self.code, self.message)
        return (self.place.file, self.place.line, self.place.column, self.code, self.message)


def has_errors(findings: tuple[Finding, ...] | list[Finding]) -> bool:
    """Tell whether any finding must stop the run."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def has_warnings(findings: tuple[Finding, ...] | list[Finding]) -> bool:
    """Tell whether any finding stops a strict run."""
    return any(finding.severity is Severity.WARNING and not finding.silenced for finding in findings)
