"""A site's files, read and merged by section into one tree that still knows where everything stands."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from podlan.diagnostics import Exit, Finding, Place, PodlanError
from podlan.source._document import EVENT_LIMIT, Document, Spot, parse, short

SIZE_LIMIT = 64 * 1024 * 1024
"""Most that is read of a site, in bytes: one of 100,000 nodes needs about 12 MiB."""
_TOO_LARGE = f"with it the site is larger than {SIZE_LIMIT // 1024 // 1024} MiB"

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys of mappings and indexes of lists, from the top."""

TEMPLATE_DIRECTORY = "templates"


class CannotRead(PodlanError):
    """A file or directory of the site that the operating system does not let us read."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


@dataclass(slots=True)
class Source:
    """A site as it is written: merged data, the texts of its files, and the place of every key and value.

    `complete` is false where something of the site could not be read: what is missing from `data` may then be there.
    """

    path: Path
    data: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    complete: bool = True
    _owners: dict[KeyPath, tuple[str, Spot]] = field(default_factory=dict)
    _lines: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lock_path(self) -> Path:
        """Where the site's lock stands: beside its files."""
        return (self.path if self.path.is_dir() else self.path.parent) / "podlan.lock"

    def place(self, path: KeyPath, *, key: bool = False, label: str = "") -> Place | None:
        """Find where a value stands, or its nearest ancestor that does; `key` asks for its key instead."""
        for depth in (2, 1):
            owner = self._owners.get(path[:depth])
            if owner is not None:
                line, column, length = _find(owner[1], path[depth - 1 :], key=key)
                return Place(owner[0], line + 1, column + 1, length, label, path)
        first = next(iter(self.texts), None)
        return None if first is None else Place(first, 1, 1, 1, label, path)

    def written(self, place: Place | None) -> str:
        """Give the text under a place, as it stands in the file (`1.30`, where the data says 1.3)."""
        if place is None:
            return ""
        if place.file not in self._lines:
            self._lines[place.file] = self.texts.get(place.file, "").splitlines()
        lines = self._lines[place.file]
        if place.line > len(lines):
            return ""
        return lines[place.line - 1][place.column - 1 : place.column - 1 + place.length]

    def has(self, path: KeyPath) -> bool:
        """Tell whether the inventory says anything at this path."""
        return self.get(path, _ABSENT) is not _ABSENT

    def get(self, path: KeyPath, default: Any = None) -> Any:  # noqa: ANN401 - data of any shape
        """Give what is written at a path."""
        value: Any = self.data
        for step in path:
            if isinstance(value, dict):
                if step not in value:
                    return default
            elif not isinstance(value, list) or not isinstance(step, int) or step >= len(value):
                return default
            value = value[step]
        return value

    def add(self, document: Document) -> None:
        """Merge one file: sections that are mappings of names are joined, anything defined twice is a finding."""
        self.findings += document.findings
        self.complete = self.complete and document.complete
        if document.data is None:
            return
        if not isinstance(document.data, dict):
            place = Place(document.file, document.spot[0] + 1, document.spot[1] + 1)
            self.findings.append(Finding("PL009", "a site's file holds keys and values, not this", place))
            self.complete = False
            return
        spots = document.spot[3]
        for key, value in document.data.items():
            if key not in self.data:
                self.data[key] = dict(value) if isinstance(value, dict) else value
                self._own((key,), document.file, spots[key])
            elif key in _SPLIT and isinstance(value, dict) and isinstance(self.data[key], dict):
                self._join(key, value, document.file, spots[key][3][3])
            else:
                self._report_twice((key,), document.file, spots[key])

    def _own(self, path: KeyPath, file: str, spot: Spot) -> None:
        self._owners[path] = (file, spot)
        if len(path) == 1 and path[0] in _SPLIT and isinstance(spot[3][3], dict):
            for name, child in spot[3][3].items():
                self._owners[(path[0], name)] = (file, child)

    def _join(self, section: str, entries: dict[str, Any], file: str, spots: dict[str, Spot]) -> None:
        for name, value in entries.items():
            if name in self.data[section]:
                self._report_twice((section, name), file, spots[name])
            else:
                self.data[section][name] = value
                self._own((section, name), file, spots[name])

    def _report_twice(self, path: KeyPath, file: str, spot: Spot) -> None:
        first = self.place(path, key=True, label="first defined here")
        place = Place(file, spot[0] + 1, spot[1] + 1, spot[2])
        message = f"{dotted(path)} is defined twice"
        self.findings.append(
            Finding("PL008", message, place, hint="keep one of them", also=(first,) if first is not None else ())
        )


_ABSENT = object()
_SPLIT = frozenset({"subnets", "masters", "profiles", "nodes"})


