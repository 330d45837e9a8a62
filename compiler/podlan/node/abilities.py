"""What a kernel can that older ones cannot, as values: found once, and handed to whoever decides by them."""

from __future__ import annotations

import os
import re

from podlan.records import dataclass

MACVLAN, METRICS, ALTNAMES, PROTOCOLS = (3, 9), (4, 18), (5, 5), (5, 18)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the kernel knows: macvlan, addresses with a metric or with a protocol number, altnames of links."""

    release: str = ""
    macvlan: bool = True
    metrics: bool = True
    altnames: bool = True
    protocols: bool = True


def abilities(release: str = "") -> Abilities:
    """Give what a release of Linux can ('4.15.0-213-generic'); by default the running one, all of it if unreadable."""
    release = release or os.uname().release
    match = re.match(r"(\d+)\.(\d+)", release)
    if match is None:
        return Abilities(release)
    version = (int(match[1]), int(match[2]))
    return Abilities(release, *(version >= first for first in (MACVLAN, METRICS, ALTNAMES, PROTOCOLS)))
