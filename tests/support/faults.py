"""A run of podlan-node whose system calls fail, take long, or stop it: strace does that to a fork of ours."""

import os
import re
import signal
import subprocess

from forked import eventually
from lan import become

from podlan.node import frames, verify

_CALL = re.compile(r"(\d+)\s+(\w+)\((.*)")
_MESSAGE = re.compile(r"nlmsg_type=(?:(0x[0-9a-f]+)|RTM_(\w+))")
_SETTING = re.compile(r'\d+, "\d+\\n"')
_BEAT = re.compile(r'\d+, "[.web]", 1\)')  # what a run tells its guard, through a pipe
_REMOVALS = ("unlinkat", "unlink", "rmdir")
_GET = 2  # of four types of message about one thing: new, delete, get, set


class Traced:
    """A run below strace, without a directory an undo; `inject` is what strace is to do with its calls."""

    def __init__(self, net, directory, *inject, calls="sendto,write,fsync,renameat", prepare=None):
        command = ["reconcile", str(directory)] if directory else ["undo"]
        self.home = net.home
        self.trace = net.home / "trace"
        self.streams = [(net.home / name).open("w+") for name in ("stdout", "stderr")]
        begin, let_begin = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(let_begin)
            os.read(begin, 1)
            _send_frames_by_another_call()
            verify._CLAIM_SECONDS = 0.02  # noqa: SLF001 - who has the addresses is not what is asked here, again and again
            if prepare:
                prepare()
            become(net.prefix + "node", *self.streams, [*command, "--root", str(net.root)])
        os.close(begin)
        what = [word for one in (f"trace={calls}", *inject) for word in ("-e", one)]
        argv = ["strace", "-f", "-s", "64", "-p", str(self.pid), "-o", self.trace, *what]
        self.strace = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert "attached" in self.strace.stderr.readline()
        os.write(let_begin, b"x")
        os.close(let_begin)

    def until_held(self):
        """Wait until a SIGSTOP that was injected holds it."""
        eventually("it is not held", lambda: "stopped by SIGSTOP" in self.trace.read_text(encoding="utf-8"))

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def wait(self):
        """Wait for its end; gives the exit code and what it said."""
        _, status = os.waitpid(self.pid, 0)
        self.strace.communicate()
        texts = []
        for stream in self.streams:
            with stream:
                stream.seek(0)
                texts.append(stream.read())
        done = subprocess.CompletedProcess([], os.waitstatus_to_exitcode(status), *texts)
        assert "Traceback" not in done.stderr, done
        return done

    def calls(self):
        """Give the run's own calls in their order: name, number among those of its name, and what kind it is."""
        counts, found = {}, []
        for line in self.trace.read_text(encoding="utf-8").splitlines():
            match = _CALL.match(line)
            if match and int(match[1]) == self.pid:
                name = match[2]
                counts[name] = counts.get(name, 0) + 1
                kind = _kind(name, match[3])
                if name == "recvfrom" and found and found[-1][2] == "change":
                    kind = "answer"
                found.append((name, counts[name], kind))
        return found


class _Wire:
    def __init__(self, wire):
        self._wire = wire

    def send(self, frame):
        return self._wire.sendmsg([frame])


def _send_frames_by_another_call():
    """Leave sendto to what is said to the kernel: how often neighbours are asked again is a matter of time.

    A call's number would otherwise be another call's in a run whose neighbours answer late.
    """
    send = frames._send  # noqa: SLF001 - the one place that all frames pass
    frames._send = lambda wire, frame: send(_Wire(wire), frame)  # noqa: SLF001 - as above


def _kind(name, arguments):
    """Tell what changes the kernel's state, a message ('change') or a 'setting', from what asks, and from a frame."""
    if name == "write" and _SETTING.match(arguments):
        return "setting"
    if name == "write" and _BEAT.match(arguments):
        return "beat"
    if name in _REMOVALS and "= -1 ENOENT" in arguments:
        return "vain"
    if name != "sendto":
        return "frame" if name == "sendmsg" else name
    message = _MESSAGE.search(arguments)
    if message is None:
        return name
    asks = message[2].startswith("GET") if message[2] else int(message[1], 16) % 4 == _GET
    return "ask" if asks else "change"


def traced(net, directory, *inject, **more):
    """Run to the end below strace; gives what came of it."""
    return Traced(net, directory, *inject, **more).wait()


def calls_of(net, directory, **more):
    """Run undisturbed; gives its calls, and what it said."""
    run = Traced(net, directory, **more)
    done = run.wait()
    assert done.returncode == 0, done
    return run.calls(), done


def changes_of(net, directory, **more):
    """Run undisturbed; gives those of its calls that change the kernel or a file: name, and number among its name's."""
    calls, _ = calls_of(net, directory, **more)
    return [(name, number) for name, number, kind in calls if kind in ("change", "renameat", "rename", *_REMOVALS)]
