"""JSON as the plugins read it: Go's decoder compares keys without case, and takes the last of two."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

_NOTHING = ("", None)


class Decoded(NamedTuple):
    """A value, and whether any key in it stands twice."""

    value: Any
    has_doubles: bool


def decode(text: str) -> Decoded:
    """Read JSON; raises ValueError for what Go refuses, json.JSONDecodeError with the place where possible."""
    has_doubles = False

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_doubles
        found = dict(pairs)
        has_doubles = has_doubles or len(found) != len(pairs)
        return found

    try:
        value = json.loads(text, object_pairs_hook=as_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return Decoded(value, has_doubles)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


class Fields:
    """An object's members by name without case; `key` tells how the file spells a name."""

    def __init__(self, value: dict[str, Any]) -> None:
        # libcni writes the keys anew, sorted by their bytes, before a plugin sees them: the last one wins there.
        self._members = {key.casefold(): (key, value[key]) for key in sorted(value)}
        self.is_ambiguous = len(self._members) != len(value)
        self._value = value

    def key(self, name: str) -> str:
        """Give the name as it is spelled here."""
        return self._members.get(name.casefold(), (name,))[0]

    def get(self, name: str) -> Any:  # noqa: ANN401 - a JSON value can be anything
        """Give the member's value; None where it is null or absent, which Go does not tell apart either."""
        return self._members.get(name.casefold(), _NOTHING)[1]

    def has(self, name: str) -> bool:
        """Tell whether the member is there, be it null."""
        return name.casefold() in self._members

    def text(self, name: str) -> str:
        """Give the member's value where it is a string, else nothing."""
        value = self.get(name)
        return value if isinstance(value, str) else ""

    def spelled_twice(self) -> list[list[str]]:
        """Give the groups of keys that differ by case only."""
        groups: dict[str, list[str]] = {}
        for key in self._value:
            groups.setdefault(key.casefold(), []).append(key)
        return [keys for keys in groups.values() if len(keys) > 1]

    def unknown(self, known: frozenset[str]) -> list[str]:
        """Give the keys that are not in `known`, which is in lower case."""
        return [key for key in self._value if key.casefold() not in known]
