"""docs/scale.md: what it tells people to type works, and covers every site once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

PAGE = (Path(__file__).parents[2] / "docs/scale.md").read_text(encoding="utf-8")
SITES = ("dc1", "dc2", "dc3", "dc4", "dc5")
VERSIONS = ("1.31", "1.36", kubernetes_validate.latest_version())


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


MATRIX, JOB = (YAML(typ="safe", pure=True).load(text) for text in blocks("yaml"))


@pytest.fixture
def checkout(project):
    own = project.file.read_text(encoding="utf-8")
    for number, name in enumerate(SITES):
        directory = project.path / "sites" / name
        directory.mkdir(parents=True)
        text = own.replace("site: test", f"site: {name}").replace("10.0.0.", f"10.0.{number}.")
        (directory / "site.yaml").write_text(text, encoding="utf-8")
    project.run("compile", *(f"sites/{name}" for name in SITES), "-o", "outputs")
    return project


def shell(project, line, code=0, **env):
    """Run a line of the page where `podlan` is this one."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=project.path,
        env={**os.environ, "PATH": path, **env},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def compiled(told):
    return re.findall(r"^sites/(\w+) -> outputs/\1: 3 nodes", told, re.MULTILINE)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_job(version):
    kubernetes_validate.validate(JOB, version, strict=True)


def test_the_jobs_pods_compile_every_site_once(checkout):
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    interpreter, option, line = container["command"]
    assert (interpreter, option) == ("sh", "-c")
    done = []
    for index in range(JOB["spec"]["completions"]):
        done += compiled(shell(checkout, line, JOB_COMPLETION_INDEX=str(index)))
    assert sorted(done) == sorted(SITES)


def test_the_matrix_judges_every_site_once_and_the_audit_joins_them(checkout):
    job = MATRIX["jobs"]["compile"]
    *_, line = (step["run"] for step in job["steps"] if "run" in step)
    done = []
    for shard in job["strategy"]["matrix"]["shard"]:
        told = shell(checkout, line.replace("${{ matrix.shard }}", str(shard)))
        done += re.findall(r"^outputs/(\w+): right$", told, re.MULTILINE)
    assert sorted(done) == sorted(SITES)
    *_, line = (step["run"] for step in MATRIX["jobs"]["audit"]["steps"] if "run" in step)
    assert shell(checkout, line).startswith("5 sites, 15 files, 15 nodes")


def test_xargs_compiles_every_site_once_and_loses_no_failure(checkout):
    (line,) = (line for text in blocks("sh") for line in text.splitlines() if "xargs" in line)
    assert sorted(compiled(shell(checkout, line))) == sorted(SITES)
    file = checkout.path / "sites/dc4/site.yaml"
    file.write_text("version: 2\n", encoding="utf-8")
    told = shell(checkout, line, code=123)  # what xargs says when any of its calls failed
    assert sorted(compiled(told)) == ["dc1", "dc2", "dc3", "dc5"]
    assert "0 done; dc4 exits 1" in told
