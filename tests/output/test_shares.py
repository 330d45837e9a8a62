"""Several processes write one output: it is what one alone writes, and none of them is left, whatever happens."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from outputs import everything, had

from podlan.shares import ShareLost, shared

MANY = "".join(f"  more-{number}: {{address: 10.0.0.{180 + number}, pods: 2}}\n" for number in range(20, 36))


@pytest.fixture
def project(project):
    project.change("  node-3: {address: 10.0.0.3}\n", f"  node-3: {{address: 10.0.0.3}}\n{MANY}")
    return project


def compiled_by(project, jobs, *words, code=0):
    return project.run("compile", "site", "-o", "output", "--jobs", str(jobs), *words, code=code)


def changed(project):
    """Let a node go, one come and one change; a file be lost, one be changed by others, and one be wanted no more."""
    project.change("  node-2: {address: 10.0.0.2}\n", "  node-4: {address: 10.0.0.4}\n")
    project.change("more-21: {address: 10.0.0.201, pods: 2}", "more-21: {address: 10.0.0.220, pods: 2}")
    (project.out / "nodes/more-22/boot.sh").unlink()
    (project.out / "nodes/more-23/boot.sh").write_text("mine", encoding="utf-8")
    had(project, "nodes/more-24", "rootfs/etc/old/place.conf")


@pytest.mark.parametrize("jobs", [2, 3, 9])
def test_what_several_write_and_say_is_what_one_does(project, tmp_path_factory, jobs):
    start = tmp_path_factory.mktemp("start") / "start"
    shutil.copytree(project.path, start)

    def history(jobs):
        shutil.rmtree(project.path)
        shutil.copytree(start, project.path)
        told = [compiled_by(project, jobs), compiled_by(project, jobs)]
        changed(project)
        told += [compiled_by(project, jobs, "--check", code=3), compiled_by(project, jobs)]
        told += [compiled_by(project, jobs, "--check")]
        return [(one.stdout, one.stderr) for one in told], everything(project.path)

    assert history(jobs) == history(1)


def test_what_stands_in_the_way_of_one_of_them_is_told_and_nothing_changes(project):
    compiled_by(project, 1)
    changed(project)
    (project.out / "nodes/more-35").rename(project.out / "nodes/elsewhere")
    (project.out / "nodes/more-35").symlink_to("elsewhere")
    before = everything(project.path)
    for jobs in (1, 2, 5):
        assert "nodes/more-35: it is a symbolic link" in compiled_by(project, jobs, code=4).stderr
        assert everything(project.path) == before


def with_hook(project, hook):
    """Compile by three processes, where this is done at every directory that is made; gives what ran it."""
    program = (
        f"import os, signal, sys, time\nfirst = os.getpid()\n{hook}\nsys.addaudithook(hook)\n"
        "from podlan.cli import main\nmain(['compile', 'site', '-o', 'output', '--jobs', '3'])"
    )
    # A session of its own, so that what it leaves can be found, and ended.
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=project.path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def session(pid):
    """Give the processes of a session that are not over."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def eventually(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


DIES = """
def hook(event, _):
    if event == "os.mkdir" and os.getpid() != first:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_one_that_is_killed_is_told_and_nothing_changes(project):
    compiled_by(project, 1)
    changed(project)
    before = everything(project.path)
    process = with_hook(project, DIES)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4, said
    assert "a process of this run was ended (signal 9); nothing was changed" in said
    assert "Traceback" not in said
    assert everything(project.path) == before
    assert not session(process.pid)


# The others are slow, so that it is over with its own share and waits for them.
WAITS = """
def hook(event, _):
    if event == "os.mkdir" and os.getpid() != first:
        time.sleep(0.2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_one_that_began_them_and_the_next_run_finishes(project, tmp_path_factory, number):
    compiled_by(project, 1)
    changed(project)
    reference = tmp_path_factory.mktemp("reference") / "reference"
    shutil.copytree(project.path, reference)
    process = with_hook(project, WAITS)
    eventually(lambda: len(session(process.pid)) == 3)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode
    assert "Traceback" not in said
    eventually(lambda: not session(process.pid))
    assert (project.out / "nodes/more-22/boot.sh").exists() is False
    compiled_by(project, 3)
    after = everything(project.path)
    shutil.rmtree(project.path)
    shutil.copytree(reference, project.path)
    compiled_by(project, 1)
    assert after == everything(project.path)


def test_shares_come_in_their_order_and_an_error_of_one_as_it_was():
    assert list(shared([range(3), range(5), ()], sum)) == [3, 10, 0]
    with pytest.raises(ZeroDivisionError):
        list(shared([(1,), (0,)], lambda part: [1 // item for item in part]))


def test_where_there_may_be_no_process_more_all_is_done_by_one(monkeypatch):
    def refuse():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    open_files = len([*Path("/proc/self/fd").iterdir()])
    monkeypatch.setattr(os, "fork", refuse)
    assert list(shared([range(3), range(5), ()], sum)) == [3, 10, 0]
    assert len([*Path("/proc/self/fd").iterdir()]) == open_files


def test_one_that_ends_without_a_word_is_lost():
    with pytest.raises(ShareLost, match="exit 1"):
        list(shared([(), (1,)], lambda part: [sys.exit(7) for _ in part]))
    with pytest.raises(ShareLost, match="signal 9"):
        list(shared([(), (1,)], lambda part: [os.kill(os.getpid(), signal.SIGKILL) for _ in part]))
