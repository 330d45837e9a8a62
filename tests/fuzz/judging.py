"""What must hold for every input: an answer, soon, that every printer can print and whose places exist."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypothesis import HealthCheck, settings

from podlan import __version__, pipeline
from podlan.diagnostics import PodlanError
from podlan.diagnostics.printers import PRINTERS, Setting
from podlan.rules import explanations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podlan.diagnostics import Place

SECONDS = 20
"""Processor time that podlan may take for one input, in a busy CI: it finds what never ends, it measures nothing."""


def examples(number: int) -> settings:
    """Give the settings of a property: so many examples in CI, FUZZ_EXAMPLES of them in `make fuzz`."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", number)),
        deadline=None,  # which would be the clock's on the wall: each input has its own, in processor time
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def judge(files: Mapping[str, str | bytes]) -> pipeline.Checked | None:
    """Let podlan read a site of these files; None stands for an error with its own text, such as one of reading."""
    with TemporaryDirectory() as directory:
        return judge_path(write(Path(directory, "site"), files), Path(directory, "output"))


def write(site: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a site's files; text may hold what only bytes can say."""
    for name, content in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    return site


def judge_path(site: Path, out: Path) -> pipeline.Checked | None:
    start = time.process_time()
    try:
        checked = pipeline.check(site)
        _is_printable(checked)
        if not checked.failed:
            _is_compilable(site, out)
    except PodlanError as error:
        str(error).encode()
        return None
    finally:
        assert time.process_time() - start < SECONDS
    lines = {file: text.splitlines() or [""] for file, text in checked.source.texts.items()}
    for finding in checked.findings:
        for place in (*([finding.place] if finding.place else []), *finding.also):
            assert _exists(place, lines.get(place.file)), finding
    return checked


def _is_printable(checked: pipeline.Checked) -> None:
    setting = Setting(checked.source.texts, explanations(), __version__, colour=True)
    printed = {name: printer(checked.findings, setting) for name, printer in PRINTERS.items()}
    for text in printed.values():
        text.encode()  # as standard output does
    assert len(json.loads(printed["json"])["findings"]) == len(checked.findings)
    assert len(json.loads(printed["sarif"])["runs"][0]["results"]) == len(checked.findings)
    ET.fromstring(printed["junit"])  # noqa: S314 - podlan's own XML
    told = [finding for finding in checked.findings if not finding.silenced]
    assert printed["github"].count("\n") == len(told)


def _is_compilable(site: Path, out: Path) -> None:
    """What check accepts, compile writes, and a second run finds it right."""
    assert not pipeline.compile_site(site, out).failed
    again = pipeline.compile_site(site, out, locked=True, write=False)
    assert not again.difference
    assert not again.checked.lock_changes


def _exists(place: Place, lines: list[str] | None) -> bool:
    if lines is None:  # not read at all, so that there are none to point at
        return place.line >= 1 and place.column >= 1
    if not 1 <= place.line <= len(lines):
        return False
    end = len(lines[place.line - 1]) + 1
    return 1 <= place.column <= end and 1 <= place.length <= max(1, end - place.column)
