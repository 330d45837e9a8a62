"""Echo requests, as `ping` sends them: ICMP and ICMPv6 by raw sockets of the namespace that this process is in."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_RESEND = 0.5  # seconds between two requests to one address
_LATE = 5.0  # seconds after the end of which answers are still read, if there are any
_RAW = 255  # SOL_RAW
_FILTER = 1  # ICMP_FILTER of SOL_RAW, ICMPV6_FILTER of IPPROTO_ICMPV6
_NO_ANSWER = "no answer"


class _Kind(NamedTuple):
    """How a family asks; `filter` lets its replies pass and nothing else."""

    family: socket.AddressFamily
    protocol: int
    request: int
    reply: int
    level: int
    filter: bytes


_V4 = _Kind(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, _RAW, struct.pack("=I", 0xFFFF_FFFE))
_V6 = _Kind(
    socket.AF_INET6,
    socket.IPPROTO_ICMPV6,
    128,
    129,
    socket.IPPROTO_ICMPV6,
    struct.pack("=8I", *(0xFFFF_FFFF ^ (2 if word == 129 // 32 else 0) for word in range(8))),
)


def unanswered(addresses: Iterable[str], seconds: float = 1.5) -> dict[str, str]:
    """Ask all addresses at the same time; give those that do not answer within the time, and why."""
    waiting = dict.fromkeys(addresses, _NO_ANSWER)
    token = os.urandom(8)  # other programs' requests are answered to every raw socket, too
    with contextlib.ExitStack() as stack:
        wires: dict[socket.socket, _Kind] = {}
        for kind in (_V4, _V6):
            mine = [address for address in waiting if (":" in address) is (kind is _V6)]
            if mine:
                try:
                    wires[stack.enter_context(_open(kind))] = kind
                except OSError as error:
                    waiting |= dict.fromkeys(mine, error.strerror or str(error))
        end = time.monotonic() + seconds
        resend = 0.0
        while wires and waiting:
            now = time.monotonic()
            if resend <= now < end:
                for wire, kind in wires.items():
                    _send(wire, kind, token, waiting)
                resend = now + _RESEND
            ready = select.select(list(wires), [], [], max(0.0, min(resend, end) - now))[0]
            for wire in ready:
                waiting.pop(_answerer(wire, wires[wire], token), None)
            # What came in time counts, if late a busy machine lets us look.
            if now >= end and (not ready or now >= end + _LATE):
                break
    return waiting


def _open(kind: _Kind) -> socket.socket:
    wire = socket.socket(kind.family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, kind.protocol)
    wire.setsockopt(kind.level, _FILTER, kind.filter)
    return wire


def _send(wire: socket.socket, kind: _Kind, token: bytes, waiting: dict[str, str]) -> None:
    body = token[:2] + b"\0\1" + token
    # The kernel computes the checksum of ICMPv6, which covers addresses that only it knows.
    checksum = _checksum(struct.pack("!BBH", kind.request, 0, 0) + body) if kind is _V4 else 0
    request = struct.pack("!BBH", kind.request, 0, checksum) + body
    for address in waiting:
        if (":" in address) is (kind is _V6):
            try:
                wire.sendto(request, (address, 0))
                waiting[address] = _NO_ANSWER
            except OSError as error:
                waiting[address] = error.strerror or str(error)


def _answerer(wire: socket.socket, kind: _Kind, token: bytes) -> str:
    """Give who answered us, '' where this is another's answer."""
    try:
        packet, sender = wire.recvfrom(2048)
    except OSError:  # an interface that goes
        return ""
    if kind is _V4:
        packet = packet[(packet[0] & 15) * 4 :]
    if packet[:1] != bytes([kind.reply]) or packet[8:16] != token:
        return ""
    return str(sender[0])


def _checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
