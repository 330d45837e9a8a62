"""schemas/findings.schema.json describes all that `--format json` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from corpus_cases import CASES
from ready import podlan

from podlan import pipeline
from podlan.cli.schemas import SCHEMAS
from podlan.diagnostics import as_json

ROOT = Path(__file__).parents[2]
SCHEMA = SCHEMAS["findings.schema.json"]()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def strict(node: Any) -> Any:
    """Refuse unknown keys too: what podlan prints today must all be described."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {"additionalProperties": False} if "required" in node else {}
    return {key: strict(value) for key, value in node.items()} | closed


STRICT = jsonschema.Draft202012Validator(strict(SCHEMA))


def printed(*arguments: str | Path) -> dict[str, Any]:
    run = podlan(Path.cwd(), *map(str, arguments), "--format", "json")
    assert run.returncode in (0, 1, 3, 4), run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_finding_of_the_corpus_fits(case, tmp_path):
    case.write(tmp_path)
    STRICT.validate(json.loads(as_json(pipeline.check(tmp_path).findings)))


@pytest.mark.parametrize("title", ["Typos in keys", "Every address form that people write", "Not YAML"])
def test_what_check_and_compile_print_fits(title, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    next(case for case in CASES if case.title == title).write(site)
    checked = printed("check", site)
    assert checked.keys() == {"findings"}
    STRICT.validate(checked)
    for options in (["--check"], [], []):
        compiled = printed("compile", site, "-o", tmp_path / "output", *options)
        assert compiled.keys() == {"findings", "lock", "output"}
        STRICT.validate(compiled)


def test_what_a_compile_of_several_sites_prints_fits(tmp_path):
    """One is right, one is wrong, and one cannot be read."""
    case = next(case for case in CASES if case.title == "Every address form that people write")
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        case.write(tmp_path / name)
    (tmp_path / "two/site.yaml").write_text("version: [", encoding="utf-8")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs/three").write_text("in the way", encoding="utf-8")
    sites = [tmp_path / name for name in ("one", "two", "three")]
    compiled = printed("compile", *sites, "-o", tmp_path / "outputs")
    assert compiled.keys() == {"findings", "sites"}
    assert [one["exitCode"] for one in compiled["sites"]] == [0, 4, 1]
    STRICT.validate(compiled)


def test_what_a_compile_would_write_fits(tmp_path):
    """Each kind of change is one of those that the schema lists, and there are no others."""
    case = next(case for case in CASES if case.title == "Every address form that people write")
    case.write(tmp_path)
    output = tmp_path / "output"
    assert {one["change"] for one in printed("compile", tmp_path / "site.yaml", "-o", output)["output"]} == {"missing"}
    (output / "nodes/a/plan.json").write_text("{}", encoding="utf-8")
    site = case.blocks["yaml"].replace("  b: {address: 10.0.0.2}\n", "")
    (tmp_path / "site.yaml").write_text(site, encoding="utf-8")
    compiled = printed("compile", tmp_path / "site.yaml", "-o", output, "--check")
    STRICT.validate(compiled)
    assert compiled["lock"]
    known = SCHEMA["properties"]["output"]["items"]["properties"]["change"]["enum"]
    assert {one["change"] for one in compiled["output"]} | {"missing"} == set(known)


@pytest.mark.parametrize("paths", [["output/nodes"], ["tests/audit"]])
def test_what_the_audit_prints_fits(paths):
    report = printed("audit", *(ROOT / path for path in paths))
    assert report.keys() == {"findings", "outputs", "files", "nodes", "addresses"}
    STRICT.validate(report)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"findings": [{}]},
        {"findings": [], "lock": []},
        {"findings": [], "files": 1},
        {"findings": [], "output": [], "lock": [3]},
    ],
)
def test_what_podlan_would_never_print_does_not_fit(wrong):
    assert not VALIDATOR.is_valid(wrong)


def test_a_key_that_a_later_version_adds_does_no_harm():
    VALIDATOR.validate({"findings": [], "later": 1})
