"""A podlan-node that runs beside the test, and how to wait for what it does."""

import itertools
import os
import time
from pathlib import Path

from lan import become

SECONDS = 60  # until we call it hanging, on a busy machine

_numbers = itertools.count()


def eventually(what, holds, seconds=SECONDS):
    """Wait until it holds; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.02)
    return found


class Forked:
    """One process, its output in files; forked from this one, so that it need not import anything.

    `prepare` runs in it before all else; `output` is what it writes to instead of the files.
    """

    def __init__(self, net, *arguments, prepare=None, output=None, namespace="node"):
        self.net = net
        self.home = net.home / f"run-{next(_numbers)}"
        self.home.mkdir()
        self.code = None
        with (self.home / "stdout").open("w") as stdout, (self.home / "stderr").open("w") as stderr:
            self.pid = os.fork()
            if not self.pid:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                if prepare:
                    prepare()
                streams = (output, output) if output else (stdout, stderr)
                become(f"{net.prefix}{namespace}", *streams, [str(argument) for argument in arguments])

    def signal(self, number):
        os.kill(self.pid, number)

    def poll(self):
        """Give the exit code, None as long as it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def ended_with(self):
        """Wait until it has ended, give its exit code."""
        eventually(self.output, lambda: self.poll() is not None)
        return self.code

    @property
    def stdout(self):
        return (self.home / "stdout").read_text(encoding="utf-8")

    @property
    def stderr(self):
        return (self.home / "stderr").read_text(encoding="utf-8")

    def output(self):
        return self.stdout + self.stderr

    def children(self):
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()]