def dotted(path: KeyPath) -> str:
    """Write a path as people read it: `nodes["n1.dc1"].ranges[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier():
            text += f".{short(step)}" if text else short(step)
        else:
            text += f'["{short(step)}"]'
    return text


def _find(spot: Spot, path: KeyPath, *, key: bool) -> tuple[int, int, int]:
    """Walk from an owner's key spot, whose own key is path[0], as far as the tree goes: line, column, length."""
    line, column, length, value = spot
    found_key = True
    for step in path[1:]:
        children = value[3]
        if isinstance(children, dict) and step in children:
            line, column, length, value = children[step]
        elif isinstance(children, list) and isinstance(step, int) and step < len(children):
            value = children[step]
            line, column, length = value[0], value[1], value[2]
        else:
            found_key = False
            break
    if found_key and not key:
        line, column, length = value[0], value[1], value[2]
    return line, column, length


def read_site(path: Path) -> Source:
    """Read a site: one file, or every *.yaml of a directory and its subdirectories.

    Directories whose names begin with a dot or are 'templates' are not entered, and podlan's own outputs are not.
    Names and contents that are wrong are findings; raises CannotRead for what the operating system refuses.
    """
    source = Source(path)
    files = _files(path, source.findings)
    source.complete = not source.findings
    room = SIZE_LIMIT
    budget = iter(range(EVENT_LIMIT))
    for file in files:
        content = file_content(file, room, source.findings)
        text = None if content is None else file_text(file, content, source.findings)
        source.complete = source.complete and text is not None
        if content is not None and text is not None:
            room -= len(content)
            name = file_name(file)
            source.texts[name] = text
            source.add(parse(name, text, budget))
    if not source.texts and not source.findings:
        message = f"{path} holds no *.yaml file, so it is no site"
        source.findings.append(Finding("PL001", message, hint="name the directory or file of an inventory"))
    return source


def _files(path: Path, findings: list[Finding]) -> list[Path]:
    if not path.is_dir():
        return [path]
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise CannotRead(Path(error.filename), error.strerror or str(error)) from error

    for directory, subdirectories, names in os.walk(path, onerror=refuse):
        if _is_output(subdirectories, names):
            subdirectories.clear()
            continue
        subdirectories[:] = sorted(
            name for name in subdirectories if not name.startswith(".") and name != TEMPLATE_DIRECTORY
        )
        links = [Path(directory, name) for name in subdirectories if Path(directory, name).is_symlink()]
        findings += [_directory_link(path, link) for link in links]
        for name in sorted(names):
            file = Path(directory, name)
            if name.startswith("."):
                continue
            if name.endswith(".yml"):
                message = "a site's files end in .yaml; this one would be easy to overlook"
                findings.append(
                    Finding("PL006", message, Place(file_name(file), 1, 1), hint=f"rename it to {name[:-4]}.yaml")
                )
            elif name.endswith(".yaml"):
                if file.is_symlink() and leads_out(path, file):
                    message = "a symbolic link that leads out of the site is not read"
                    findings.append(
                        Finding("PL014", message, Place(file_name(file), 1, 1), hint="copy the file into the site")
                    )
                else:
                    found.append(file)
    return sorted(found)


def leads_out(site: Path, link: Path) -> bool:
    """Tell whether what a path leads to lies elsewhere than in the site."""
    # Path.resolve raises RuntimeError on a loop of links (until Python 3.13); realpath gives the path where it gave up.
    return not Path(os.path.realpath(link)).is_relative_to(site.resolve())


def _is_output(subdirectories: list[str], names: list[str]) -> bool:
    """Tell whether a directory is what a compile wrote: it stands beside the site in a repository read as a whole."""
    return "site.json" in names and not {"nodes", "cluster"}.isdisjoint(subdirectories)


def _directory_link(site: Path, link: Path) -> Finding:
    if leads_out(site, link):
        message, hint = "a symbolic link that leads out of the site is not read", "copy the directory into the site"
    else:
        message = "a symbolic link to a directory is not followed"
        hint = "remove it: where it leads to is read already, unless its name says otherwise"
    return Finding("PL014", message, Place(file_name(link), 1, 1), hint=hint)


def file_name(file: Path) -> str:
    """Name a file in messages: bytes in it that are no text become escapes, since no output could hold them."""
    return os.fsencode(file).decode(errors="backslashreplace")


def file_content(file: Path, room: int, findings: list[Finding], too_large: str = _TOO_LARGE) -> bytes | None:
    """Read a regular file of at most `room` bytes; raises CannotRead."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe or a device may wait for ever
            place = Place(file_name(file), 1, 1)
            findings.append(Finding("PL015", "not a regular file", place, hint="write the text into a file"))
            return None
        with file.open("rb") as stream:
            content = stream.read(room + 1)
    except OSError as error:
        raise CannotRead(file, error.strerror or str(error)) from error
    if len(content) > room:
        raise CannotRead(file, too_large)
    return content


def file_text(file: Path, content: bytes, findings: list[Finding]) -> str | None:
    """Decode a file; lines end in a newline alone, whatever ended them."""
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        findings.append(
            Finding("PL010", "not UTF-8 text", Place(file_name(file), line, column), hint="save the file as UTF-8")
        )
        return None
