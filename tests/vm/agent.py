"""What runs on each node of the lab: runs what it is told to, and keeps the streams of the node's pods going.

agent.py [PORT]: JSON, a line each way, by a virtio port, '*' for what is not known, or by the standard streams. Streams
are one-way and carry numbers: what comes says by itself what did not come, and for how long nothing did, by the one
clock of the node that listens.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from traffic import inside

from podlan.node._kernel import import_pyroute2
from podlan.node.command import main

import_pyroute2()

BEAT = 0.02  # seconds
PORT = 7007


class Heard:
    """What came of one stream since the last report."""

    def __init__(self):
        self.highest = self.reported = -1
        self.numbers = set()
        self.silence = 0.0
        self.last = time.monotonic()

    def take(self, number):
        now = time.monotonic()
        self.silence = max(self.silence, now - self.last)
        self.last = now
        self.numbers.add(number)
        self.highest = max(self.highest, number)

    def report(self):
        now = time.monotonic()
        sent = self.highest - self.reported
        told = {
            "sent": sent,
            "lost": sent - sum(number > self.reported for number in self.numbers),
            "silence": max(self.silence, now - self.last),
        }
        self.reported, self.numbers, self.silence = self.highest, set(), 0.0
        return told


class Streams:
    """All streams that begin or end in this node's pods, in a thread of their own."""

    def __init__(self):
        self.talkers = {}
        self.heard = {}
        self.poll = select.epoll()
        self.listeners = {}
        self.lock = threading.Lock()

    def listen(self, namespace, address):
        with inside(namespace):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((address, PORT))
        one.settimeout(0)
        with self.lock:
            self.listeners[one.fileno()] = one
        self.poll.register(one, select.EPOLLIN)

    def talk(self, namespace, source, target):
        with inside(namespace):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((source, 0))
            one.connect((target, PORT))
        one.settimeout(0)
        with self.lock:
            self.talkers[one] = [f"{source} to {target}", 0]

    def report(self):
        with self.lock:
            return {name: heard.report() for name, heard in self.heard.items()}

    def run(self):
        due = time.monotonic()
        while True:
            ready = self.poll.poll(max(0.0, due - time.monotonic()))
            with self.lock:
                for number, _ in ready:
                    with contextlib.suppress(OSError, KeyError):
                        name, _, count = self.listeners[number].recv(256).decode().partition("#")
                        self.heard.setdefault(name, Heard()).take(int(count))
                if time.monotonic() < due:
                    continue
                due = max(due + BEAT, time.monotonic())
                for one, state in self.talkers.items():
                    with contextlib.suppress(OSError):  # what cannot even be sent is lost as well
                        one.send(f"{state[0]}#{state[1]}".encode())
                    state[1] += 1


def podlan(arguments):
    """Run podlan-node in a process of its own that was only forked: its imports take seconds in a virtual machine."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if not pid:
            code = 99
            try:
                sys.stdout, sys.stderr = out, err
                main(arguments)
            except SystemExit as end:
                code = end.code
            except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second agent
                traceback.print_exc(file=err)
            finally:
                out.flush()
                err.flush()
                os._exit(code or 0)
        _, status = os.waitpid(pid, 0)
        texts = [file.seek(0) or file.read() for file in (out, err)]
    return {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}


def answer(streams, request):
    if "podlan" in request:
        return podlan(request["podlan"])
    if "run" in request:
        done = subprocess.run(
            request["run"],
            input=request.get("input", ""),
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **request.get("environment", {})},
        )
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
    if "write" in request:
        for path, text in request["write"].items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        return None
    if "report" in request:
        return streams.report()
    for words in request.get("listen", ()):
        streams.listen(*words)
    for words in request.get("talk", ()):
        streams.talk(*words)
    return None


def serve(reading, writing):
    streams = Streams()
    threading.Thread(target=streams.run, daemon=True).start()
    for line in reading:
        try:
            told = {"done": answer(streams, json.loads(line))}
        except Exception:  # noqa: BLE001 - whatever it is, the lab is to hear of it
            told = {"failed": traceback.format_exc()}
        writing.write(json.dumps(told).encode() + b"\n")
        writing.flush()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        port = os.open(next(Path("/").glob(sys.argv[1].lstrip("/"))), os.O_RDWR)  # it can be opened once only
        serve(os.fdopen(port, "rb"), os.fdopen(os.dup(port), "wb"))
    else:
        serve(sys.stdin.buffer, sys.stdout.buffer)
