"""A `podlan reconcile --watch` in a test's namespace."""

import contextlib
import os
import signal
from pathlib import Path

from forked import Forked, eventually


class Watch(Forked):
    """A process that watches; `fresh`: not only forked."""

    def __init__(self, net, directory, *options, env=None, output=None, fresh=False):
        def prepare():
            os.environ.update(env or {})
            if fresh:
                argv = list(map(str, net.reconcile_argv(directory, "--watch", *options)))
                os.execvp(argv[0], argv)  # noqa: S606 - as every program that tests run

        arguments = ["reconcile", "--watch", "--root", net.root, *options, *([directory] if directory else [])]
        super().__init__(net, *arguments, prepare=prepare, output=output)

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

    def status(self, key):
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))

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
        assert watch.ended_with() == 0, watch.output()
        assert "Traceback" not in watch.stderr
    finally:
        if watch.poll() is None:
            watch.signal(signal.SIGKILL)
            watch.ended_with()
