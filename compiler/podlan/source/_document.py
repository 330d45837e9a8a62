"""One YAML file: its data, and a mirror of it that holds the position of every key and value.

The events of the C parser are turned into plain data in one pass. Scalars are typed here, more strictly
than YAML 1.1 does it: null, true and false, decimal integers and floats; everything else is text, so that
a MAC address or `010` never turns into a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
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

EVENT_LIMIT = 3_000_000
"""Most events that are read of a site, about two a key or value: a site of 100,000 nodes needs 1,300,000."""

FINDINGS_LIMIT = 20_000
"""Most findings of one stage: nobody reads more, and a hostile file could hold millions."""

SLOW_EVENT_LIMIT = 150_000
SLOW_TEXT_LIMIT = 1_500_000
"""Most events and characters that the Python parser is asked to read, at up to 30 us an event and 2 us a character."""

NAME_LIMIT = 253
"""Longest name that a message shows in full: a Kubernetes node's may be as long."""

DIRECTIVE_LIMIT = 100
"""Most %TAG directives: libyaml compares each with all before it."""

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
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")  # what fits into 64 bits, and so into everybody's JSON
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*")
_ADDRESS_START = re.compile(r"(?=.*([0-9]|:.*:))[0-9A-Fa-f:]+:")
_GIVES_UP = "the parser gives up"
_NO_DIRECTIVES = "leave out lines that begin with %: podlan needs none"
_QUOTE_OR_BLOCK = "quote addresses and MACs that stand inside { } or [ ], or write them in block style"
_DIRECTIVE = "%TAG"
_NOT_TEXT = re.compile("[^\\t\\n\\r -~\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What YAML does not allow, and NEL, LS and PS: they end a line in YAML 1.1, but not in 1.2, nor in a review."""
_HALF_CHARACTER = re.compile(r"\\(u|U0000)[dD][89A-Fa-f]")
"""The escape of a surrogate, which the Python parser lets through; no output can hold one."""
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


def parse(file: str, text: str, budget: Iterator[int] | None = None) -> Document:
    """Read one YAML document; whatever is wrong with it is in its `findings`.

    What libyaml 0.1.7 cannot read but YAML allows (`{a: fd00::1}`) is read by the slower Python parser, where it
    is not too large for that, and a note says so. Every event takes an item from `budget`, which files may share.
    """
    if finding := _not_to_be_parsed(file, text):
        return Document(file, findings=[finding], complete=False)
    try:
        return _Builder(file, text).build(_c_events(text, iter(range(EVENT_LIMIT)) if budget is None else budget))
    except _NotYaml as error:
        cause = error.cause
    if len(text) > SLOW_TEXT_LIMIT or _HALF_CHARACTER.search(text):
        return Document(file, findings=[_syntax_finding(file, text, cause)], complete=False)
    try:
        document = _Builder(file, text).build(_pure_events(text, cause))
    except _NotYaml as error:
        return Document(file, findings=[_syntax_finding(file, text, error.cause)], complete=False)
    place = Place(file, 1, 1)
    document.findings.append(
        Finding("PL007", "this file needed the slow YAML parser", place, Severity.NOTE, _QUOTE_OR_BLOCK)
    )
    return document


def _not_to_be_parsed(file: str, text: str) -> Finding | None:
    """Find what no parser should see: characters that show no place, a merge's marks, floods of directives."""
    if wrong := _NOT_TEXT.search(text):
        place = _place_at(file, text, wrong.start())
        message = f"the character U+{ord(wrong[0]):04X} has no place in a site's file"
        return Finding("PL002", message, place, hint="remove it")
    if mark := _MERGE_MARK.search(text):
        place = _place_at(file, text, mark.start(), len(mark[0]))
        hint = "decide what of both sides is true, and remove the lines with the marks"
        return Finding("PL002", "a merge left its marks in this file", place, hint=hint)
    if text.count(_DIRECTIVE) > DIRECTIVE_LIMIT:
        place = _place_at(file, text, text.index(_DIRECTIVE), len(_DIRECTIVE))
        return Finding("PL004", "tags are not read, nor this many directives for them", place, hint=_NO_DIRECTIVES)
    return None


def _place_at(file: str, text: str, index: int, length: int = 1) -> Place:
    return Place(file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index), length)


