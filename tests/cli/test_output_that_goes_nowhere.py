"""Output that nobody can write or read ends in an exit code of ours, never in Python's own words."""

import subprocess
import sys

import pytest

PODLAN = 'unset PYTHONUNBUFFERED; "$0" -m podlan'
COMMANDS = ["check site", "show site", "rule PL101", "explain site 10.0.0.1", "--help", "audit output", "lab --help"]


def told(project, words, redirected):
    script = f"{PODLAN} {words} {redirected}"
    return subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=project.path, check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_full_disk_closed_streams_and_a_reader_that_has_gone_are_survived(project, words):
    project.compile()
    full = told(project, words, ">/dev/full")
    assert (full.returncode, full.stderr) == (4, "error: the operating system: No space left on device\n")
    for redirected in (">&-", "2>&-", ">&- 2>&-", "2>/dev/full", "</dev/null >&- 2>/dev/full"):
        done = told(project, words, redirected)
        assert (done.returncode, done.stderr) == (0, ""), (redirected, done)
    gone = told(project, words, "| true")
    assert "Traceback" not in gone.stderr
    assert "Exception" not in gone.stderr


def test_an_error_that_cannot_be_told_is_still_its_exit_code(project):
    project.compile()
    project.change("podsPerNode", "podPerNode")
    for words in ("check site", "show site", "check nowhere", "audit nowhere", "explain site 10.0.0.999"):
        code = told(project, words, "").returncode
        assert code
        for redirected in ("2>&-", ">&- 2>&-"):
            assert told(project, words, redirected).returncode == code
    for words in ("check nowhere", "audit nowhere"):
        assert told(project, words, "2>/dev/full").returncode == told(project, words, "").returncode
