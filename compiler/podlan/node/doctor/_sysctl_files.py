"""What sysctl.d makes of the plan's settings at the next boot, in the order in which systemd-sysctl reads it."""

from __future__ import annotations

import fnmatch
import os
from typing import TYPE_CHECKING, NamedTuple

from podlan.diagnostics import Place
from podlan.node.doctor._case import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_PLACES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
"""Of files with one name the first place's counts (sysctl.d(5))."""
_MOST = 1 << 20


class _Line(NamedTuple):
    path: str
    number: int
    key: str  # with slashes, perhaps a pattern
    value: str
    text: str


def sysctl_files(case: Case) -> Iterator[Finding]:
    """Tell which line has the last word on a setting of the plan, and says something else."""
    lines = [line for path in _files(case) for line in _lines(case, path)]
    for key, value in case.plan.sysctls.items():
        # A key that is written out beats a pattern, wherever the two stand (systemd 246).
        own = [line for line in lines if line.key == key and line.value]
        decisive = own or [line for line in lines if _matches(line, key, lines)]
        if not decisive or decisive[-1].value == value:
            continue
        line = decisive[-1]
        shown = case.root.shown(line.path)
        begin = len(line.text) - len(line.text.lstrip()) + 1
        place = Place(shown, line.number, begin, len(line.text.strip()))
        yield told("PL676", f"{key.replace('/', '.')} = {line.value} at boot, and the plan says {value}", place=place)


def _files(case: Case) -> list[str]:
    found: dict[str, str] = {}
    for place in _PLACES:
        try:
            names = os.listdir(case.root.shown(place))  # noqa: PTH208 - strings, as everywhere here
        except OSError:
            continue
        for name in names:
            if name.endswith(".conf"):
                found.setdefault(name, f"{place}/{name}")
    return [found[name] for name in sorted(found)]


def _lines(case: Case, path: str) -> Iterator[_Line]:
    try:
        descriptor = os.open(case.root.shown(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            text = file.read(_MOST).decode(errors="replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        key, sign, value = line.strip().partition("=")
        if key[:1] in ("#", ";") or not (sign or key.startswith("-")):
            continue
        key = key.strip()
        if not sign:  # "-pattern" keeps a key from the patterns
            yield _Line(path, number, _slashed(key[1:]), "", line)
        else:
            yield _Line(path, number, _slashed(key.removeprefix("-").strip()), " ".join(value.split()), line)


def _slashed(key: str) -> str:
    """Give the key with slashes: of dots and slashes, what comes first separates (sysctl.d(5))."""
    dot, slash = key.find("."), key.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        return key.translate(str.maketrans("./", "/."))
    return key


def _matches(line: _Line, key: str, lines: list[_Line]) -> bool:
    if "*" not in line.key and "?" not in line.key and "[" not in line.key:
        return False
    excluded = any(not other.value and other.key == key for other in lines)
    # A star stands for one part of the key.
    parts, wanted = line.key.split("/"), key.split("/")
    same = len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, wanted, parts))
    return same and not excluded
