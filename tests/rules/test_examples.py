"""What `podlan rule` shows is true: the example gives the code, and the repair gives it no longer."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ready import podlan

from podlan import pipeline
from podlan.cli.findings import SITE
from podlan.diagnostics import Exit, Severity
from podlan.diagnostics._explanation import chunks, is_block
from podlan.rules import explanations

EXPLAINED = explanations()
SECTION = re.compile(r"^(?=[a-z])", re.MULTILINE)
CODE = re.compile(r"\[(PL[0-9]+)\]")


def laid_over_the_site(fragment: str) -> str:
    """Give the text of the site with the fragment's sections in place of its own."""
    names = {section.partition(":")[0] for section in SECTION.split(fragment)}
    return "".join(part for part in SECTION.split(SITE) if part.partition(":")[0] not in names) + fragment


def set_up(part: str, site: Path) -> list[str]:
    """Write the files that an example shows, and give the commands that it types."""
    commands = []
    for block in (textwrap.dedent(chunk) + "\n" for chunk in chunks(part) if is_block(chunk)):
        first = block.partition("\n")[0]
        if first.startswith("$ "):
            commands += [line.removeprefix("$ ") for line in block.splitlines()]
        elif first.startswith("podlan.lock"):
            (site / "podlan.lock").write_text(block, encoding="utf-8")
        elif first.startswith("# "):
            file = site / first.removeprefix("# ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block, encoding="utf-8")
        else:
            (site / "site.yaml").write_text(laid_over_the_site(block), encoding="utf-8")
    return commands


SHELLS = set("|&;<>()$`*?~#\n")  # what makes a command more than words


def typed(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    if not SHELLS & set(command):
        program, *words = shlex.split(command)
        if program == "podlan":
            return podlan(directory, *words)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        ["sh", "-c", command], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/site.yaml").write_text(SITE, encoding="utf-8")
    return tmp_path / "site"


def test_nothing_is_wrong_with_the_site_that_the_examples_are_laid_over(site):
    assert pipeline.check(site).findings == []


@pytest.mark.parametrize("code", EXPLAINED)
def test_the_example_gives_the_code_and_the_repair_does_not(code, site):
    parts = EXPLAINED[code].parts
    said = [typed(command, site.parent) for command in set_up(parts["Example"], site)]
    found = {finding.code for finding in pipeline.check(site).findings}
    assert code in found.union(*(CODE.findall(result.stdout + result.stderr) for result in said))

    for command in set_up(parts["Instead"], site):
        result = typed(command, site.parent)
        assert result.returncode == Exit.DONE, result.stderr
    left = pipeline.check(site).findings
    assert not [finding for finding in left if finding.code == code or finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("code", EXPLAINED)
def test_example_and_repair_are_there_and_are_more_than_prose(code):
    for name in ("Example", "Instead"):
        assert any(map(is_block, chunks(EXPLAINED[code].parts[name])))
