"""Pure text: flags merged into a shell-style variable, and a block of lines between podlan's marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = "# BEGIN podlan"
END = "# END podlan"

_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_COMMENT = re.compile(r"[ \t]*[#;].*")
_LINE = re.compile(r"(?:[^\\\n]|\\.|\\\Z)*", re.DOTALL)
"""A line with the ones that continue it."""

_QUOTED = {'"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL), "'": re.compile(r"'([^']*)'")}
_BEHIND = re.compile(r"[ \t\r]*(?:(?<=[ \t])#|;|\Z)")
_BARE = re.compile(r"(?:(?<![ \t])#|[^\\'\"`;&|<>()#]|\\\n)*")
"""What means the same within double quotes as without quotes."""

_UNSAFE = re.compile(r"""[\s'"\\$`#;&|<>()]""")
_NEGATIVE = re.compile(r"-\d")


class Unmergeable(ValueError):
    """A file whose form podlan would have to guess."""


class _Assignment(NamedTuple):
    start: int  # of the value, its quotes included
    end: int
    quote: str
    value: str


class _Word(NamedTuple):
    start: int
    end: int
    text: str  # without quotes, as the program gets it


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
    value, quote = assignment.value, assignment.quote
    names = {_name(flag) for flag in flags}
    for old in dropped:
        if _name(old) not in names:
            value = _without(value, old, quote)
    for flag in flags:
        value = _with(value, flag, quote)
    if value == assignment.value:
        return text
    quote = quote or '"'
    return text[: assignment.start] + quote + value + quote + text[assignment.end :]


def assigned(text: str, variable: str) -> str | None:
    """Give the variable's value as it is spelt there, quotes included; None without an assignment."""
    assignment = _find(text, variable)
    return None if assignment is None else text[assignment.start : assignment.end]


def unmerge_flags(text: str, variable: str, flags: tuple[str, ...], before: str | None) -> str:
    """Give the text without podlan's flags; `before` is the variable's value in it as `assigned` gave it once.

    What nobody changed since is as it was; elsewhere the flags go, and those that they had replaced come back.
    """
    assignment = _find(text, variable)
    if assignment is None:
        return text
    if before is None:
        start = text.rfind("\n", 0, assignment.start) + 1
        earlier = text[:start] + text[_end_of_line(text, assignment.end) + 1 :]
    else:
        earlier = text[: assignment.start] + before + text[assignment.end :]
    if earlier == text or merge_flags(earlier, variable, flags) == text:
        return earlier
    words = {word.text for word in _words(assignment.value, assignment.quote)}
    own = tuple(flag for flag in flags if flag in words)
    return merge_flags(text, variable, _replaced(before or "", own), own)


def _replaced(value: str, flags: tuple[str, ...]) -> tuple[str, ...]:
    """Give the flags that podlan's took the place of, each as one word; of several with one name the last counts."""
    quote = value[:1] if value[:1] in _QUOTED else ""
    words = _words(value[1:-1] if quote else value, quote)
    found = []
    for flag in flags:
        spans = _spans(words, _name(flag), takes_value="=" in flag)
        if spans:
            start, end = spans[-1]
            found.append("=".join(word.text for word in words if start <= word.start < end))
    return tuple(flag for flag in found if not _UNSAFE.search(flag))


def _find(text: str, variable: str) -> _Assignment | None:
    """Find the variable's last assignment, which counts; refuse a text in which there may be one that is not seen."""
    mentioned = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(variable)}\+?=")
    found: _Assignment | None = None
    position, number, continues = 0, 1, False
    while position < len(text):
        match = _ASSIGNMENT.match(text, position)
        comment = _COMMENT.match(text, position)
        if match is not None and match.group(1) == variable:
            if continues:
                # systemd reads on there until release 253, a shell does not.
                raise Unmergeable(f"line {number}: the comment above {variable}= ends in a backslash")
            if "export" in match.group()[: match.start(1) - position]:
                raise Unmergeable(f"line {number}: systemd does not read the line; take the word export from it")
            found = _value(text, match.end(), f"line {number}: the value of {variable}")
            end = max(found.end, _end_of_line(text, found.end))
        elif comment is not None:
            end = comment.end()
        else:
            start = position if match is None else _end_of_quoted(text, match.end(), number)
            end = _end_of_line(text, start)
            if mentioned.search(text, start, end):
                raise Unmergeable(f"line {number}: {variable} is assigned in a way that podlan does not read")
        continues = comment is not None and comment.group().rstrip("\r").endswith("\\")
        number += text.count("\n", position, end + 1)
        position = end + 1
    return found


