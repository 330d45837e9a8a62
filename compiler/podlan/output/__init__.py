"""Writing: the output tree and the lock."""

from podlan.output._errors import Busy, CannotWrite, OutputInsideSite
from podlan.output._files import refuse_nesting, turn, write_durably
from podlan.output._tree import Difference, Staged, compare, names

__all__ = [
    "Busy",
    "CannotWrite",
    "Difference",
    "OutputInsideSite",
    "Staged",
    "compare",
    "names",
    "refuse_nesting",
    "turn",
    "write_durably",
]
