"""How far a long run is: one line on a terminal, gone when the run is done."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.pipeline import Tree

_PATIENCE = 1.0
"""Seconds after which people begin to wonder."""
_PAUSE = 0.1
"""Seconds between two looks at the line."""


def with_progress(trees: Iterable[Tree], count: int) -> Iterator[Tree]:
    """Pass on what a compile renders, and tell how much of it is done."""
    shown = time.monotonic() + _PATIENCE - _PAUSE
    is_shown = False
    try:
        for number, tree in enumerate(trees):
            yield tree
            now = time.monotonic()
            if now - shown >= _PAUSE:
                shown, is_shown = now, True
                click.echo(f"\r{number + 1:,} of {count:,} directories", nl=False, err=True)
    finally:
        if is_shown:
            click.echo("\r\x1b[K", nl=False, err=True)


def is_watched() -> bool:
    """Tell whether somebody sits at a terminal that can erase a line; CI systems say that they are none."""
    return os.isatty(2) and "CI" not in os.environ and os.environ.get("TERM", "dumb") != "dumb"
