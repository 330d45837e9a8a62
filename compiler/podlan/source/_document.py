"""One YAML file: its data, and a mirror of it that holds the position of every key and value.

The events of the C parser are turned into plain data in one pass. Scalars are typed here, more strictly
than YAML 1.1 does it: null, true and false, decimal integers and floats; everything else is text, so that
a MAC address or `010` never turns into a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from _ruamel_yaml import CParser
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from podlan.diagnostics import Finding, Place, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH_LIMIT = 64
"""Deepest nesting that is read; an inventory needs less than ten."""

Spot: TypeAlias = tuple[Any, ...]
"""Where a value stands: (line, column, length, children), all from 0.

`children` is None for a scalar, a list of spots for a sequence, and for a mapping
{key: (line, column, length, spot of the value)}.
"""

_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*")
_ADDRESS_START = re.compile(r"(?=.*([0-9]|:.*:))[0-9A-Fa-f:]+:")
_GIVES_UP = "the parser gives up"
_MERGE_MARK = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?= |$)", re.MULTILINE)


@dataclass(slots=True)
class Document:
    """What one file says. `data` is None when the file is empty or cannot be read; then `spot` means nothing.

    `complete` is false where the file says more than `data` holds, because podlan could not read it.
    """

    file: str
    data: Any = None
    spot: Spot = (0, 0, 1, None)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True


def parse(file: str, text: str) -> Document:
    """Read one YAML document; whatever is wrong with it is in its `findings`.

    What libyaml 0.1.7 cannot read but YAML allows (`{a: fd00::1}`) is read by the slower Python parser,
    and a note says so.
    """
    if mark := _MERGE_MARK.search(text):
        place = Place(file, text.count("\n", 0, mark.start()) + 1, 1, len(mark[0]))
        message = "a merge left its marks in this file"
        hint = "decide what of both sides is true, and remove the lines with the marks"
        return Document(file, findings=[Finding("PL002", message, place, hint=hint)], complete=False)
    try:
        return _Builder(file).build(_events(_c_events(text)))
    except _NotYaml:
        pass
    try:
        document = _Builder(file).build(_events(YAML(typ="safe", pure=True).parse(text)))
    except _NotYaml as error:
        return Document(file, findings=[_syntax_finding(file, error.cause)], complete=False)
    place = Place(file, 1, 1)
    document.findings.append(
        Finding(
            "PL007",
            "this file needed the slow YAML parser",
            place,
            Severity.NOTE,
            "quote addresses and MACs that stand inside { } or [ ], or write them in block style",
        )
    )
    return document


class _NotYaml(Exception):
    """A parser cannot go on, for `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


def _events(parser: Iterator[Any]) -> Iterator[Any]:
    """Give a parser's events. Raises _NotYaml."""
    try:
        yield from parser
    except Exception as error:  # ruamel's parsers also end in AssertionError and others, as on `%YAML 1.3`
        raise _NotYaml(error) from error


def _c_events(text: str) -> Iterator[Any]:
    parser = CParser(text)
    while (event := parser.get_event()) is not None:
        yield event


def _syntax_finding(file: str, error: Exception) -> Finding:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    problem = getattr(error, "problem", None) or _unmarked(error)
    context = getattr(error, "context", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    message = f"not valid YAML: {problem}" + (f" ({context})" if context else "")
    return Finding("PL002", message, place, hint=_syntax_hint(problem))


def _unmarked(error: Exception) -> str:
    if isinstance(error, YAMLError | ValueError):
        return "it holds a character that YAML does not allow"
    return f"{_GIVES_UP}: {error}" if str(error) else _GIVES_UP


def _syntax_hint(problem: str) -> str:
    if problem.startswith(_GIVES_UP):
        return "leave out lines that begin with %: podlan needs none"
    if "\\t" in problem or "cannot start any token" in problem:
        return "indent with spaces; a tab, '@' or '`' cannot start a value"
    if "mapping values are not allowed" in problem:
        return "a value that holds ': ' needs quotes; otherwise check the indentation of this line"
    return ""


class _Refused(Exception):
    """The document uses something podlan does not read; the finding is already written."""


