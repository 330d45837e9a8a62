"""How long each stage of a run takes: for people whose compile is slow, and for those who would make it faster."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_T = TypeVar("_T")


class Timings:
    """Wall time in seconds by stage, in the order in which stages began; one that comes again adds to its time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def each(self, name: str, items: Iterable[_T]) -> Iterator[_T]:
        """Time how long the items take to come, and not what is done with them."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                item = next(iterator, self)
            if item is self:
                return
            yield item  # type: ignore[misc]  # self stands for the end alone

    def milliseconds(self) -> dict[str, float]:
        """Give the stages for programs."""
        return {name: round(seconds * 1000, 1) for name, seconds in self.seconds.items()}

    def text(self) -> str:
        """Give a line a stage, with its share of the whole."""
        whole = sum(self.seconds.values()) or 1.0
        rows = [*self.seconds.items(), ("all", whole)]
        return "".join(f"{name:<12}{seconds * 1000:>10,.1f} ms{seconds / whole:>7.0%}\n" for name, seconds in rows)
