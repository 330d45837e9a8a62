"""Whether a run began and never ended: its journal lies there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podlan.node.files import Root

JOURNAL = "/var/lib/podlan/journal.json"


def is_open(root: Root) -> bool:
    """Tell whether a run began and never ended; anybody may ask."""
    return os.path.lexists(root.shown(JOURNAL))


def close(root: Root) -> None:
    """Note that the run has ended: from here on nobody takes it back."""
    root.remove(JOURNAL)
