"""What people see of a run's course: how long its stages took, and on a terminal how far it is."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from podlan.cli import _progress
from podlan.cli.schemas import findings_schema

STAGES = ["read", "shape", "rules", "allocate", "render", "compare", "write"]


def test_timings_tell_of_every_stage_on_stderr_alone(project):
    said = project.run("compile", "site", "-o", "output", "--timings")
    rows = re.findall(r"^(\w+) +([0-9,.]+) ms +([0-9]+)%$", said.stderr, re.MULTILINE)
    assert [name for name, *_ in rows[:-1]] == STAGES
    assert rows[-1][0] == "all"
    assert rows[-1][2] == "100"
    assert abs(sum(float(row[1]) for row in rows[:-1]) - float(rows[-1][1])) < 1
    assert "ms" not in said.stdout
    assert "ms" not in project.run("compile", "site", "-o", "output").stderr


@pytest.mark.parametrize(
    ("command", "stages"), [(("check", "site"), STAGES[:4]), (("compile", "site", "-o", "output"), STAGES)]
)
def test_timings_come_as_json_for_programs(project, command, stages):
    said = project.run(*command, "--timings", "--format", "json")
    values = json.loads(said.stdout)
    assert list(values["timings"]) == stages
    assert said.stderr == ""
    Draft202012Validator(findings_schema()).validate(values)


def test_who_has_others_work_for_it_tells_how_long_it_waited_for_them(project):
    said = project.run("compile", "site", "-o", "output", "--jobs", "2", "--timings", "--format", "json")
    values = json.loads(said.stdout)
    assert set(values["timings"]) == {*STAGES, "wait"}
    Draft202012Validator(findings_schema()).validate(values)


def test_a_quiet_compile_says_nothing_of_a_success_and_all_of_a_failure(project):
    said = project.run("compile", "site", "-o", "output", "-q")
    assert (said.stdout, said.stderr) == ("", "")
    project.change("node-1: {address: 10.0.0.1}", "node-1: {address: 10.0.0.299}")
    assert "10.0.0.299" in project.run("compile", "site", "-o", "output", "-q", code=1).stderr


SLOWLY = """
from podlan.cli import _progress, main
_progress._PATIENCE = _progress._PAUSE = 0.0
main(["compile", "site", "-o", "output", *{options}])
"""


@pytest.mark.parametrize(
    ("options", "environment", "is_told"),
    [([], {}, True), (["-q"], {}, False), ([], {"CI": "true"}, False), ([], {"TERM": "dumb"}, False)],
)
def test_a_long_run_tells_on_a_terminal_how_far_it_is_and_takes_that_back(project, options, environment, is_told):
    there, here = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    process = subprocess.run(
        [sys.executable, "-c", SLOWLY.format(options=options)],
        cwd=project.path,
        env={**inherited, "TERM": "xterm", **environment},
        stdout=subprocess.PIPE,
        stderr=here,
        check=True,
    )
    os.write(here, b"end")
    told = ""
    while not told.endswith("end"):
        told += os.read(there, 65536).decode()
    os.close(here)
    os.close(there)
    assert told.endswith("\r\x1b[Kend") == is_told
    assert ("of 4 directories" in told) == is_told
    assert b"directories" not in process.stdout


def test_a_short_run_tells_nothing_of_its_course(capsys):
    trees = [("nodes/a", {}), ("nodes/b", {})]
    assert list(_progress.with_progress(trees, 2)) == trees
    assert capsys.readouterr().err == ""


def test_completion_knows_the_commands_and_waits_for_no_heavy_import():
    for words, expected in (("podlan c", "compile"), ("podlan compile site --ti", "--timings")):
        said = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import podlan.cli; podlan.cli.main([])"],
            env={
                **os.environ,
                "_PODLAN_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(words.count(" ")),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"plain,{expected}" in said.stdout.splitlines()
        assert not re.search(r"\b(pydantic|jinja2|_ruamel_yaml|pyroute2|http|podlan\.output)\b", said.stderr)
