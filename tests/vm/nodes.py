"""Nodes of one LAN, each a virtual machine or a network namespace, and what is asked of them by their agents."""

import contextlib
import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from machine import family
from qemu import Machine, ends_with_us

AGENT = Path(__file__).with_name("agent.py")
PORT = "/dev/vport*p1"  # the one port of a virtual machine's, whichever number the device has
READY_SECONDS = 120
# As a virtual machine has it: this machine's files below, its own above, and nothing of /run and /tmp.
OVERLAY = """set -eu
mount --make-rprivate /
mount -t tmpfs none "$0"
mkdir "$0/up" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/up,workdir=$0/work" none "$0/root"
for place in /tmp /run; do mount -t tmpfs none "$0/root$place"; done
mount --rbind /dev "$0/root/dev"
mount -t proc none "$0/root/proc"
mount -t sysfs none "$0/root/sys"
mkdir -p "$0/root/run/netns" "$0/root$PWD"
mount --rbind "$PWD" "$0/root$PWD"
exec chroot "$0/root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""


class Refused(Exception):
    """A program on a node ended otherwise than it was to."""


@dataclass
class Node:
    """A node whose agent answers; `run` is a program on it, and gives what it printed."""

    name: str
    reading: object
    writing: object
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, **request):
        with self.lock:
            self.writing.write(json.dumps(request).encode() + b"\n")
            self.writing.flush()
            line = self.reading.readline()
        if not line:
            raise Refused(f"{self.name} is gone, at {request}")
        told = json.loads(line)
        if "failed" in told:
            raise Refused(f"{self.name}: {told['failed']}")
        return told["done"]

    def run(self, *argv, **more):
        return self._ended(argv, 0, self.ask(run=list(map(str, argv)), **more))["out"]

    def podlan(self, *arguments, code=0):
        """Run the node's side of podlan; give all that it said."""
        done = self._ended(arguments, code, self.ask(podlan=list(map(str, arguments))))
        return done["out"] + done["err"]

    def _ended(self, argv, code, done):
        if done["code"] != code:
            words = f"{self.name}: {shlex.join(map(str, argv))} ended with {done['code']}, not {code}"
            raise Refused(f"{words}\n{done['out']}{done['err']}")
        return done

    def ip(self, *lines):
        self.run("ip", "-batch", "-", input="\n".join(lines) + "\n")


@dataclass
class VirtualNode(Node):
    """A virtual machine; `console` has its last words, `monitor` is QEMU's own way in."""

    console: deque = field(default_factory=lambda: deque(maxlen=100))
    monitor: object = None

    def qemu(self, command, **arguments):
        """Have QEMU do something to the machine."""
        self.monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.monitor.flush()
        while "return" not in (told := json.loads(self.monitor.readline())):  # greetings and events come between
            if "error" in told:
                raise Refused(f"{self.name}: {command}: {told['error']}")


@contextlib.contextmanager
def in_namespace(name, namespace, home):
    """Start the agent of a node that is a network namespace."""
    home.mkdir()
    argv = ["nsenter", f"--net=/run/netns/{namespace}", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    argv += ["sh", "-c", OVERLAY, home]
    process = subprocess.Popen(
        list(map(str, [*argv, sys.executable, AGENT])),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=ends_with_us,  # noqa: PLW1509 - it takes no lock
    )
    try:
        yield Node(name, process.stdout, process.stdin)
    finally:
        everything = family(process.pid)
        process.kill()  # and with it the node's first process, and with that all others
        process.wait()
        while any(map(runs, everything)):
            time.sleep(0.01)


def runs(process):
    """Tell whether a process has not ended, if nobody has asked how."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@contextlib.contextmanager
def in_machine(name, machine: Machine):
    """Boot a virtual machine whose program is the agent."""
    machine.home.mkdir(exist_ok=True)
    with machine.run() as process, contextlib.ExitStack() as stack:
        agent = stack.enter_context(_connected(machine.agent, process))
        monitor = stack.enter_context(_connected(machine.monitor, process))
        node = VirtualNode(name, agent.makefile("rb"), agent.makefile("wb"), monitor=monitor.makefile("rw"))
        node.qemu("qmp_capabilities")
        threading.Thread(target=lambda: node.console.extend(process.stdout), daemon=True).start()
        yield node


def _connected(path, process):
    end = time.monotonic() + READY_SECONDS
    while True:
        one = socket.socket(socket.AF_UNIX)
        try:
            one.connect(str(path))
        except OSError:
            one.close()
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"machine: qemu does not answer: {process.stdout.read()}") from None
            time.sleep(0.02)
        else:
            return one
