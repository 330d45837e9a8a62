"""docs/findings.md is what `podlan rule` says, and leads to every code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from podlan.cli._rule import explanations, grouped
from podlan.cli.findings import page

PAGE = Path(__file__).parents[2] / "docs/findings.md"
EXPLAINED = explanations()


def test_the_committed_page_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


def test_every_code_is_in_one_group():
    assert [one.code for ones in grouped(EXPLAINED).values() for one in ones] == list(EXPLAINED)


def test_every_link_of_the_contents_leads_to_one_heading():
    links = re.findall(r"^\| \[(PL[0-9]{3})\]\(#(pl[0-9]{3})\) \| [^|\n]+ \|$", page(), re.MULTILINE)
    headings = re.findall(r"^### (\S+)$", page(), re.MULTILINE)
    assert [code for code, _ in links] == headings == list(EXPLAINED)
    assert all(anchor == code.lower() for code, anchor in links)


@pytest.mark.parametrize("code", EXPLAINED)
def test_every_code_says_what_it_is_and_how_it_is_repaired(code):
    explanation = EXPLAINED[code]
    assert explanation.title
    assert "What" in explanation.parts
    assert {"Instead", "Do"} & set(explanation.parts)


@pytest.mark.parametrize("code", EXPLAINED)
def test_no_text_is_taken_for_markup(code):
    assert "|" not in EXPLAINED[code].title  # it stands in a table
    prose = re.sub(r"```.*?```|`[^`\n]*`|\*\*\w+:\*\*", "code", EXPLAINED[code].markdown(), flags=re.DOTALL)
    assert not re.findall(r"[*<`]|^[ #>]|\b_|_\b", f"{prose}\n{EXPLAINED[code].title}", re.MULTILINE)
