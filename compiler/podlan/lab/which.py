"""Which lab a command means: by its name, by its site's path, or because no other is up."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from podlan.lab import state
from podlan.lab.errors import ManyLabs, NeedsRoot, NoLabs

if TYPE_CHECKING:
    from pathlib import Path

    from podlan.lab.state import Home


def default_name(source: Path) -> str:
    """Give a name that one site's path always has and another's has not."""
    path = source.resolve()
    words = re.sub(r"[^A-Za-z0-9]+", "-", path.name).strip("-")[:24] or "site"
    return f"{words}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def meant(name: str | None, source: Path | None) -> str:
    """Give the name of the lab that is meant; raises NoLabs, or ManyLabs where one word more is needed."""
    if os.geteuid() != 0:
        raise NeedsRoot
    if name is not None:
        return name
    if source is not None:
        return default_name(source)
    there = [home.name for home in here()]
    if len(there) != 1:
        raise ManyLabs(there) if there else NoLabs
    return there[0]


def here() -> list[Home]:
    """Give the labs of this machine, those too that are half built or half removed, if only a killed podlan's lock."""
    if os.geteuid() != 0:
        raise NeedsRoot
    return [home for home in state.homes("") if home.path.exists() or home.output.exists() or state.abandoned(home)]
