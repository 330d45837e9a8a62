"""Going into a lab: exec, shell and list, each the real command line."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from how_to import FAST
from ready import podlan

from podlan.lab.errors import ManyLabs, NeedsRoot, NoLabs
from podlan.lab.life import opened
from podlan.lab.which import default_name, meant

pytestmark = pytest.mark.kernel

PODLAN = [sys.executable, "-m", "podlan", "lab"]


def lab(*words, code=0):
    done = podlan(Path.cwd(), "lab", *words)
    assert done.returncode == code, done
    return done


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *words, **environment):
        self.pid, self.end = pty.fork()
        if not self.pid:
            os.execve(sys.executable, [*PODLAN, *words], os.environ | environment)  # noqa: S606 - no shell is the point
        self.shown = ""

    def see(self, text):
        """Read until this is shown, and give all that was."""
        deadline = time.monotonic() + 20
        while text not in self.shown:
            assert select.select([self.end], [], [], max(0, deadline - time.monotonic()))[0], self.shown
            with contextlib.suppress(OSError):  # at its end
                self.shown += os.read(self.end, 4096).decode()
        shown, self.shown = self.shown, self.shown.partition(text)[2]
        return shown

    def type(self, keys):
        os.write(self.end, keys.encode())

    def ended(self):
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.end)
        return code


def test_commands_and_shells_run_where_they_are_told_to(build, name, tmp_path):
    build(only=("node-1",), options=replace(FAST, pods=1))
    ran = ("exec", "--name", name)

    # Whose network and files they see.
    addresses = "ip -o -4 address show scope global | awk '{print $4}'"
    assert lab(*ran, "node-1", "--", "sh", "-c", addresses).stdout.split() == ["172.16.129.101/24", "172.16.129.199/32"]
    assert lab(*ran, "node-1/pod-1", "--", "sh", "-c", addresses).stdout == "172.16.129.110/24\n"
    assert lab(*ran, "gateway", "--", "sh", "-c", addresses).stdout == "172.16.129.254/24\n"
    assert "master lan" in lab(*ran, "switch", "--", "ip", "-o", "link").stdout
    assert lab(*ran, "node-1", "--", "cat", "/etc/hostname").stdout == "node-1\n"
    assert lab(*ran, "node-1", "--", "podlan", "reconcile", "--check").stdout.startswith("# nothing to do")

    # Words, input and exit codes pass through, and a command's own options are none of ours.
    echo = [*PODLAN, *ran, "node-1", "--", "sh", "-c", 'cat; echo "$@"', "sh", "--help", "a  b", "--"]
    given = subprocess.run(echo, input="in\n", capture_output=True, text=True, check=True)
    assert given.stdout == "in\n--help a  b --\n"
    assert lab(*ran, "node-1", "--", "sh", "-c", "exit 42", code=42)
    assert "no-such" in lab(*ran, "node-1", "--", "no-such-program", code=127).stderr
    assert "/etc/hosts" in lab(*ran, "node-1/pod-1", "--", "/etc/hosts", code=126).stderr
    assert lab(*ran, "node-1", "--", "sh", "-c", "kill -PIPE $$", code=-signal.SIGPIPE)

    # Who asks for what is not there is told what is.
    assert "no place 'node-2'; it has node-1" in lab(*ran, "node-2", "--", "true", code=2).stderr
    assert "comes after --" in lab(*ran, "node-1", "true", code=2).stderr
    assert "give [SITE] PLACE" in lab(*ran, "a", "b", "node-1", "--", "true", code=2).stderr
    there = lab("exec", str(tmp_path / "site"), "node-1", "--", "true", code=4).stderr
    assert f"no lab {default_name(tmp_path / 'site')} is up here" in there
    listed = {one["name"]: one for one in json.loads(lab("list", "--format", "json").stdout)}
    assert listed[name]["condition"] == "1 nodes, 1 pods"
    assert listed[name]["places"] == ["node-1", "node-1/pod-1", "gateway", "switch"]
    assert "\n  node-1/pod-1\n" in lab("list", "-v").stdout

    # A shell says where it is, its keys are its own, and it takes no lock.
    for shell, where in (("/bin/bash", "node-1:/# "), ("/opt/no/fish", "node-1:/# ")):
        terminal = Terminal("shell", "--name", name, "node-1", SHELL=shell)
        terminal.see(f"[lab {name}] {where}")
        terminal.type("sleep 60\n")
        terminal.see("sleep 60")
        time.sleep(0.2)
        terminal.type("\x03")
        terminal.see(where)
        terminal.type("hostname=$(cat /etc/hostname); echo =$hostname=\n")
        terminal.see("=node-1=")
        with opened(name):
            terminal.type("exit 7\n")
            assert terminal.ended() == 7

    # Whoever is inside when the lab is taken down is out of it.
    terminal = Terminal("exec", "--name", name, "node-1/pod-1", "--", "sh", "-c", "echo =here=; exec sleep 60")
    terminal.see("=here=")
    lab("down", "--name", name)
    assert terminal.ended() == -signal.SIGKILL
    assert f"no lab {name} is up" in lab(*ran, "node-1", "--", "true", code=4).stderr


def test_the_only_lab_needs_no_name_and_several_do(monkeypatch, tmp_path):
    monkeypatch.setattr("podlan.lab.state.ROOT", tmp_path)
    with pytest.raises(NoLabs):
        meant(None, None)
    (tmp_path / "one").mkdir()
    (tmp_path / "other.lock").touch()
    assert meant(None, None) == "one"
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "killed.lock").write_text(str(ended.pid), encoding="utf-8")
    (tmp_path / "two.output").mkdir()
    with pytest.raises(ManyLabs, match="killed, one, two; say which with --name"):
        meant(None, None)
    assert meant("three", tmp_path) == "three"
    assert meant(None, tmp_path) == default_name(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NeedsRoot):
        meant(None, None)
