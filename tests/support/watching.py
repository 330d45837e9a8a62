"""A `podlan reconcile --watch` in a test's namespace, and how to wait for what it does."""

import contextlib
import os
import signal
import time
from pathlib import Path

from lan import become

SECONDS = 20  # until we call it hanging


def eventually(what, holds, seconds=SECONDS):
    """Wait until it holds; gives what it gave."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.02)
    return found


class Watch:
    """One process, its output in files; forked from this one, so that it need not import anything, unless `fresh`."""

    def __init__(self, net, directory, *options, env=None, output=None, fresh=False):
        self.home = net.home / f"watch-{len(list(net.home.glob('watch-*')))}"
        self.home.mkdir()
        self.code = None
        arguments = ["reconcile", "--watch", "--root", net.root, *options, *([directory] if directory else [])]
        with (self.home / "stdout").open("w") as stdout, (self.home / "stderr").open("w") as stderr:
            self.pid = os.fork()
            if not self.pid:
                os.environ.update(env or {})
                if fresh:
                    os.dup2(stdout.fileno(), 1)
                    os.dup2(stderr.fileno(), 2)
                    argv = list(map(str, net.reconcile_argv(directory, "--watch", *options)))
                    os.execvp(argv[0], argv)  # noqa: S606 - as every program that tests run
                streams = (output, output) if output else (stdout, stderr)
                become(f"{net.prefix}node", *streams, [str(argument) for argument in arguments])

    def poll(self):
        """Give the exit code, None as long as it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self):
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
        return f"{self.stdout}\n{self.stderr}"

    def until(self, holds):
        def look():
            assert self.poll() is None, f"it ended with {self.code}: {self.output()}"
            return holds()

        return eventually(self.output, look)

    def until_said(self, text, times=1):
        return self.until(lambda: self.output().count(text) >= times)

    def ready(self):
        self.until_said("watched from now on")
        return self

    def signal(self, number):
        os.kill(self.pid, number)

    def status(self, key):
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))

    def children(self):
        return Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()

    def descriptors(self):
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextlib.contextmanager
def watching(net, directory, *options, ready=True, **more):
    """Watch during the block; at its end the process must end well."""
    watch = Watch(net, directory, *options, **more)
    try:
        yield watch.ready() if ready else watch
        if watch.poll() is None:
            watch.signal(signal.SIGTERM)
        assert watch.wait() == 0, watch.output()
        assert "Traceback" not in watch.stderr
    finally:
        if watch.poll() is None:
            watch.signal(signal.SIGKILL)
            watch.wait()
