"""Where keys and values stand in a JSON text that was already parsed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not come yet; `key` None: the next string is a key."""

    path: tuple[str | int, ...]
    is_object: bool
    key: str | int | None
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)


class Positions:
    """Offsets of every key and value, by path; `doubles` are the keys that stand in one object more than once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._values: dict[tuple[str | int, ...], tuple[int, int]] = {}
        self._keys: dict[tuple[str | int, ...], tuple[int, int]] = {}
        self.doubles: list[tuple[tuple[str | int, ...], int]] = []
        self._scan()

    def of(self, path: tuple[str | int, ...], *, key: bool = False) -> tuple[int, int, int]:
        """Give line, column and length of a value (of its key, with `key`), or of what is nearest around it.

        A name in the path may be spelled otherwise in the file, in upper and lower case.
        """
        table = self._keys if key else self._values
        span = table.get(path)
        folded = {_folded(known): known for known in self._values} if span is None else {}
        while span is None and path:
            known = folded.get(_folded(path), path)
            span = table.get(known, self._values.get(known))
            path = path[:-1]
        start, length = span or self._values.get((), (0, 1))
        return (*self.at(start), length)

    def at(self, offset: int) -> tuple[int, int]:
        """Give line and column of an offset."""
        return self._text.count("\n", 0, offset) + 1, offset - self._text.rfind("\n", 0, offset)

    def _scan(self) -> None:
        stack: list[_Open] = []
        for match in _TOKEN.finditer(self._text):
            symbol, span = match[0], (match.start(), len(match[0]))
            top = stack[-1] if stack else None
            if symbol in "}]":
                stack.pop()
            elif symbol == ",":
                if top is not None:
                    top.key = None if top.is_object else int(top.key or 0) + 1
            elif top is not None and top.key is None:
                self._take_key(top, json.loads(symbol), span)
            elif symbol != ":":
                path = () if top is None or top.key is None else (*top.path, top.key)
                self._values[path] = span
                if symbol in "{[":
                    stack.append(_Open(path, symbol == "{", None if symbol == "{" else 0))

    def _take_key(self, top: _Open, key: str, span: tuple[int, int]) -> None:
        if key in top.seen:
            self.doubles.append(((*top.path, key), top.seen[key][0]))
        top.seen[key] = self._keys[(*top.path, key)] = span
        top.key = key


def _folded(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return tuple(part.casefold() if isinstance(part, str) else part for part in path)
