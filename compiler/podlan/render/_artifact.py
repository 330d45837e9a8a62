"""What a renderer gives: an entry of the plan and, for a whole file, its content."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from podlan.plan import File

HEADER = "Written by podlan from the site's inventory: change that and compile, not this file."


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a node. `content` is None where the file is merged on the node into one that exists."""

    file: File
    content: bytes | None = None


@cache
def templates() -> Environment:
    """Load the templates of text files. What they print is quoted for sh unless the template says otherwise."""
    environment = Environment(
        loader=PackageLoader("podlan.render"),
        undefined=StrictUndefined,
        finalize=_quote,
        autoescape=False,  # noqa: S701 - no HTML here; the sh quoting filter is applied to every value instead
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = Plain
    return environment


class Plain(str):
    """Text that a template prints as it is: its characters were checked where it was made."""

    __slots__ = ()


def _quote(value: object) -> str:
    return value if isinstance(value, Plain) else shlex.quote(str(value))


def json_text(value: object) -> bytes:
    """Write JSON as people read it, the same bytes every time."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


_UNIT_SAFE = re.compile(r"[A-Za-z0-9:_.]")


def unit_escape(name: str) -> str:
    """Escape a name as systemd.unit(5), "String Escaping for Inclusion in Unit Names", says."""
    escaped = "".join(
        char if _UNIT_SAFE.fullmatch(char) else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in name
    )
    return f"\\x2e{escaped[1:]}" if escaped.startswith(".") else escaped
