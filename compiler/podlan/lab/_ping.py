"""Sends echo requests from many network stacks, says which were answered; a program of its own, no library needed.

Reads JSON from standard input:
places   pairs of paths: the file of a mount namespace ("" for this one) and, as that shows it, of a network namespace
tries    triples of numbers and text: the place that asks, the place that has the address, the address; those that
         are least likely to be answered last
passes   how long to wait for answers: in each pass those still without one are tried again, as often as there are
         seconds in its list; from the second pass on the rest is given up once a whole round was in vain
lock     directory whose lock stands for the machine's room for neighbours
Prints the numbers of the tries that were answered, as a JSON list.

One process holds a socket in every place. All network namespaces of a machine share the room for neighbours
(gc_thresh3, 1024 by default, which is the machine's to set), and who speaks and who is spoken to each keep an entry:
so the tries are made in rounds that fit, and after each the neighbours are forgotten.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST = 12
"""Requests on their way at once: each may ask the whole LAN for a neighbour, and queues of 1000 frames overflow."""
KERNELS_ROOM = 1024
"""The kernel's own limit of neighbours; that of a machine may be another one."""
LATE = 0.005
"""Seconds after which a request no longer counts as on its way."""

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
ICMP_FILTER, ICMPV6_FILTER = 1, 1
SOL_RAW = 255
ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of request and reply."""
ENTRIES = {4: 2, 6: 3}
"""Neighbours that a try leaves behind."""
BODY = struct.Struct("!HHII")
"""Identifier, sequence number, number of the try, and which run of this program it is."""

NLMSG, NDMSG, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxxxiHBB"), struct.Struct("=HH")
NLMSG_ERROR, NLMSG_DONE, RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 2, 3, 28, 29, 30
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NDA_DST = 1
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40

_libc = ctypes.CDLL(None, use_errno=True)


def enter(descriptor: int, kind: int) -> None:
    """Go into a namespace."""
    if _libc.setns(descriptor, kind):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


class Place:
    """A network stack: a socket a family to ask with, and one to forget neighbours with."""

    def __init__(self) -> None:
        """Open the sockets in the network namespace that this process is in."""
        self.sockets = {4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)}
        # Without this the echo requests of others would come in as well.
        self.sockets[4].setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << ECHO[4][1]) & 0xFFFFFFFF))
        with contextlib.suppress(OSError):  # a kernel without IPv6
            self.sockets[6] = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            blocked = bytearray(b"\xff" * 32)
            blocked[ECHO[6][1] // 8 ^ (0 if sys.byteorder == "little" else 3)] &= ~(1 << ECHO[6][1] % 8)
            self.sockets[6].setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, bytes(blocked))
        for one in self.sockets.values():
            one.setblocking(False)  # noqa: FBT003 - that is its only form
        self.neighbours = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.neighbours.bind((0, 0))

    def forget(self) -> None:
        """Forget every neighbour that was learnt."""
        request = NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        self.neighbours.send(
            NLMSG.pack(NLMSG.size + len(request), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + request
        )
        known: list[bytes] = []
        while self._read(known):
            pass
        for entry in known:
            # Without an acknowledgement it is told of failures only: that the kernel was faster.
            self.neighbours.send(NLMSG.pack(NLMSG.size + len(entry), RTM_DELNEIGH, NLM_F_REQUEST, 2, 0) + entry)
        with contextlib.suppress(BlockingIOError):
            while self.neighbours.recv(65536, socket.MSG_DONTWAIT):
                pass

    def _read(self, known: list[bytes]) -> bool:
        data = self.neighbours.recv(1 << 16)
        at = 0
        while at < len(data):
            length, kind, _, sequence, _ = NLMSG.unpack_from(data, at)
            if sequence == 1 and kind in {NLMSG_DONE, NLMSG_ERROR}:
                return False
            if kind == RTM_NEWNEIGH:
                entry = data[at + NLMSG.size : at + length]
                family, link, state, _, _ = NDMSG.unpack_from(entry)
                address = _destination(entry)
                # Those of multicast groups need no asking, and take room.
                is_group = family == socket.AF_INET6 and address[4:5] == b"\xff"
                if family in {socket.AF_INET, socket.AF_INET6} and (
                    is_group or not state & (NUD_PERMANENT | NUD_NOARP)
                ):
                    known.append(NDMSG.pack(family, link, 0, 0, 0) + address)
            at += (length + 3) & ~3
        return True


def _destination(entry: bytes) -> bytes:
    at = NDMSG.size
    while at < len(entry):
        length, kind = ATTRIBUTE.unpack_from(entry, at)
        if kind == NDA_DST:
            return entry[at : at + length]
        at += (length + 3) & ~3
    return b""


def places(files: list[tuple[str, str]]) -> list[Place]:
    """Open all sockets, going from namespace to namespace; this process ends up in the last."""
    with open("/proc/self/ns/mnt", "rb") as own:  # noqa: PTH123 - no pathlib in a program that starts this often
        # Opened first: a mount namespace need not show the others' files.
        mounts = {path: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in {path for path, _ in files if path}}
        found = []
        here = ""
        for mount, net in files:
            if mount != here:
                enter(mounts[mount] if mount else own.fileno(), CLONE_NEWNS)
                here = mount
            descriptor = os.open(net, os.O_RDONLY | os.O_CLOEXEC)
            enter(descriptor, CLONE_NEWNET)
            os.close(descriptor)
            found.append(Place())
    for descriptor in mounts.values():
        os.close(descriptor)
    return found


def checksum(data: bytes) -> int:
    """Give the Internet checksum (RFC 1071) of data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Prober:
    """Makes tries, in rounds."""

    def __init__(self, places: list[Place], tries: list[tuple[int, int, str]]) -> None:
        """Take the stacks and what is to be tried between them."""
        self._places = places
        self._tries = tries
        self._families = [6 if ":" in address else 4 for _, _, address in tries]
        self._run = os.getpid()
        self._epoll = select.epoll()
        self._sockets: dict[int, tuple[int, int, socket.socket]] = {}
        for number, place in enumerate(places):
            for family, one in place.sockets.items():
                self._epoll.register(one, select.EPOLLIN)
                self._sockets[one.fileno()] = number, family, one
        self._waiting: set[int] = set()
        self._underway: dict[int, float] = {}

    def rounds(self, numbers: list[int], room: int) -> Iterator[list[int]]:
        """Give the tries in groups whose neighbours fit: who asks, who is asked, and in IPv6 whom that goes to."""
        group: list[int] = []
        used = {4: 0, 6: 0}
        for number in numbers:
            family = self._families[number]
            if used[family] + ENTRIES[family] > room:
                yield group
                group, used = [], {4: 0, 6: 0}
            group.append(number)
            used[family] += ENTRIES[family]
        yield group

    def round(self, numbers: list[int], patience: list[float]) -> set[int]:
        """Make these tries, as often as there are seconds to wait for the last answer; give those answered."""
        self._waiting, self._underway = set(numbers), {}
        for seconds in patience:
            for number in sorted(self._waiting):
                self._send(number)
                while self._crowded():
                    self._receive(LATE)
            ends = time.monotonic() + seconds
            while self._waiting and (left := ends - time.monotonic()) > 0:
                self._receive(left)
        for place in {self._places[end] for number in numbers for end in self._tries[number][:2]}:
            place.forget()
        return set(numbers) - self._waiting

    def _crowded(self) -> bool:
        old = time.monotonic() - LATE
        for number, sent in list(self._underway.items()):
            if sent > old:
                break
            del self._underway[number]
        return len(self._underway) >= BURST

    def _send(self, number: int) -> None:
        source, _, address = self._tries[number]
        family = self._families[number]
        body = BODY.pack(self._run & 0xFFFF, number & 0xFFFF, number, self._run)
        kind = ECHO[family][0]
        # The kernel computes that of ICMPv6.
        total = checksum(struct.pack("!BxH", kind, 0) + body) if family == 4 else 0  # noqa: PLR2004 - the family
        with contextlib.suppress(OSError):  # no route, no neighbour, no room: no answer
            self._places[source].sockets[family].sendto(struct.pack("!BxH", kind, total) + body, (address, 0))
        self._underway[number] = time.monotonic()

    def _receive(self, seconds: float) -> None:
        for descriptor, _ in self._epoll.poll(seconds):
            place, family, one = self._sockets[descriptor]
            with contextlib.suppress(OSError):
                while True:
                    data, sender = one.recvfrom(256)
                    self._hear(place, data[(data[0] & 15) * 4 :] if family == 4 else data, sender[0])  # noqa: PLR2004 - the family

    def _hear(self, place: int, message: bytes, sender: str) -> None:
        if len(message) != 4 + BODY.size:
            return
        _, _, number, run = BODY.unpack_from(message, 4)
        # The address must be that which was asked: another one's answer is none.
        if run == self._run and number in self._waiting and self._tries[number][::2] == (place, sender):
            self._waiting.discard(number)
            self._underway.pop(number, None)