class _NotYaml(Exception):
    """A parser cannot go on, for `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


class _TooMuch(Exception):
    """The budget of events is spent; the text goes on at `event`."""

    def __init__(self, event: Any) -> None:  # noqa: ANN401 - a parser's event
        super().__init__(event)
        self.event = event


def _c_events(text: str, budget: Iterator[int]) -> Iterator[Any]:
    """Give the events of libyaml. Raises _NotYaml, and _TooMuch where the budget ends before they do."""
    try:
        events = iter(CParser(text).get_event, None)
        for _, event in zip(budget, events, strict=False):
            yield event
        rest = next(events, None)
    except Exception as error:  # ruamel's parsers also end in AssertionError and others, as on `%YAML 1.3`
        raise _NotYaml(error) from error
    if rest is not None:
        raise _TooMuch(rest)


def _pure_events(text: str, cause: Exception) -> Iterator[Any]:
    """Give the events of the Python parser. Raises _NotYaml, with libyaml's `cause` where there are too many."""
    try:
        events = iter(YAML(typ="safe", pure=True).parse(text))
        for _, event in zip(range(SLOW_EVENT_LIMIT), events, strict=False):
            yield event
        rest = next(events, None)
    except Exception as error:
        raise _NotYaml(error) from error
    if rest is not None:
        raise _NotYaml(cause)


def _syntax_finding(file: str, text: str, error: Exception) -> Finding:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    problem = getattr(error, "problem", None) or _unmarked(error)
    context = getattr(error, "context", None)
    place = _within(text, Place(file, mark.line + 1, mark.column + 1)) if mark else Place(file, 1, 1)
    message = f"not valid YAML: {problem}" + (f" ({context})" if context else "")
    return Finding("PL002", message, place, hint=_syntax_hint(problem))


def _within(text: str, place: Place) -> Place:
    """Move a place behind the end of the text, where a parser waits for more, to the end of the last line."""
    lines = text.splitlines()
    if place.line <= len(lines) or not lines:
        return place
    return replace(place, line=len(lines), column=len(lines[-1]) + 1)


def _unmarked(error: Exception) -> str:
    if isinstance(error, YAMLError | ValueError):
        return "it holds a character that YAML does not allow"
    return f"{_GIVES_UP}: {error}" if str(error) else _GIVES_UP


def _syntax_hint(problem: str) -> str:
    if problem.startswith(_GIVES_UP):
        return _NO_DIRECTIVES
    if "\\t" in problem or "cannot start any token" in problem:
        return "indent with spaces; a tab, '@' or '`' cannot start a value"
    if "mapping values are not allowed" in problem:
        return "a value that holds ': ' needs quotes; otherwise check the indentation of this line"
    return ""


def short(name: str) -> str:
    """Cut a name that no inventory takes, so that a message stays one that can be read."""
    return name if len(name) <= NAME_LIMIT else f"{name[:NAME_LIMIT]}…"


class _Refused(Exception):
    """The document uses something podlan does not read; the finding is already written."""


class _Builder:
    """Turns a stream of events into data and spots."""

    def __init__(self, file: str, text: str) -> None:
        self.document = Document(file)
        body = text.removesuffix("\n")
        self.end: Spot = (body.count("\n"), len(body) - body.rfind("\n") - 1, 1, None)

    def build(self, events: Iterator[Any]) -> Document:
        """Read the events' one document. Raises _NotYaml."""
        try:
            self._read(events)
        except _Refused:
            self.document.data = None
            self.document.complete = False
        except _TooMuch as error:
            self.document.data = None
            self.document.complete = False
            message = "more keys and values than podlan reads: those of a site of 200,000 nodes"
            self.document.findings.append(self._finding(error.event, "PL016", message))
        return self.document

    def _read(self, events: Iterator[Any]) -> None:
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
                self.document.data, self.document.spot = self._value(event, events)

    def _finding(self, event: Any, code: str, message: str, hint: str = "") -> Finding:  # noqa: ANN401 - a parser's event
        start = event.start_mark
        place = Place(self.document.file, start.line + 1, start.column + 1, _length(event))
        return Finding(code, message, place, hint=hint)

    def _report(self, event: Any, code: str, message: str, hint: str = "") -> None:  # noqa: ANN401 - a parser's event
        self._add(self._finding(event, code, message, hint))

    def _add(self, finding: Finding) -> None:
        self.document.findings.append(finding)
        if len(self.document.findings) >= FINDINGS_LIMIT:
            message = f"this file is not read any further, since {FINDINGS_LIMIT:,} things are wrong up to here"
            self.document.findings.append(Finding("PL016", message, finding.place))
            raise _Refused

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
        spot: Spot = (start.line, start.column, _length(event), None)
        if start.line > self.end[0]:  # nothing, which the parser finds only where it looks for more
            spot = self.end
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
            message = f"the key {short(key)} is written twice"
            self._add(Finding("PL003", message, place, hint="keep one of them", also=(first,)))
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
        self._report(event, "PL013", f"a value is missing behind `{short(key)}`", hint)
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
