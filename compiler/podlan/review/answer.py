"""An answer to "where does this come from": a value or a verdict, and the steps that led there. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podlan.diagnostics import Place
    from podlan.inventory import Site
    from podlan.source import KeyPath


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a chain, the one that decides first: who says it, what, and where that stands."""

    source: str
    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is at a path, or whose an address is.

    `verdict` says it in words where a value alone would not; `parts` are the answers for what a section holds.
    """

    subject: str
    value: Any
    steps: tuple[Step, ...] = ()
    verdict: str = ""
    parts: tuple[Answer, ...] = ()


def written(site: Site, source: str, path: KeyPath, text: str) -> Step:
    """Make a step of something that is written in the inventory."""
    return Step(source, text, site.place(path))
