"""Findings in the formats that other programs read, each read back by a program that is not podlan."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from fluidattacks_core.sarif import SarifLog
from hypothesis import given
from hypothesis import strategies as st

from podlan.diagnostics import Explanation, Finding, Place, Severity
from podlan.diagnostics.printers import PRINTERS, Setting

places = st.builds(
    Place,
    st.text(min_size=1, max_size=20),
    st.integers(1, 9999),
    st.integers(1, 999),
    st.integers(1, 80),
    st.text(max_size=20),
)
findings = st.lists(
    st.builds(
        Finding,
        st.sampled_from(["PL203", "PL999"]),
        st.text(max_size=40),
        st.none() | places,
        st.sampled_from(list(Severity)),
        st.text(max_size=20),
        st.lists(places, max_size=2).map(tuple),
        st.just("") | st.text(max_size=20),
    ),
    max_size=4,
)
SETTING = Setting({}, {"PL203": Explanation("PL203", "title", "text")}, "1.2.3")


@given(findings)
def test_sarif_fits_the_schema_of_sarif(found):
    log = json.loads(PRINTERS["sarif"](found, SETTING))
    assert SarifLog.model_validate(log).version.value == "2.1.0"
    (run,) = log["runs"]
    assert len(run["results"]) == len(found)
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


@given(findings)
def test_junit_is_xml_with_a_failure_for_every_error(found):
    suite = ET.fromstring(PRINTERS["junit"](found, SETTING)).find("testsuite")  # noqa: S314 - our own output
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    silenced = sum(bool(finding.silenced) for finding in found)
    assert int(suite.get("skipped")) == silenced
    assert int(suite.get("failures")) == errors == len(suite.findall("testcase/failure"))
    assert int(suite.get("tests")) == max(1, len(found)) == len(suite.findall("testcase"))


@given(findings)
def test_github_gets_one_line_a_finding_that_is_not_silenced_whatever_is_in_it(found):
    lines = PRINTERS["github"](found, SETTING).split("\n")[:-1]
    assert len(lines) == sum(not finding.silenced for finding in found)
    for line in lines:
        assert line.startswith(("::error ", "::warning ", "::notice "))
        properties, _, _ = line.partition(" ")[2].partition("::")
        assert all("=" in part for part in properties.split(","))


@given(findings)
def test_text_and_json_say_every_finding(found):
    assert len(json.loads(PRINTERS["json"](found, SETTING))["findings"]) == len(found)
    text = PRINTERS["text"](found, SETTING)
    told = sum(not finding.silenced for finding in found)
    assert sum(text.count(f"{severity.value}[PL") for severity in Severity) >= told
    assert told == len(found) or f"{len(found) - told} silenced" in text


def test_a_finding_in_each_format(project):
    project.change("10.0.0.2}", "10.0.0.1}")
    said = project.run("check", "site", "--format", "github", code=1).stdout
    assert said == (
        "::error title=PL204,file=site/site.yaml,line=15,col=21,endColumn=29::node-2 has the address 10.0.0.1 of node-1"
        "%0Asite/site.yaml:14:21: node-1 has it here%0Ahint: give one of them another address\n"
    )
    log = json.loads(project.run("check", "site", "--format", "sarif", code=1).stdout)
    described = log["runs"][0]["tool"]["driver"]["rules"][0]
    assert described["shortDescription"]["text"] == "duplicate node address"
    assert described["fullDescription"]["text"] == "Every address belongs to one node."
    assert "\nExample:\n    nodes:\n      node-1: {address: 10.0.0.1}\n" in described["help"]["text"]
    assert "**Example:**\n\n```yaml\nnodes:\n  node-1: {address: 10.0.0.1}\n" in described["help"]["markdown"]
    assert '<failure type="PL204"' in project.run("compile", "site", "-o", "output", "--format", "junit", code=1).stdout


def test_colour_is_for_terminals_that_want_it(project):
    project.change("10.0.0.2}", "10.0.0.1}")
    assert "\033[" not in project.run("check", "site", code=1).stdout
    coloured = PRINTERS["text"]([Finding("PL203", "x")], Setting({}, {}, "1", colour=True))
    assert "\033[1;31merror[PL203]\033[0m" in coloured


@pytest.mark.parametrize("code", ["PL203", "pl007", "PL601", "PL720"])
def test_rule_explains_codes_of_every_command(project, code):
    assert project.run("rule", code).stdout.startswith(code.upper())


def test_rule_lists_all_codes_of_all_commands_by_group(project):
    said = project.run("rule").stdout
    listed = [line.split()[0] for line in said.splitlines() if line.startswith("  PL")]
    assert listed == sorted(listed)
    assert len(listed) > 80
    assert said.startswith("Reading the files\n  PL001  no site\n")
    assert "\n\nThe audit\n  PL701  " in said


def test_rule_names_the_nearest_code(project):
    assert project.run("rule", "PL2O3", code=1).stderr == "error: there is no code PL2O3; did you mean PL203?\n"
    assert project.run("rule", "zzz", code=1).stderr == "error: there is no code zzz; `podlan rule` lists all\n"


def test_rule_gives_the_parts_as_values(project):
    (one,) = json.loads(project.run("rule", "PL202", "--format", "json").stdout)
    assert list(one) == ["code", "title", "what", "why", "source", "example", "instead", "do"]
    assert one["what"] == "Two pinned ranges share no address."
    assert one["example"] == "nodes:\n  node-1: {ranges: [10.0.0.16-31]}\n  node-2: {ranges: [10.0.0.24-39]}"
    assert one["do"] == ""
    assert len(json.loads(project.run("rule", "--format", "json").stdout)) > 80


def test_rule_sets_the_example_apart_from_the_text(project):
    said = project.run("rule", "PL505").stdout
    assert said.startswith(
        "PL505: a slice that cannot grow in place\n\nA slice grows only into free neighbours.\n\nWhy: "
    )
    assert "\n\nExample:\n    nodes:\n      node-1: {pods: 16}\n      node-2: {pods: 8}\n\n    podlan.lock 1\n" in said
    assert said.endswith("\n\nInstead:\n    $ podlan compile site -o output --move node-1\n")
    assert max(map(len, said.splitlines())) <= 80