def room() -> int:
    """Give how many neighbours there may be at once; the machine has some, too.

    In a network namespace that is not the machine's first, as in a container, the setting does not show.
    """
    sizes = []
    for family in ("ipv4", "ipv6"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sys/net/{family}/neigh/default/gc_thresh3") as file:  # noqa: PTH123 - as above
            sizes.append(int(file.read()))
    return min(sizes, default=KERNELS_ROOM) * 4 // 5


def main(order: dict[str, Any]) -> list[int]:
    """Make all tries, those without an answer a second time, and give those that were answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * len(order["places"]) + 64)), hard))
    most = room()
    turn = os.open(order["lock"], os.O_RDONLY | os.O_CLOEXEC)
    prober = Prober(places(order["places"]), [(source, target, address) for source, target, address in order["tries"]])
    answered: set[int] = set()
    for number, patience in enumerate(order["passes"]):
        left = [one for one in range(len(order["tries"])) if one not in answered]
        for group in prober.rounds(left, most):
            fcntl.flock(turn, fcntl.LOCK_EX)
            heard = prober.round(group, patience)
            fcntl.flock(turn, fcntl.LOCK_UN)
            answered |= heard
            if number and not heard:
                break
    return sorted(answered)


if __name__ == "__main__":
    try:
        json.dump(main(json.load(sys.stdin)), sys.stdout)
    except OSError as error:
        sys.exit(str(error))