class _Builder:
    """Turns a stream of events into data and spots."""

    def __init__(self, file: str) -> None:
        self.document = Document(file)

    def build(self, events: Iterator[Any]) -> Document:
        documents = 0
        for event in events:
            kind = type(event)
            if kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._report(event, "PL005", "a second YAML document in one file", "make it a file of its own")
                    self.document.complete = False
                    break
            elif kind is not StreamStartEvent and kind is not DocumentEndEvent and kind is not StreamEndEvent:
                try:
                    self.document.data, self.document.spot = self._value(event, events)
                except _Refused:
                    self.document.data = None
                    self.document.complete = False
                    break
        return self.document

    def _report(self, event: Any, code: str, message: str, hint: str = "") -> None:  # noqa: ANN401 - a parser's event
        start = event.start_mark
        place = Place(self.document.file, start.line + 1, start.column + 1, _length(event))
        self.document.findings.append(Finding(code, message, place, hint=hint))

    def _value(self, first: Any, events: Iterator[Any]) -> tuple[Any, Spot]:  # noqa: ANN401 - a parser's events
        """Build the value that begins with `first`, without recursion: nesting is the input's choice."""
        root = _Frame([], [], is_mapping=False)
        frames = [root]
        event = first
        while True:
            kind = type(event)
            if kind is ScalarEvent:
                self._take_scalar(frames[-1], event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                frames.append(self._open(frames, event, is_mapping=kind is MappingStartEvent))
            elif kind is AliasEvent:
                self._refuse_reuse(event)
            else:
                frames.pop()
            if len(frames) == 1:
                return root.container[0], root.spots[0]
            event = next(events)

    def _take_scalar(self, frame: _Frame, event: Any) -> None:  # noqa: ANN401 - a parser's event
        start = event.start_mark
        spot = (start.line, start.column, _length(event), None)
        if event.anchor is not None or event.tag is not None:
            self._refuse_reuse(event)
        if frame.is_mapping and frame.key is None:
            self._key(frame, event, spot)
        else:
            frame.put(_scalar(event), spot)

    def _open(self, frames: list[_Frame], event: Any, *, is_mapping: bool) -> _Frame:  # noqa: ANN401 - a parser's event
        parent = frames[-1]
        if event.anchor is not None or event.tag is not None:
            self._refuse_reuse(event)
        if parent.is_mapping and parent.key is None:
            self._report(event, "PL011", "a key must be one plain word, not a list or a mapping")
            raise _Refused
        if len(frames) > DEPTH_LIMIT:
            self._report(event, "PL012", f"nested deeper than {DEPTH_LIMIT} levels")
            raise _Refused
        frame = _Frame({}, {}, is_mapping=True) if is_mapping else _Frame([], [], is_mapping=False)
        parent.put(frame.container, (event.start_mark.line, event.start_mark.column, 1, frame.spots))
        return frame

    def _refuse_reuse(self, event: Any) -> None:  # noqa: ANN401 - a parser's event
        what = "an alias" if type(event) is AliasEvent else "an anchor" if event.anchor is not None else "a tag"
        self._report(
            event,
            "PL004",
            f"{what} is not read: every value must stand where it counts, so that a review shows it",
            "write the value itself, or put what nodes share into a profile",
        )
        raise _Refused

    def _key(self, frame: _Frame, event: Any, spot: Spot) -> None:  # noqa: ANN401 - a parser's event
        key = event.value
        if key.endswith(":"):
            key = self._colon(event, key)
        if key in frame.container:
            file = self.document.file
            line, column, length, _ = frame.spots[key]
            first = Place(file, line + 1, column + 1, length, "first written here")
            place = Place(file, spot[0] + 1, spot[1] + 1, spot[2])
            self.document.findings.append(
                Finding("PL003", f"the key {key} is written twice", place, hint="keep one of them", also=(first,))
            )
        frame.key, frame.key_spot = key, spot

    def _colon(self, event: Any, key: str) -> str:  # noqa: ANN401 - a parser's event
        """Refuse a key that ends in a colon: an address (`- fd00::`), or a value left out in braces (`{pods:}`)."""
        if _ADDRESS_START.fullmatch(key):
            written = key if key.endswith("::") else f"{key}:"
            self._report(
                event, "PL013", f"YAML reads {written} as a key with nothing behind it", f'quote it: "{written}"'
            )
            return key
        hint = "write a space and the value behind the colon, or leave the key out"
        self._report(event, "PL013", f"a value is missing behind `{key}`", hint)
        return key.rstrip(":")


@dataclass(slots=True)
class _Frame:
    """A mapping or a list that is still being read, and the key that waits for its value."""

    container: Any
    spots: Any
    is_mapping: bool
    key: str | None = None
    key_spot: Spot = ()

    def put(self, value: Any, spot: Spot) -> None:  # noqa: ANN401 - data of any shape
        if self.is_mapping:
            self.container[self.key] = value
            self.spots[self.key] = (*self.key_spot[:3], spot)
            self.key = None
        else:
            self.container.append(value)
            self.spots.append(spot)


def _length(event: Any) -> int:  # noqa: ANN401 - a parser's event
    start, end = event.start_mark, event.end_mark
    return end.column - start.column if end.line == start.line and end.column > start.column else 1


def _scalar(event: Any) -> Any:  # noqa: ANN401 - a scalar of any type
    value = event.value
    if not event.implicit[0]:
        return value
    if value in _WORDS:
        return _WORDS[value]
    if value[-1:] in "0123456789." and value[0] in "+-0123456789":
        if _INTEGER.fullmatch(value):
            return int(value)
        if _FLOAT.fullmatch(value):
            return float(value)
    return value