def _end_of_line(text: str, start: int) -> int:
    match = _LINE.match(text, start)
    return match.end() if match else start


def _end_of_quoted(text: str, start: int, number: int) -> int:
    pattern = _QUOTED.get(text[start : start + 1])
    if pattern is None:
        return start
    match = pattern.match(text, start)
    if match is None:
        raise Unmergeable(f"line {number}: a quote is never closed")
    return match.end()


def _value(text: str, start: int, what: str) -> _Assignment:
    quote = text[start : start + 1]
    if quote in _QUOTED:
        match = _QUOTED[quote].match(text, start)
        if match is None:
            raise Unmergeable(f"{what} has a quote that is never closed")
        if not _BEHIND.match(text[match.end() : _end_of_line(text, match.end())]):
            raise Unmergeable(f"{what} is quoted in pieces")
        return _Assignment(start, match.end(), quote, match.group(1))
    value = text[start : _end_of_line(text, start)].rstrip()
    if not _BARE.fullmatch(value):
        raise Unmergeable(f"{what} would mean something else within quotes")
    return _Assignment(start, start + len(value), "", value)


def _words(value: str, quote: str) -> list[_Word]:
    """Split a value as systemd does: at blanks, but for those within the quotes that the value itself holds."""
    words: list[_Word] = []
    start, text, inner, escaped = -1, "", "", False
    for position, character in (*_characters(value, quote), (len(value), " ")):
        if not escaped and not inner and character.isspace():
            if start >= 0:
                words.append(_Word(start, position, text))
            start, text = -1, ""
            continue
        start = position if start < 0 else start
        if escaped:
            escaped, text = False, text + character
        elif character == "\\" and inner != "'":
            escaped = True
        elif character in (inner or "'\""):
            inner = "" if inner else character
        else:
            text += character
    if start >= 0:
        raise Unmergeable("a quote inside the value is never closed")
    return words


def _characters(value: str, quote: str) -> Iterator[tuple[int, str]]:
    """Give each character that the outer quotes leave, with its position; that a line continues is none."""
    position = 0
    while position < len(value):
        pair = value[position : position + 2]
        if pair == "\\\n" and quote != "'":
            position += 2
        elif quote == '"' and len(pair) > 1 and pair[0] == "\\" and pair[1] in '"\\$`':
            yield position, pair[1]
            position += 2
        else:
            yield position, pair[0]
            position += 1


def _name(flag: str) -> str:
    # Kubernetes' flags take '_' for '-'.
    return flag.partition("=")[0].replace("_", "-")


def _with(value: str, flag: str, quote: str) -> str:
    words = _words(value, quote)
    spans = _spans(words, _name(flag), takes_value="=" in flag)
    if not words:
        return flag
    if not spans:
        return f"{value}{' ' if words[-1].end == len(value) else ''}{flag}"
    first, *others = spans
    for start, end in reversed(others):
        value = _cut(value, start, end)
    return value[: first[0]] + flag + value[first[1] :]


def _without(value: str, flag: str, quote: str) -> str:
    for word in reversed(_words(value, quote)):
        if word.text == flag:
            value = _cut(value, word.start, word.end)
    return value


def _spans(words: list[_Word], name: str, *, takes_value: bool) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for index, word in enumerate(words):
        if not word.text.startswith("-") or _name(word.text) != name:
            continue
        end = word.end
        following = words[index + 1] if index + 1 < len(words) else None
        if takes_value and "=" not in word.text and following is not None and _is_value(following.text):
            end = following.end
        spans.append((word.start, end))
    return spans


def _is_value(word: str) -> bool:
    return not word.startswith("-") or _NEGATIVE.match(word) is not None


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
    starts = [match.start() for match in re.finditer(rf"^{BEGIN}[ \t\r]*$", text, re.MULTILINE)]
    ends = [match.end() for match in re.finditer(rf"^{END}[ \t\r]*$\n?", text, re.MULTILINE)]
    if not starts and not ends:
        return None, None
    if len(starts) != 1 or len(ends) != 1 or ends[0] <= starts[0]:
        raise Unmergeable(f"the marks '{BEGIN}' and '{END}' do not stand there once each, in this order")
    return starts[0], ends[0]


def _append(text: str, line: str) -> str:
    newline = _newline(text)
    if text and not text.endswith("\n"):
        text += newline
    if text.rstrip("\r\n").endswith("\\"):
        text += newline  # else the last line would continue on ours
    return f"{text}{line}{newline}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
