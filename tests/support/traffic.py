"""Streams between namespaces that count what they miss: TCP in beats that got no answer, UDP in packets.

One process holds both ends of every stream, so that a machine that stalls stalls the beats too, and counts nothing.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field

BEAT = 0.004  # seconds
_PORT = 7007
_DRAIN = 0.5  # seconds for what is still on its way; a retransmission needs 0.2
_TOTAL_RETRANSMITTED = 100  # where struct tcp_info has tcpi_total_retrans
_SEQUENCE = struct.Struct("!Q")


@contextlib.contextmanager
def inside(namespace):
    """Be in the namespace during the block: what is opened there stays there."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as here, open(f"/run/netns/{namespace}", "rb") as there:  # noqa: PTH123 - descriptors are what is wanted
        assert libc.setns(there.fileno(), 0) == 0
        try:
            yield
        finally:
            assert libc.setns(here.fileno(), 0) == 0


@dataclass(frozen=True)
class Stream:
    """From a namespace and address to another."""

    client: str
    source: str
    server: str
    target: str

    def __str__(self):
        return f"{self.source} to {self.target}"


@dataclass
class Phase:
    """What one stream went through in one phase."""

    beats: int = 0
    longest: int = 0
    sent: int = 0
    received: int = 0
    retransmitted: int = 0

    @property
    def lost(self):
        return self.sent - self.received


@dataclass
class _Tcp:
    client: socket.socket
    server: socket.socket
    waiting: bool = False
    missed: int = 0

    def beat(self, phase):
        phase.beats += 1
        if self.waiting:
            self.missed += 1
            phase.longest = max(phase.longest, self.missed)
            return
        self.missed = 0
        self.waiting = True
        self.client.send(b"beat")

    def echo(self):
        self.server.send(self.server.recv(64))

    def answered(self):
        self.waiting = not self.client.recv(64)

    def retransmitted(self):
        return sum(
            struct.unpack_from("=I", end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _TOTAL_RETRANSMITTED)[0]
            for end in (self.client, self.server)
        )


@dataclass
class _Udp:
    client: socket.socket
    server: socket.socket
    phases: list = field(default_factory=list)

    def beat(self, phase):
        with contextlib.suppress(OSError):  # what cannot even be sent is lost as well
            self.client.send(_SEQUENCE.pack(len(self.phases)))
        self.phases.append(phase)
        phase.sent += 1

    def echo(self):
        data, sender = self.server.recvfrom(64)
        with contextlib.suppress(OSError):
            self.server.sendto(data, sender)

    def answered(self):
        with contextlib.suppress(ConnectionError):
            self.phases[_SEQUENCE.unpack(self.client.recv(64))[0]].received += 1


def _sockets(net, stream, kind, port):
    with inside(net.prefix + stream.server):
        server = socket.socket(socket.AF_INET, kind)
        server.bind((stream.target, port))
    with inside(net.prefix + stream.client):
        client = socket.socket(socket.AF_INET, kind)
        client.bind((stream.source, 0))
    client.settimeout(5)
    if kind == socket.SOCK_STREAM:
        server.listen()
        server.settimeout(5)
        client.connect((stream.target, port))
        server = server.accept()[0]
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        client.connect((stream.target, port))
    for end in (client, server):
        end.settimeout(0)
    return client, server


class _Loop:
    """All streams in one loop; `phases` has a `Phase` for each stream, for each name that came."""

    def __init__(self, net, streams):
        self.tcp = [_Tcp(*_sockets(net, stream, socket.SOCK_STREAM, _PORT + n)) for n, stream in enumerate(streams)]
        self.udp = [_Udp(*_sockets(net, stream, socket.SOCK_DGRAM, _PORT + n)) for n, stream in enumerate(streams)]
        self.names, self.phases = [], []

    def end_phase(self):
        for one, phase in zip(self.tcp, self.phases[-1] if self.phases else (), strict=False):
            phase.retransmitted += one.retransmitted()

    def begin(self, name):
        self.end_phase()
        self.names.append(name)
        self.phases.append([Phase(retransmitted=-one.retransmitted()) for one in self.tcp])

    def beat(self):
        for tcp, udp, phase in zip(self.tcp, self.udp, self.phases[-1], strict=True):
            tcp.beat(phase)
            udp.beat(phase)

    def run(self, commands, answers):
        """Beat until the commands end; each line of them begins a phase."""
        poll = select.epoll()
        ends = {}
        for one in (*self.tcp, *self.udp):
            ends |= {one.client.fileno(): one.answered, one.server.fileno(): one.echo}
        for number in (*ends, commands):
            poll.register(number, select.EPOLLIN)
        os.write(answers, b"ready\n")
        next_beat, end = time.monotonic(), 0.0
        while not end or time.monotonic() < end:
            for number, _ in poll.poll(max(0.0, next_beat - time.monotonic())):
                if number in ends:
                    with contextlib.suppress(BlockingIOError):
                        ends[number]()
                elif name := os.read(commands, 4096).decode().strip():
                    self.begin(name)
                    os.write(answers, b"begun\n")
                else:
                    poll.unregister(commands)
                    end = time.monotonic() + _DRAIN
            if (now := time.monotonic()) >= next_beat:
                next_beat = now + BEAT
                if self.phases and not end:
                    self.beat()
        self.end_phase()
        return [[name, list(map(vars, one))] for name, one in zip(self.names, self.phases, strict=True)]


class Traffic:
    """The streams as they run; `told` has, once they have ended, what each went through in each phase."""

    def __init__(self, net, streams):
        self.streams = streams
        self.told = []
        read_commands, self._commands = os.pipe()
        self._answers, write_answers = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._commands)
            code = 1
            try:
                told = _Loop(net, streams).run(read_commands, write_answers)
                with open(write_answers, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
                    json.dump(told, file)
                code = 0
            except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second pytest
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(code)
        os.close(read_commands)
        os.close(write_answers)
        self._expect("ready")

    def _expect(self, word):
        said = os.read(self._answers, 6).decode().strip()
        assert said == word, "the streams have ended"

    def phase(self, name):
        """Begin a phase; what is sent from now on counts for it."""
        os.write(self._commands, f"{name}\n".encode())
        self._expect("begun")

    def end(self):
        os.close(self._commands)
        with open(self._answers, encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            text = file.read()
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        assert status == 0, "the streams did not come to their end"
        self.told = [(name, [Phase(**phase) for phase in phases]) for name, phases in json.loads(text)]

    def kill(self):
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def table(self):
        """Give what each phase cost, for people: the worst stream of each."""
        return "\n".join(
            f"{name}: longest silence {max(one.longest for one in phases)} of {phases[0].beats} beats, "
            f"{sum(one.retransmitted for one in phases)} retransmitted, "
            f"{sum(one.lost for one in phases)} of {sum(one.sent for one in phases)} packets lost"
            for name, phases in self.told
        )


@contextlib.contextmanager
def traffic(net, streams):
    """Send during the block."""
    running = Traffic(net, streams)
    try:
        yield running
        running.end()
    finally:
        running.kill()
