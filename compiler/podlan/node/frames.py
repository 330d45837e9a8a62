"""Frames that the kernel will not send for us: ARP and neighbour discovery, to ask and to tell the neighbours."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ARP = 0x0806
_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SENDER = slice(6, 12)  # of an Ethernet frame
_RESEND = 0.25  # seconds between two questions
_MOST = 8  # MACs for one address; who makes up more tells nothing new
_PACE = 0.001  # seconds between questions for two addresses: a switch counts broadcasts, and stops ports that storm
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")


def is_answered(interface: str, address: str, seconds: float = 1.0) -> bool:
    """Ask on this link who has the address, as a host does that has none itself; poisons no neighbour's cache.

    Raises OSError where the link does not exist or is down.
    """
    return bool(answerer(interface, address, seconds))


def answerer(interface: str, address: str, seconds: float) -> str:
    """Ask as `is_answered` does; give the MAC of the first that answers, '' if nobody does."""
    protocol, build = (_IPV6, _solicitation) if ":" in address else (_ARP, _question)
    return _ask(interface, protocol, build, address, seconds).hex(":")


def survey(
    interface: str, addresses: Iterable[str], rounds: int, seconds: float, source: str = ""
) -> dict[str, set[str]]:
    """Ask for many addresses of one family, each in `rounds` at least `seconds` apart; give all MACs that answered.

    IPv4 is asked without a sender's address; IPv6 from `source`, the link's own link-local address.
    """
    own = socket.inet_pton(socket.AF_INET6, source) if source else b""
    protocol = _IPV6 if source else _ARP
    family = socket.AF_INET6 if source else socket.AF_INET
    wanted = {socket.inet_pton(family, address): address for address in addresses}
    found: dict[str, set[str]] = {}
    with _open(interface, protocol) as wire:
        mac: bytes = wire.getsockname()[4]

        def hear(until: float) -> None:
            while (left := until - time.monotonic()) > 0:
                if select.select([wire], [], [], left)[0]:
                    frame = wire.recv(2048)
                    address = frame[62:78] if source else frame[28:32]
                    if address in wanted and _answers(frame, protocol, mac, address):
                        macs = found.setdefault(wanted[address], set())
                        if len(macs) < _MOST:
                            macs.add(frame[_SENDER].hex(":"))

        for _ in range(rounds):
            end = time.monotonic() + seconds
            for address in wanted.values():
                _send(wire, _solicitation(mac, address, own) if source else _question(mac, address))
                hear(time.monotonic() + _PACE)
            hear(max(end, time.monotonic() + _PACE))
        hear(time.monotonic() + seconds)
    return found


def announce(interface: str, address: str) -> None:
    """Tell all neighbours that the address is at this link's MAC: unsolicited, as request and as reply."""
    protocol = _IPV6 if ":" in address else _ARP
    with _open(interface, 0) as wire:
        mac = wire.getsockname()[4]
        if protocol == _IPV6:
            _send(wire, _advertisement(mac, address))
            return
        own = socket.inet_aton(address)
        # Some gear heeds only one of the two forms.
        for operation, target in ((_REQUEST, b"\0" * 6), (_REPLY, _BROADCAST)):
            _send(wire, _arp(mac, operation, own, target, own))


def _send(wire: socket.socket, frame: bytes) -> None:
    try:
        wire.send(frame)
    except OSError as error:
        # Without a carrier there is nobody to hear it, and whoever hears it later asks anyway.
        if error.errno not in (errno.ENOBUFS, errno.ENETDOWN):
            raise


def _open(interface: str, protocol: int) -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(protocol))
    try:
        wire.bind((interface, protocol))
    except OSError:
        wire.close()
        raise
    return wire


def _ask(interface: str, protocol: int, build: Callable[[bytes, str], bytes], address: str, seconds: float) -> bytes:
    with _open(interface, protocol) as wire:
        mac: bytes = wire.getsockname()[4]
        question = build(mac, address)
        wanted = socket.inet_pton(socket.AF_INET6 if protocol == _IPV6 else socket.AF_INET, address)
        end = time.monotonic() + seconds
        resend = 0.0
        while (now := time.monotonic()) < end:
            if now >= resend:
                _send(wire, question)
                resend = now + _RESEND
            readable, _, _ = select.select([wire], [], [], max(0.0, min(resend, end) - now))
            if readable and _answers(frame := wire.recv(2048), protocol, mac, wanted):
                return frame[_SENDER]
    return b""


def _answers(frame: bytes, protocol: int, mac: bytes, wanted: bytes) -> bool:
    if protocol == _ARP:
        operation = struct.unpack_from("!H", frame, 20)[0] if len(frame) >= 42 else 0  # noqa: PLR2004 - an ARP frame's length
        return operation == _REPLY and frame[28:32] == wanted and frame[32:38] == mac
    return len(frame) >= 78 and frame[54] == _ADVERTISEMENT and frame[62:78] == wanted  # noqa: PLR2004 - as above


def _question(mac: bytes, address: str) -> bytes:
    return _arp(mac, _REQUEST, b"\0" * 4, b"\0" * 6, socket.inet_aton(address))


def _arp(mac: bytes, operation: int, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    header = _BROADCAST + mac + struct.pack("!H", _ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + sender + target_mac + target


def _solicitation(mac: bytes, address: str, source: bytes = b"") -> bytes:
    target = socket.inet_pton(socket.AF_INET6, address)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    body = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + target
    # Who names itself says its MAC, too; who has no address yet must not (RFC 4861, section 4.3).
    return _icmp6(mac, source or b"\0" * 16, group, body + (b"\x01\x01" + mac if source else b""))


def _advertisement(mac: bytes, address: str) -> bytes:
    own = socket.inet_pton(socket.AF_INET6, address)
    override = 0x2000_0000
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, override) + own + b"\x02\x01" + mac
    return _icmp6(mac, own, _ALL_NODES, body)


def _icmp6(mac: bytes, source: bytes, destination: bytes, body: bytes) -> bytes:
    next_header, hops = 58, 255
    summed = source + destination + struct.pack("!II", len(body), next_header) + body
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), next_header, hops) + source + destination + body
    return b"\x33\x33" + destination[12:] + mac + struct.pack("!H", _IPV6) + packet
