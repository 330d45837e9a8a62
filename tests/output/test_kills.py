"""Killed at any call that changes the output: the next compile ends where an undisturbed one does."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys

import pytest
from outputs import everything, had

from podlan import pipeline

CALLS = {
    "renaming": "rename,renameat,renameat2",
    "removing": "unlink,unlinkat,rmdir",
    "reaching the disk": "fsync",
}


def killed_at(project, calls, number):
    """Compile with a kill at the call of this number; tell whether it came so far."""
    inject = f"inject={calls}:signal=KILL:when={number}"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject),
            *(sys.executable, "-m", "podlan", "compile", "site", "-o", "output"),
        ],
        cwd=project.path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, -9, 137}, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_a_compile_killed_at_any_call_is_finished_by_the_next(project, tmp_path_factory, calls):
    """A node goes, one comes, one changes, one and the cluster lose a file: everything that a compile does."""
    project.compile()
    had(project, "nodes/node-3", "rootfs/etc/old/place.conf")
    had(project, "cluster", "old/place.yaml")
    (project.out / "cluster/smoke.yaml").write_text("earlier", encoding="utf-8")
    project.change("  node-2: {address: 10.0.0.2}\n", "  node-4: {address: 10.0.0.4}\n")
    project.change("node-1: {address: 10.0.0.1}", "node-1: {address: 10.0.0.11}")
    start = tmp_path_factory.mktemp("start") / "start"
    shutil.copytree(project.path, start)
    project.compile()
    project.compile("--check")
    expected = everything(project.path)
    for number in itertools.count(1):
        for part in ("site", "output"):
            shutil.rmtree(project.path / part)
            shutil.copytree(start / part, project.path / part)
        if not killed_at(project, calls, number):
            break
        pipeline.compile_site(project.site, project.out)
        assert everything(project.path) == expected, number
    assert number > 1
    assert everything(project.path) == expected
