"""Lets pods answer, and tries who gets an answer, by TCP and UDP; a program of its own, standard library only.

Reads from standard input, as JSON:
servers    [place, address, port, name]: who listens, and the name that it answers with
tries      [place, protocol, address, port]: who asks whom
patience   seconds to wait for answers
where a place is [mount, net]: files of namespaces, the second as it is called inside the first (null: here).
Prints, for each try, what was answered; null where nothing was.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import socket
import sys
import time
from typing import Any

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
AGAIN = 0.4
"""Seconds after which a datagram is sent once more."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter(descriptor: int, kind: int) -> None:
    """Enter a namespace (os.setns is new in Python 3.12)."""
    if _libc.setns(descriptor, kind):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


class Places:
    """Network namespaces, each found once; a socket belongs for ever to the one it was made in."""

    def __init__(self) -> None:
        self._mount = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        self._known: dict[tuple[str | None, str], int] = {}

    def socket(self, place: tuple[str | None, str], address: str, kind: int) -> socket.socket:
        """Make a socket in a place."""
        if place not in self._known:
            self._known[place] = self._find(*place)
        enter(self._known[place], CLONE_NEWNET)
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        made.settimeout(0)
        return made

    def _find(self, mount: str | None, net: str) -> int:
        if mount is None:
            return os.open(net, os.O_RDONLY)
        there = os.open(mount, os.O_RDONLY)
        try:
            enter(there, CLONE_NEWNS)
            return os.open(net, os.O_RDONLY)
        finally:
            enter(self._mount, CLONE_NEWNS)
            os.close(there)


class Rounds:
    """Servers that answer and clients that ask, in one loop."""

    def __init__(self) -> None:
        self._places = Places()
        self._selector = selectors.DefaultSelector()
        self._open: dict[int, socket.socket] = {}
        self.answers: dict[int, str] = {}

    def serve(self, place: tuple[str | None, str], address: str, port: int, name: str) -> None:
        """Let a pod answer with its name whoever connects, and whoever sends a datagram."""
        for protocol, kind in KINDS.items():
            made = self._places.socket(place, address, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if protocol == "tcp":
                made.listen(256)
            self._selector.register(made, selectors.EVENT_READ, (self._accept if protocol == "tcp" else _reply, name))

    def ask(self, number: int, place: tuple[str | None, str], protocol: str, address: str, port: int) -> None:
        """Begin a try; without a way to the address it is over at once."""
        made = self._places.socket(place, address, KINDS[protocol])
        try:
            with contextlib.suppress(BlockingIOError):
                made.connect((address, port))
            if protocol == "udp":
                made.send(b"?")
        except OSError:
            made.close()
            return
        self._open[number] = made
        self._selector.register(made, selectors.EVENT_READ, (self._hear, number))

    def run(self, patience: float) -> None:
        """Go on until everybody has an answer, or time is up."""
        now = time.monotonic()
        again, end = now + AGAIN, now + patience
        while self._open and (now := time.monotonic()) < end:
            if now > again:
                again = end
                for made in self._open.values():
                    if made.type == socket.SOCK_DGRAM:
                        with contextlib.suppress(OSError):
                            made.send(b"?")
            for key, _ in self._selector.select(min(again, end) - now):
                does, what = key.data
                with contextlib.suppress(OSError):
                    does(key.fileobj, what)

    def _accept(self, made: socket.socket, name: str) -> None:
        connection, _ = made.accept()
        with connection:
            connection.sendall(name.encode())

    def _hear(self, made: socket.socket, number: int) -> None:
        try:
            self.answers[number] = made.recv(256).decode()
        except OSError:
            if made.type == socket.SOCK_DGRAM:  # nobody was there; the second one may find somebody
                return
        self._selector.unregister(made)
        del self._open[number]
        made.close()


def _reply(made: socket.socket, name: str) -> None:
    _, peer = made.recvfrom(256)
    made.sendto(name.encode(), peer)


def main(order: dict[str, Any]) -> list[str | None]:
    """Do what the order says."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rounds = Rounds()
    for place, *server in order["servers"]:
        rounds.serve(tuple(place), *server)
    for number, (place, *question) in enumerate(order["tries"]):
        rounds.ask(number, tuple(place), *question)
    rounds.run(order["patience"])
    return [rounds.answers.get(number) for number in range(len(order["tries"]))]


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
