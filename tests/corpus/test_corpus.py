"""The corpus: Markdown that people read, and that is the test.

Under each `##` heading stands a site (a `yaml` block), perhaps a lock (a `lock` block) and the template own.j2 (a `j2`
block), and what podlan says of
it (a `findings` block: the first line of every finding, or nothing at all). PODLAN_CORPUS_UPDATE=1 writes the
findings anew, for a person to review. `␍`, `␣` and `⟨BOM⟩` in a site stand for what nobody would see.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from corpus_cases import CASES, Case

from podlan import pipeline, rules
from podlan.diagnostics import text


def say(case: Case, directory: Path) -> str:
    case.write(directory)
    checked = pipeline.check(directory)
    shown = text(checked.findings, {}).replace(f"{directory}/", "").splitlines()[:-1]
    return "".join(f"{line}\n" for line in shown if not line.startswith("  "))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_corpus_says_what_podlan_says(case, tmp_path):
    said = say(case, tmp_path)
    if "PODLAN_CORPUS_UPDATE" in os.environ:
        body = case.file.read_text(encoding="utf-8")
        start = body.index(f"## {case.title}\n")
        at = body.index("```findings\n", start) + len("```findings\n")
        case.file.write_text(body[:at] + said + body[body.index("```", at) :], encoding="utf-8")
    else:
        assert said == case.blocks["findings"]


def test_every_rule_is_broken_twice_in_the_corpus_and_has_a_valid_neighbour():
    counts = dict.fromkeys((rule.code for rule in rules.RULES), 0)
    valid = {case.file.stem for case in CASES if not case.blocks["findings"]}
    for case in CASES:
        for code in case.codes & set(counts):
            counts[code] += 1
    assert not [code for code, count in counts.items() if count < 2]
    assert {rule.code for rule in rules.RULES} <= valid


def test_every_rule_has_a_code_of_its_own_and_says_what_it_wants_and_why():
    codes = [rule.code for rule in rules.RULES]
    assert len(codes) == len(set(codes))
    for rule in rules.RULES:
        assert rule.title
        assert "Why:" in rule.explanation.text or "Source:" in rule.explanation.text


def test_every_code_that_the_compiler_can_report_is_explained():
    package = Path(rules.__file__).parents[1]
    used = {
        code
        for part in ("source", "inventory", "addressing", "rules", "render", "pipeline.py")
        for file in ([package / part] if part.endswith(".py") else (package / part).rglob("*.py"))
        for code in re.findall(r'"(PL[0-9]{3})"', file.read_text(encoding="utf-8"))
    }
    assert used == set(rules.explanations())
