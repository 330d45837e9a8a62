"""All printers by the name of their format; what is slow to import waits until it prints, since completion asks too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.diagnostics._finding import Finding
from podlan.diagnostics._github import github
from podlan.diagnostics._json import as_json
from podlan.diagnostics._text import text

if TYPE_CHECKING:
    from podlan.diagnostics._explanation import Explanation


@dataclass(frozen=True, slots=True)
class Setting:
    """What printers may use: the texts of the files, how many findings to show, colour, what codes mean."""

    sources: Mapping[str, str]
    explanations: Mapping[str, Explanation]
    version: str
    colour: bool = False
    most: int = 100


def _sarif(findings: Iterable[Finding], setting: Setting) -> str:
    from podlan.diagnostics._sarif import sarif  # noqa: PLC0415 - as below

    return sarif(findings, setting.explanations, setting.version)


def _junit(findings: Iterable[Finding], _setting: Setting) -> str:
    from podlan.diagnostics._junit import junit  # noqa: PLC0415 - Python's XML brings its HTTP client along: 50 ms

    return junit(findings)


Printer = Callable[[Iterable[Finding], Setting], str]

PRINTERS: dict[str, Printer] = {
    "text": lambda findings, setting: text(findings, setting.sources, colour=setting.colour, most=setting.most),
    "json": lambda findings, _: as_json(findings),
    "sarif": _sarif,
    "github": lambda findings, _: github(findings),
    "junit": _junit,
}
