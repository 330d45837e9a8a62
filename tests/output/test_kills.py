"""Killed at any call that changes the output: the next compile ends where an undisturbed one does."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import shutil
import signal
import sys

import pytest
from outputs import everything, had
from ready import podlan

from podlan import pipeline
from podlan.cli import main

CALLS = {"renaming": {"os.rename"}, "removing": {"os.remove", "os.rmdir"}}
"""Events that Python tells of right before the call."""


def killed_at(project, calls, number):
    """Compile in a process of its own, killed right before the call of this number; tell whether it came so far."""
    pid = os.fork()
    if not pid:
        compile_until(project, calls, number)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}
    return code != 0


def compile_until(project, calls, number):
    """Compile and be killed; for a process that was just forked."""
    left = number

    def count(event, _):
        nonlocal left
        if event in calls:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 99
    gc.freeze()  # a collection would otherwise copy all that pytest has in memory
    try:
        os.chdir(project.path)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        sys.stdout = sys.stderr = os.fdopen(nowhere, "w")
        sys.addaudithook(count)
        main(["compile", "site", "-o", "output"])
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code)


def killed_on_its_way_to_the_disk(project, number):
    """As above, at the fsync of this number, which Python tells nobody of."""
    trace = ["trace=fsync", f"inject=fsync:signal=KILL:when={number}"]
    done = podlan(project.path, "compile", "site", "-o", "output", trace=trace)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0


KILLS = {name: functools.partial(killed_at, calls=calls) for name, calls in CALLS.items()} | {
    "reaching the disk": killed_on_its_way_to_the_disk
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_compile_killed_at_any_call_is_finished_by_the_next(project, tmp_path_factory, kill):
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
        if not kill(project, number=number):
            break
        pipeline.compile_site(project.site, project.out)
        assert everything(project.path) == expected, number
    assert number > 1
    assert everything(project.path) == expected
