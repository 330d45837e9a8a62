"""What a renderer gives: an entry of the plan and, for a whole file, its content."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from podlan.plan import members

if TYPE_CHECKING:
    from podlan.plan import File

HEADER = "Written by podlan from the site's inventory: change that and compile, not this file."


@dataclass(frozen=True)
class Artifact:
    """One file of a node. `content` is None where the file is merged on the node into one that exists."""

    file: File
    content: bytes | None = None

    @cached_property
    def entry(self) -> dict[str, object]:
        """The object in plan.json that stands for the file; kept like the digest."""
        return members(self.file)

    @cached_property
    def digest(self) -> str:
        """That of the content, for the manifest: an artifact that many nodes have is one object."""
        return digest(self.content or b"")


def digest(content: bytes) -> str:
    """Give the SHA-256 of a file, in hexadecimal."""
    return sha256(content).hexdigest()


@cache
def templates() -> Environment:
    """Load the templates of text files. What they print is quoted for sh unless the template says otherwise."""
    environment = Environment(
        loader=PackageLoader("podlan.render"),
        auto_reload=False,
        undefined=StrictUndefined,
        finalize=_quote,
        autoescape=False,  # noqa: S701 - no HTML here; the sh quoting filter is applied to every value instead
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = Plain
    environment.filters["batch"] = batch_word
    return environment


class Plain(str):
    """Text that a template prints as it is: its characters were checked where it was made."""

    __slots__ = ()


def _quote(value: object) -> str:
    return value if isinstance(value, Plain) else shell_word(value if value.__class__ is str else str(value))


@lru_cache(maxsize=4096)
def shell_word(text: str) -> str:
    """Quote a word for sh; most words come again with the next node."""
    return shlex.quote(text)


_BATCH_WORD = re.compile(r"[A-Za-z0-9_.:/@+=-]+")


@lru_cache(maxsize=4096)
def batch_word(value: object) -> Plain:
    """Give a word of a line for `ip -batch`, which has no quoting that every version knows.

    An address, a number or an interface's name is such a word; anything else is ours to keep away.
    """
    word = str(value)
    if not _BATCH_WORD.fullmatch(word):
        raise AssertionError(f"{word!r} cannot stand in a line for ip -batch")
    return Plain(word)


_JSON = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS


def json_text(value: object) -> bytes:
    """Write JSON as people read it, the same bytes every time.

    A record of a plan is the object that it stands for there.
    """
    return orjson.dumps(value, default=members, option=_JSON)


_UNIT_SAFE = re.compile(r"[A-Za-z0-9:_.]")


def unit_escape(name: str) -> str:
    """Escape a name as systemd.unit(5), "String Escaping for Inclusion in Unit Names", says."""
    escaped = "".join(
        char if _UNIT_SAFE.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in name
    )
    return f"\\x2e{escaped[1:]}" if escaped.startswith(".") else escaped


_UNIT_WORD = re.compile(r"[A-Za-z0-9_./@+=:,%~-]+")


def unit_word(text: str) -> str:
    """Write a word of a unit's setting, where `%` begins a specifier (systemd.unit(5)).

    Paths are made of such characters; anything else is ours to keep away.
    """
    if not _UNIT_WORD.fullmatch(text):
        raise AssertionError(f"{text!r} cannot stand in a unit")
    return text.replace("%", "%%")
