"""Whoever interrupts these tests has a machine as it was before."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from machine import PATIENCE, REPOSITORY

pytestmark = pytest.mark.kernel

SUITE = Path(__file__).with_name("test_boots.py")
TOP = Path("/sys/fs/cgroup")
INTERRUPTED = 2
"""How pytest ends then."""


def processes(of: str) -> dict[int, str]:
    """Give those that have a path in their command, or a mount of it in what they see."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if of in command or of in (entry / "mountinfo").read_text(encoding="utf-8"):
                found[int(entry.name)] = command
    return found


def cgroups(of: list[int]) -> set[Path]:
    """Give the cgroups that the tests have made for these processes."""
    found = set()
    for process in of:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/cgroup").read_text(encoding="ascii")
            for name in re.findall(r"podlan-test-\w+", text):
                found |= {TOP / name, *TOP.glob(f"*/{name}")}
    return {path for path in found if path.exists()}


def until(holds):
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


ENDS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: INTERRUPTED, signal.SIGKILL: -signal.SIGKILL}


def test_of_machines_that_boot_nothing_is_left_when_the_tests_are_interrupted(tmp_path):
    with ThreadPoolExecutor() as pool:
        for ended in [pool.submit(interrupted, tmp_path / number.name, number) for number in ENDS]:
            ended.result()


def interrupted(home: Path, number: signal.Signals) -> None:
    """Require it of one run and one signal.

    Also by the one of which the tests learn nothing; then empty cgroups may stay, which belong to no process.
    """
    home.mkdir()
    base = home / "base"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={base}", str(SUITE)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    log = home / "log"
    with log.open("wb") as output:
        # A session of its own, as a terminal's is: Ctrl-C goes to all of them.
        suite = subprocess.Popen(
            argv, cwd=REPOSITORY, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    try:
        made = until(lambda: suite.poll() is not None or cgroups([*processes(str(base))]))
        assert suite.poll() is None, log.read_text()
        if number == signal.SIGINT:
            os.killpg(suite.pid, number)
        else:
            suite.send_signal(number)
        assert suite.wait(timeout=PATIENCE) == ENDS[number], log.read_text()
        if number != signal.SIGKILL:
            assert {"processes": processes(str(base)), "cgroups": {path for path in made if path.exists()}} == {
                "processes": {},
                "cgroups": set(),
            }
        until(lambda: not processes(str(base)))
    finally:
        suite.kill()
        suite.wait()
    for path in filter(Path.exists, made):
        for below in sorted(path.rglob("*"), reverse=True):
            if below.is_dir():
                below.rmdir()
        path.rmdir()
