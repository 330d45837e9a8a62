"""The option that every command has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def root_option(text: str = "As given to podlan reconcile.") -> Callable[[Any], Any]:
    """Give --root, the directory that stands for '/'; `text` is its help."""
    return click.option(
        "--root",
        metavar="DIR",
        default="/",
        type=click.Path(exists=True, file_okay=False, resolve_path=True),
        help=text,
    )
