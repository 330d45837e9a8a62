"""How people write the way to a value: `nodes["n1.dc1"].ranges[0]`, read back into keys."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.source import KeyPath

_STEP = re.compile(
    r"""\[(?P<index>[0-9]{1,9})\]|\[(?P<quote>["'])(?P<quoted>.*?)(?P=quote)\]|(?P<plain>[^.\["'\]\s]+)"""
)


class NotAPath(PodlanError):
    """Text that is no way to a value, and no address."""

    exit_code: ClassVar[int] = 2  # wrong usage, as click ends on an argument that means nothing

    def __init__(self, text: str, column: int) -> None:
        super().__init__(text, column)
        self.text = text
        self.column = column

    def __str__(self) -> str:
        rest = f" at {self.text[self.column :]!r}" if self.text[self.column :] else ""
        return f'{self.text!r} is neither an address nor a path{rest}; write it as in nodes["node-1"].ranges[0]'


class NoSuchPath(PodlanError):
    """A way that leads nowhere in this site."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem, hint)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}; {self.hint}" if self.hint else self.problem


def parse(text: str) -> KeyPath:
    """Read a path as podlan.source.dotted writes it; a plain step may hold dashes too. Raises NotAPath."""
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        is_dot = text[position] == "."
        if is_dot and steps:
            position += 1
        match = _STEP.match(text, position)
        is_plain = match is not None and match["plain"] is not None
        if match is None or (is_plain and bool(steps) != is_dot) or (is_dot and not is_plain):
            raise NotAPath(text, position)
        steps.append(int(match["index"]) if match["index"] else match["plain"] or match["quoted"])
        position = match.end()
    if not steps:
        raise NotAPath(text, 0)
    return tuple(steps)


def entries(number: int) -> str:
    """Say how many entries a list has to somebody who asked for another one."""
    return f"it has {number} entr{'ies' if number != 1 else 'y'}, counted from 0"


def nearest(name: object, known: Iterable[str], shown: int = 8) -> str:
    """Suggest what was meant, or name what there is."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return ""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"there is: {', '.join(names[:shown])}{more}"
