"""A rule is a generator of findings with a code, a title and a docstring that explains it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from podlan.addressing import Allocation, Ground
from podlan.diagnostics import Explanation, Finding
from podlan.inventory import Site

_Read = TypeVar("_Read", Mapping[str, Ground], Allocation)
Check = Callable[[Site, _Read], Iterator[Finding]]


@dataclass(frozen=True)
class Rule(Generic[_Read]):
    """A check with what people need to know about it.

    `check` reads the site and, before addresses are given, the claims per subnet; after that, the allocation.
    """

    code: str
    title: str
    check: Check[_Read]

    @property
    def explanation(self) -> Explanation:
        """What the rule wants and why: the check's own docstring."""
        return Explanation(self.code, self.title, inspect.getdoc(self.check) or "")


def rule(code: str, title: str) -> Callable[[Check[_Read]], Rule[_Read]]:
    """Make a rule of a generator function; its docstring is what people read of it, in this form.

    The first line says what holds, as a statement; a paragraph may follow. Then, each at the line's beginning:

    Why: what happens otherwise; it may go on over several lines, and a paragraph.
    Source: where that is written. May be left out, as may Why.
    Example:
        nodes:
          node-1: {ranges: [10.0.0.250-254]}
    Instead:
        nodes:
          node-1: {ranges: [10.0.0.240-247]}

    Example is what the rule finds, Instead the repair. Both are laid over the site that docs/findings.md begins
    with (podlan.cli.findings.SITE): a top-level section (nodes:, subnets:, ...) that they give stands in place of
    the site's whole section. Tests prove that the first gives this code, and the second neither it nor any error.
    `make docs` writes the page.
    """

    def make(check: Check[_Read]) -> Rule[_Read]:
        return Rule(code, title, check)

    return make
