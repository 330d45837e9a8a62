"""schemas/ is what the models say, and an independent validator agrees with podlan about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from podlan import pipeline
from podlan.cli.schemas import SCHEMAS
from podlan.source import read_site

ROOT = Path(__file__).parents[2]
CORPUS = sorted((ROOT / "tests/corpus").glob("*.md"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_committed_schema_is_fresh(name):
    assert json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8")) == SCHEMAS[name](), "run: make schemas"


@pytest.mark.parametrize("site", [ROOT / "site", ROOT / "tests/howto/site"])
def test_every_site_here_fits_the_schema(site):
    jsonschema.validate(read_site(site).data, SCHEMAS["site.schema.json"]())


def test_every_compiled_plan_fits_the_schema():
    validator = jsonschema.Draft202012Validator(SCHEMAS["plan.schema.json"]())
    plans = sorted((ROOT / "output/nodes").glob("*/plan.json"))
    assert plans
    for plan in plans:
        validator.validate(json.loads(plan.read_text(encoding="utf-8")))


def corpus_sites(*, wanted: str) -> list[str]:
    """Give the corpus' sites with findings of one kind: 'PL1' for the shape, '' for none at all."""
    found = []
    for file in CORPUS:
        for site, findings in re.findall(
            r"```yaml\n(.*?)```.*?```findings\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL
        ):
            codes = set(re.findall(r"error\[(PL[0-9])", findings))
            if codes == ({wanted} if wanted else set()):
                found.append(site)
    return found


def test_what_podlan_accepts_the_schema_accepts(tmp_path):
    validator = jsonschema.Draft202012Validator(SCHEMAS["site.schema.json"]())
    sites = corpus_sites(wanted="")
    assert len(sites) > 20
    for site in sites:
        (tmp_path / "site.yaml").write_text(site, encoding="utf-8")
        assert not pipeline.check(tmp_path).failed
        validator.validate(read_site(tmp_path).data)


def test_the_example_names_its_schema_for_editors():
    first = (ROOT / "site/site.yaml").read_text(encoding="utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / "site" / path).resolve() == ROOT / "schemas/site.schema.json"
