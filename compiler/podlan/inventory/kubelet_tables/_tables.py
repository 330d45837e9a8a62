"""The tables beside this file, each with its sources; read when somebody asks, since most sites never do.

Which flags go stands in `podlan.plan`, since the node asks too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from podlan.inventory._values import Version, parse_version
from podlan.plan.kubelet_flags import CONFIG_FLAGS, GONE

if TYPE_CHECKING:
    from collections.abc import Mapping

CNI_FLAGS_REMOVED = Version(1, 24)
"""kubernetes/kubernetes#106907 removed --network-plugin, --cni-conf-dir and --cni-bin-dir with dockershim."""
CONFIG_DIR_SINCE = Version(1, 30)
"""--config-dir needs no environment variable from 1.30 on (KEP-3983, beta)."""
DUAL_STACK_SINCE = Version(1, 21)
"""--node-ip takes two addresses where the feature gate IPv6DualStack is on; 1.20 ends on them without it."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A flag that is gone: kubelets from `version` on end at once where it stands."""

    version: Version
    instead: str
    source: str


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags: all of one `release`, and what is known of their coming (`since`) and going (`removed`).

    `later` came after that release, nobody noted when.
    """

    release: Version
    known: frozenset[str]
    later: frozenset[str]
    since: Mapping[str, Version]
    removed: Mapping[str, Removal]

    @property
    def names(self) -> frozenset[str]:
        """Every flag that some kubelet knows."""
        return self.known.union(self.later, self.since, self.removed)

    def missing(self, name: str, version: Version) -> bool:
        """Tell whether it is certain that a kubelet of this version does not know a flag."""
        if name in self.removed and version >= self.removed[name].version:
            return True
        if name in self.since:
            return version < self.since[name]
        return name not in self.names and _minor(version) == self.release


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of KubeletConfiguration and when each came; none ever went.

    `flags`: the flag that means the same. `kinds`: bool, int, number, text, texts, list, map, map of texts, map of
    bools. `oldest` and `newest` are the releases between which the table speaks.
    """

    oldest: Version
    newest: Version
    since: Mapping[str, Version]
    flags: Mapping[str, str]
    kinds: Mapping[str, str]

    def missing(self, name: str, version: Version) -> bool:
        """Tell whether it is certain that a kubelet of this version does not know a field."""
        known = self.since.get(name)
        return version < known if known is not None else _minor(version) <= self.newest


def _minor(version: Version) -> Version:
    return Version(version.major, version.minor)


@cache
def flags() -> Flags:
    """Give the table of flags."""
    table = _read("flags.json")
    removed = {name: Removal(parse_version(gone.version), gone.instead, gone.source) for name, gone in GONE.items()}
    return Flags(
        parse_version(table["release"]),
        frozenset(table["known"]),
        frozenset(table["later"]),
        _versions(table["since"]),
        removed,
    )


@cache
def fields() -> Fields:
    """Give the table of fields."""
    table = _read("fields.json")
    kinds = {name: kind for kind, names in table["kinds"].items() for name in names}
    oldest, newest = parse_version(table["oldest"]), parse_version(table["newest"])
    return Fields(oldest, newest, _versions(table["since"]), CONFIG_FLAGS, kinds)


def _versions(table: dict[str, str]) -> dict[str, Version]:
    return {name: parse_version(version) for name, version in table.items()}


def _read(name: str) -> Any:  # noqa: ANN401 - JSON of its own shape
    return json.loads((files(__package__) / name).read_text(encoding="utf-8"))
