"""A rule is a generator of findings with a code, a title and a docstring that explains it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from podlan.addressing import Ground
from podlan.diagnostics import Explanation, Finding
from podlan.inventory import Site

Check = Callable[[Site, Mapping[str, Ground]], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check with what people need to know about it; `check` reads the site and the claims per subnet."""

    code: str
    title: str
    check: Check

    @property
    def explanation(self) -> Explanation:
        """What the rule wants and why: the check's own docstring."""
        return Explanation(self.code, self.title, inspect.getdoc(self.check) or "")


def rule(code: str, title: str) -> Callable[[Check], Rule]:
    """Make a rule of a generator function."""

    def make(check: Check) -> Rule:
        return Rule(code, title, check)

    return make
