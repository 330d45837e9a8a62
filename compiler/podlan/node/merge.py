"""Pure text: flags merged into a shell-style variable, and a block of lines between podlan's marks."""

from __future__ import annotations

import re
from typing import NamedTuple

BEGIN = "# BEGIN podlan"
END = "# END podlan"

# A word of a flag variable; blanks inside nested quotes belong to it, a backslash takes the next character along.
_WORD = re.compile(r"""(?:\\[^\n]|'[^']*'|"[^"]*"|[^\s'"\\])+""")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'")
_BARE = re.compile(r"((?:[^\n\\]|\\(?:.|\n))*)", re.DOTALL)
_UNSAFE = re.compile(r"""[\s'"\\$`#;&|<>()]""")


class Unmergeable(ValueError):
    """A file whose form podlan would have to guess."""


class _Assignment(NamedTuple):
    start: int  # of the value, its quotes included
    end: int
    quote: str
    value: str


def merge_flags(text: str, variable: str, flags: tuple[str, ...], dropped: tuple[str, ...] = ()) -> str:
    """Give the text with every flag in the variable's last assignment; `dropped` are podlan's earlier ones to remove.

    Other lines, other flags and their order, and the quotes stay as they are; nothing changes where all fits.
    """
    for flag in flags:
        if not flag.startswith("-") or _UNSAFE.search(flag):
            raise Unmergeable(f"flag {flag!r} cannot stand in a shell variable")
    assignment = _find(text, variable)
    if assignment is None:
        return _append(text, f'{variable}="{" ".join(flags)}"') if flags else text
    value = assignment.value
    names = {_name(flag) for flag in flags}
    for old in dropped:
        if _name(old) not in names:
            value = _without(value, old)
    for flag in flags:
        value = _with(value, flag)
    if value == assignment.value:
        return text
    quote = assignment.quote or '"'
    return text[: assignment.start] + quote + value + quote + text[assignment.end :]


def _find(text: str, variable: str) -> _Assignment | None:
    pattern = re.compile(rf"^[ \t]*(?:export[ \t]+)?{re.escape(variable)}=", re.MULTILINE)
    found: _Assignment | None = None
    position = 0
    while match := pattern.search(text, position):
        found = _value(text, match.end(), variable)
        position = max(found.end, match.end())
    return found


def _value(text: str, start: int, variable: str) -> _Assignment:
    line = text.count("\n", 0, start) + 1
    for quote, pattern in (('"', _DOUBLE), ("'", _SINGLE)):
        if text.startswith(quote, start):
            match = pattern.match(text, start)
            if match is None:
                raise Unmergeable(f"line {line}: the quote after {variable}= is never closed")
            if text[match.end() : match.end() + 1] not in ("", "\n", " ", "\t", "\r", ";"):
                raise Unmergeable(f"line {line}: the value of {variable} is quoted in pieces")
            return _Assignment(start, match.end(), quote, match.group(1))
    match = _BARE.match(text, start)
    value = match.group(1).rstrip() if match else ""
    if "'" in value or '"' in value:
        raise Unmergeable(f"line {line}: the value of {variable} is quoted in pieces")
    return _Assignment(start, start + len(value), "", value)


def _name(flag: str) -> str:
    # Kubernetes' flags take '_' for '-'.
    return flag.partition("=")[0].replace("_", "-")


def _with(value: str, flag: str) -> str:
    spans = _spans(value, _name(flag), takes_value="=" in flag)
    if not spans:
        if not value.strip():
            return flag
        return f"{value.rstrip(' ')} {flag}"
    first, *others = spans
    for start, end in reversed(others):
        value = _cut(value, start, end)
    return value[: first[0]] + flag + value[first[1] :]


def _without(value: str, flag: str) -> str:
    for match in reversed(list(_WORD.finditer(value))):
        if match.group() == flag:
            value = _cut(value, match.start(), match.end())
    return value


def _spans(value: str, name: str, *, takes_value: bool) -> list[tuple[int, int]]:
    words = list(_WORD.finditer(value))
    spans: list[tuple[int, int]] = []
    for index, word in enumerate(words):
        if not word.group().startswith("-") or _name(word.group()) != name:
            continue
        end = word.end()
        following = words[index + 1] if index + 1 < len(words) else None
        if takes_value and "=" not in word.group() and following and not following.group().startswith("-"):
            end = following.end()
        spans.append((word.start(), end))
    return spans


def _cut(value: str, start: int, end: int) -> str:
    if end < len(value) and value[end] == " ":
        end += 1
    elif start > 0 and value[start - 1] == " ":
        start -= 1
    return value[:start] + value[end:]


def merge_block(text: str, lines: tuple[str, ...], *, executable: bool) -> str:
    """Give the text with these lines between podlan's marks, without the marks where there are no lines.

    A new block goes before a final `exit 0`, behind which it would never run; a new executable file starts with `#!`.
    """
    block = "".join(f"{line}\n" for line in (BEGIN, *lines, END)) if lines else ""
    start, end = _block(text)
    if start is not None and end is not None:
        return text[:start] + block + text[end:]
    if not block:
        return text
    if not text:
        return f"#!/bin/sh\n{block}" if executable else block
    if not text.endswith("\n"):
        text += "\n"
    last = re.search(r"^[ \t]*exit[ \t]+0[ \t]*(?:#.*)?\n\s*\Z", text, re.MULTILINE)
    position = last.start() if last else len(text)
    return text[:position] + block + text[position:]


def _block(text: str) -> tuple[int | None, int | None]:
    starts = [match.start() for match in re.finditer(rf"^{BEGIN}[ \t]*$", text, re.MULTILINE)]
    ends = [match.end() for match in re.finditer(rf"^{END}[ \t]*$\n?", text, re.MULTILINE)]
    if not starts and not ends:
        return None, None
    if len(starts) != 1 or len(ends) != 1 or ends[0] <= starts[0]:
        raise Unmergeable(f"the marks '{BEGIN}' and '{END}' do not stand there once each, in this order")
    return starts[0], ends[0]


def _append(text: str, line: str) -> str:
    if text and not text.endswith("\n"):
        text += "\n"
    return f"{text}{line}\n"
