"""Hosts that speak to each other in a given order, and who answers for an address on the wire."""

import contextlib
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field

from traffic import inside

_ECHO = struct.Struct("!BBHHH")
_ARP = 0x0806
_ANSWERS = 0.08  # seconds: a second MAC answers within one


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


@dataclass
class Speaker:
    """A host of a LAN: its namespace and its address; it speaks from whichever source its routes give it."""

    name: str
    namespace: str
    address: str
    sockets: list = field(default_factory=list)
    count: int = 0

    def open(self, *, bound=False):
        """Open what it speaks through; `bound`: first from its own address, whatever the routes say."""
        with inside(self.namespace):
            self.sockets = [
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) for _ in range(1 + bound)
            ]
        if bound:
            self.sockets[0].bind((self.address, 0))

    def close(self):
        for one in self.sockets:
            one.close()

    def reaches(self, address, seconds):
        """Tell whether each of its questions is answered."""
        answered = [self._ping(one, address, seconds) for one in self.sockets]
        return all(answered)

    def _ping(self, one, address, seconds):
        self.count += 1
        head = _ECHO.pack(8, 0, 0, os.getpid() & 0xFFFF, self.count)
        with contextlib.suppress(OSError):
            one.sendto(_ECHO.pack(8, 0, _checksum(head), os.getpid() & 0xFFFF, self.count), (address, 0))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([one], [], [], left)[0]:
            packet, (sender, _) = one.recvfrom(2048)
            kind, _, _, identity, number = _ECHO.unpack_from(packet, (packet[0] & 15) * 4)
            if (kind, identity, number, sender) == (0, os.getpid() & 0xFFFF, self.count, address):
                return True
        return False


class Asker:
    """Asks on a host's eth0 who has an address, as that host itself would, and hears everyone who answers."""

    def __init__(self, speaker):
        with inside(speaker.namespace):
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP))
            self.wire.bind(("eth0", _ARP))
        self.name = speaker.name
        self.mac = self.wire.getsockname()[4]
        self.address = socket.inet_aton(speaker.address)
        self.wire.setblocking(False)  # noqa: FBT003 - the only way to say it

    def ask(self, addresses):
        with contextlib.suppress(BlockingIOError):
            while self.wire.recv(2048):
                pass
        for address in addresses:
            header = b"\xff" * 6 + self.mac + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, 1)
            self.wire.send(header + self.mac + self.address + bytes(6) + socket.inet_aton(address))

    def heard(self):
        """Give the MACs that answered for each address."""
        answers = {}
        with contextlib.suppress(BlockingIOError):
            while frame := self.wire.recv(2048):
                if frame[20:22] == b"\0\2" and frame[32:38] == self.mac:
                    answers.setdefault(socket.inet_ntoa(frame[28:32]), set()).add(frame[22:28].hex(":"))
        return answers


def who_answers(askers, addresses):
    """Let all ask at once; give for each of them which MACs answered for which address."""
    for asker in askers:
        asker.ask(addresses)
    time.sleep(_ANSWERS)
    return [asker.heard() for asker in askers]


def orders(count):
    """Give orders in which everyone is the first once, and everyone follows everyone else directly once (Williams)."""
    assert count % 2 == 0
    row = [0, *(number for low in range(1, count // 2 + 1) for number in dict.fromkeys((low, count - low)))]
    return [[(number + shift) % count for number in row] for shift in range(count)]
