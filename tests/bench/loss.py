"""What traffic loses while a node changes: the second half of `make bench-node`.

A neighbour and a machine behind the gateway talk with the node, and the node with them, each pair by UDP, a datagram
every 2 ms that must come back, and by TCP, a byte to and fro. One process holds all the sockets, each made in its own
network namespace, so that every stream sees the same clock. Counted are datagrams that did not come back and the
longest silence of a TCP stream, the worst of the streams and of the rounds. A line in which nothing changes tells what
the machine itself does to them.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM_PLAN, Net
from peers import HOWTO, HOWTO_BACK, IFSTATE, IFSTATE_BEFORE, IFSTATE_MOVE, alone

from podlan.plan import Route

FAR = "198.51.100.1"  # behind the gateway
STREAMS = (
    ("peer", PEER, "node", NODE),
    ("gw", FAR, "node", NODE),
    ("node", NODE, "peer", PEER),
    ("node", NODE, "gw", FAR),
)
"""Who asks from which address, who answers at which."""
PACE = 0.002  # seconds
_BEFORE, _AFTER, _LATE = 0.5, 1.0, 0.3  # seconds of traffic around a change; how long an answer may take
UNREACHABLE = Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1")


@dataclass(frozen=True)
class Lost:
    """Datagrams that did not come back, and the longest silence of a TCP stream, in seconds."""

    datagrams: int
    silence: float
    reaches_pods: bool


@dataclass(frozen=True)
class Change:
    """What is done to the node; the changes of one group follow each other on one node."""

    name: str
    do: Callable[[Net], object]


def _podlan(plan: object, code: int = 0) -> Callable[[Net], object]:
    return lambda net: net.reconcile(plan, code=code)


def _lines(text: str) -> Callable[[Net], object]:
    return lambda net: net.run("node", "sh", "-e", "-c", text)


def _ifstate(text: str) -> Callable[[Net], object]:
    def apply(net: Net) -> None:
        file = net.home / "ifstate.yml"
        file.write_text(text, encoding="utf-8")
        net.run("node", *alone(IFSTATE, "-q", "-c", file, "apply"))

    return apply


GROUPS = (
    (
        Change("nothing", lambda _: time.sleep(0.5)),
        Change("podlan: shim", _podlan(SHIM_PLAN)),
        Change("podlan: shim taken back", _podlan(NONE_PLAN)),
        Change(
            "podlan: move that fails, rolled back",
            _podlan(replace(MOVE_PLAN, routes=(*MOVE_PLAN.routes, UNREACHABLE)), 1),
        ),
        Change("podlan: move", _podlan(MOVE_PLAN)),
        Change("podlan: move taken back", _podlan(NONE_PLAN)),
    ),
    (Change("the how-to's lines", _lines(HOWTO)), Change("the how-to's lines taken back by hand", _lines(HOWTO_BACK))),
    (Change("ifstate: move", _ifstate(IFSTATE_MOVE)), Change("ifstate: move taken back", _ifstate(IFSTATE_BEFORE))),
)


def made_in(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """Make a socket in a network namespace, in which it stays; the thread that enters it ends."""
    made: list[socket.socket] = []

    def enter() -> None:
        with Path("/run/netns", namespace).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        made.append(make())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return made[0]


class Udp:
    """Datagrams with a number, of which the other side sends each one back."""

    def __init__(self, ask: socket.socket, answer: socket.socket) -> None:
        self.ask, self.answer = ask, answer
        self.sent: list[float] = []
        self.back: set[int] = set()

    def tick(self, now: float) -> None:
        """Send the next one."""
        number = len(self.sent)
        self.sent.append(now)
        try:
            self.ask.send(number.to_bytes(4, "big"))
        except OSError:
            return  # no route: lost

    def read(self, sock: socket.socket) -> None:
        """Take what came: an answer, or a question to answer."""
        try:
            data, sender = sock.recvfrom(16)
            if sock is self.ask:
                self.back.add(int.from_bytes(data, "big"))
            else:
                sock.sendto(data, sender)
        except OSError:
            return  # an error that an earlier packet met


class Tcp:
    """A byte to and fro, the next one at its time once the last one is back."""

    def __init__(self, ask: socket.socket, answer: socket.socket) -> None:
        self.ask, self.answer = ask, answer
        self.heard = time.monotonic()
        self.waits = False
        self.silence = 0.0

    def tick(self, now: float) -> None:
        """Send a byte unless one is under way; note how long it has been quiet."""
        self.silence = max(self.silence, now - self.heard)
        if not self.waits:
            self.ask.send(b".")
            self.waits = True

    def read(self, sock: socket.socket) -> None:
        """Take what came."""
        data = sock.recv(16)
        if sock is self.answer:
            sock.send(data)
            return
        now = time.monotonic()
        self.silence = max(self.silence, now - self.heard)
        self.heard, self.waits = now, False


def _udp(net: Net, asker: str, source: str, answerer: str, target: str) -> Udp:
    def bound(address: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 0))
        return sock

    answer = made_in(net.prefix + answerer, lambda: bound(target))
    ask = made_in(net.prefix + asker, lambda: bound(source))
    ask.connect(answer.getsockname())
    return Udp(ask, answer)


def _tcp(net: Net, asker: str, source: str, answerer: str, target: str) -> Tcp:
    listener = made_in(net.prefix + answerer, lambda: socket.create_server((target, 0)))
    ask = made_in(net.prefix + asker, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    ask.bind((source, 0))
    ask.connect(listener.getsockname())
    answer, _ = listener.accept()
    listener.close()
    for sock in (ask, answer):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Tcp(ask, answer)


def talk(net: Net, told: int, stop: int) -> None:
    """Keep all streams going until `stop` can be read, then write what was lost to `told`."""
    streams = [make(net, *stream) for stream in STREAMS for make in (_udp, _tcp)]
    chooser = selectors.DefaultSelector()
    for stream in streams:
        for sock in (stream.ask, stream.answer):
            sock.settimeout(0)
            chooser.register(sock, selectors.EVENT_READ, stream)
    chooser.register(stop, selectors.EVENT_READ)
    os.write(told, b"+")
    due, end = time.monotonic(), float("inf")
    while (now := time.monotonic()) < end:
        if now >= due and end == float("inf"):
            due = now + PACE
            for stream in streams:
                stream.tick(now)
        for key, _ in chooser.select(max(0.0, min(due, end) - time.monotonic())):
            if key.data is not None:
                key.data.read(key.fileobj)
            elif end == float("inf"):
                chooser.unregister(stop)
                end = due = now + _LATE
    lost = max(len(stream.sent) - len(stream.back) for stream in streams if isinstance(stream, Udp))
    silence = max(stream.silence for stream in streams if isinstance(stream, Tcp))
    os.write(told, f"{lost} {silence}".encode())


def during(net: Net, change: Change) -> Lost:
    """Do it while the streams go on in a process of their own."""
    hear, told = os.pipe()
    stop, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(hear)
        os.close(end)
        try:
            talk(net, told, stop)
        finally:
            os._exit(0)
    os.close(told)
    os.close(stop)
    try:
        assert os.read(hear, 1) == b"+", "the streams do not begin"
        time.sleep(_BEFORE)
        change.do(net)
        time.sleep(_AFTER)
        reaches_pods = net.reaches("node", POD)
    finally:
        os.close(end)
        text = os.read(hear, 64).decode()
        os.close(hear)
        os.waitpid(pid, 0)
    lost, silence = text.split()
    return Lost(int(lost), float(silence), reaches_pods)


def _with_pod(net: Net) -> None:
    """Give the node a pod: a child of eth0 in a namespace of its own, as the CNI plugin makes it."""
    net.add("pod")
    net.ip("link", "add", "link", "eth0", "name", "pod0", "type", "macvlan", "mode", "bridge")
    net.ip("link", "set", "pod0", "netns", f"{net.prefix}pod")
    net.batch(
        "pod",
        [
            "link set pod0 name eth0",
            "link set eth0 up",
            f"addr add {POD}/24 dev eth0",
            f"route add default via {GATEWAY}",
        ],
    )


def measure(directory: Path, rounds: int, rp_filter: int) -> dict[str, list[Lost]]:
    """Do all changes while traffic flows, so many rounds, each group on a node that has nothing yet."""
    taken: dict[str, list[Lost]] = {change.name: [] for group in GROUPS for change in group}
    for _ in range(rounds):
        for group in GROUPS:
            with TemporaryDirectory(dir=directory) as home:
                net = Net(Path(home))
                try:
                    net.up()
                    _with_pod(net)
                    for link in ("all", "default", "eth0"):
                        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
                    assert all(net.reaches(name, NODE) for name in ("peer", "gw"))
                    for change in group:
                        taken[change.name].append(during(net, change))
                finally:
                    net.down()
    return taken


def report(taken: dict[str, list[Lost]]) -> str:
    """Write a table: the worst of the rounds, and whether host and pods reached each other after it."""
    lines = [f"{'while this is done':<40}{'UDP lost':>10}{'TCP silent ms':>15}  host reaches its pods"]
    for name, runs in taken.items():
        lost, silence = max(run.datagrams for run in runs), max(run.silence for run in runs) * 1000
        reached = sum(run.reaches_pods for run in runs)
        answer = {0: "no", len(runs): "yes"}.get(reached, f"{reached} of {len(runs)}")
        lines.append(f"{name:<40}{lost:>10}{silence:>15.0f}  {answer}")
    return "\n".join(lines) + "\n"
