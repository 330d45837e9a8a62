"""The `podlan` command without its imports each time: a process that has them forks itself for every run.

Run as a program it is that process, one for each process of pytest's; it knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from podlan import cli

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 1 << 20  # bytes of a request, mostly its environment


class _Ready:
    """The process that is ready to run podlan, started when it is first asked for."""

    def __init__(self) -> None:
        self.owner = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None

    def start(self) -> socket.socket:
        if self.line is None or self.owner != os.getpid():
            self.line, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with there:
                self.process = subprocess.Popen(
                    [sys.executable, __file__, str(there.fileno())],
                    pass_fds=[there.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # so that it can be ended with what it runs
                )
            self.owner = os.getpid()
        return self.line

    def end(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = self.line = None

    def run(self, request: dict[str, Any], streams: Sequence[int]) -> int:
        line = self.start()
        try:
            socket.send_fds(line, [json.dumps(request).encode()], streams)
            return int(line.recv(64))
        except BaseException:  # a run that was not waited for must not answer for the next one
            self.end()
            raise


_ready = _Ready()


def podlan(directory: Path, *arguments: str, trace: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run podlan in a directory, with this process's environment; gives its exit code and what it said.

    `trace`: expressions of strace, which then does to the run's system calls what they say.
    """
    mask = os.umask(0)
    os.umask(mask)
    request = {
        "arguments": arguments,
        "directory": str(directory),
        "environment": dict(os.environ),
        "umask": mask,
        "trace": trace,
    }
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        code = _ready.run(request, [stdout.fileno(), stderr.fileno()])
        said = []
        for stream in (stdout, stderr):
            stream.seek(0)
            said.append(stream.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(["podlan", *arguments], code, *said)


def _serve(line: socket.socket) -> None:
    for module in sorted({where.partition(":")[0] for where, _ in cli._COMMANDS.values()}):  # noqa: SLF001 - all there are
        importlib.import_module(module)
    while True:
        text, streams, _, _ = socket.recv_fds(line, _LONGEST, 2)
        if not text:
            return  # pytest has gone
        pid = os.fork()
        if not pid:
            line.close()
            _become(json.loads(text), streams)
        for stream in streams:
            os.close(stream)
        line.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _become(request: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Go on as podlan; for a process that was just forked."""
    code: Any = 99
    try:
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request["directory"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environment"])
        if request["trace"]:
            _trace(request["trace"])
        cli.main(request["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as the one that is ready
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _trace(expressions: Sequence[str]) -> None:
    """Have strace watch this process from now on."""
    words = [word for expression in expressions for word in ("-e", expression)]
    argv = ["strace", "-f", "-o", "/dev/null", "-p", str(os.getpid()), *words]
    strace = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert strace.stderr is not None
    assert "attached" in strace.stderr.readline()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as served:
        _serve(served)
