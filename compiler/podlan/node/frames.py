"""Frames that the kernel will not send for us: ARP and neighbour discovery, to ask and to tell the neighbours."""

from __future__ import annotations

import array
import contextlib
import errno
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_ARP = 0x0806
_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_REQUEST, _REPLY = 1, 2
_SOLICITATION, _ADVERTISEMENT = 135, 136
_HOPS = 255  # what no router has passed on (RFC 4861, 7.1)
_SENDER = slice(6, 12)  # of an Ethernet frame
_RESEND = 0.25  # seconds between two questions
_MOST = 8  # MACs for one address; who makes up more tells nothing new
_PACE = 0.001  # seconds between questions for two addresses: a switch counts broadcasts, and stops ports that storm
_LATE = 5.0  # seconds after the end of which frames are still read, if there are any
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_NOBODY = {4: b"\0" * 4, 16: b"\0" * 16}  # the sender of a question by one who has no address yet, by its length
_PACKETS, _MEMBERSHIP, _MULTICAST = 263, 1, 0  # SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_MULTICAST
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_NEIGHBOUR_DISCOVERY = (
    # Of all IPv6 frames only these two kinds, so that none of them is lost in what a busy link carries.
    (0x30, 0, 0, 20),  # the next header
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 54),  # the type of the ICMPv6 message
    (0x15, 1, 0, _SOLICITATION),
    (0x15, 0, 1, _ADVERTISEMENT),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


def is_answered(interface: str, address: str, seconds: float = 1.0) -> bool:
    """Ask on this link who has the address, as a host does that has none itself; poisons no neighbour's cache.

    Raises OSError where the link does not exist or is down.
    """
    protocol, build = (_IPV6, _solicitation) if ":" in address else (_ARP, _question)
    return _ask(interface, protocol, build, address, seconds)


def claimants(questions: Iterable[tuple[str, str]], own: Collection[str], seconds: float) -> dict[tuple[str, str], str]:
    """Ask all at once, on a link each, who has an address or is about to take it; give the MACs of those there are.

    This is what RFC 5227 (section 2.1.1) and RFC 4862 (section 5.4) say of an address that is to be added: it is
    another's that answers, uses it, or asks the same question at the same time. `own` are this machine's MACs: a
    frame that the network reflects says nothing. Links that do not exist or are down are not asked.
    """
    found: dict[tuple[str, str], str] = {}
    with contextlib.ExitStack() as stack:
        asked: dict[socket.socket, tuple[tuple[str, str], bytes]] = {}
        for link, address in dict.fromkeys(questions):
            protocol, build = (_IPV6, _solicitation) if ":" in address else (_ARP, _question)
            with contextlib.suppress(OSError):
                wire = stack.enter_context(_open(link, protocol))
                if protocol == _IPV6:
                    _listen(wire, stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)), link, address)
                asked[wire] = ((link, address), build(wire.getsockname()[4], address))
        end = time.monotonic() + seconds
        resend = 0.0
        while asked and (now := time.monotonic()) < end:
            if now >= resend:
                for wire, (_, frame) in asked.items():
                    with contextlib.suppress(OSError):
                        _send(wire, frame)
                resend = now + _RESEND
            for wire in select.select(list(asked), [], [], max(0.0, min(resend, end) - now))[0]:
                with contextlib.suppress(OSError):  # a link that goes down meanwhile
                    frame = wire.recv(2048)
                    mac = frame[_SENDER].hex(":")
                    if mac not in own and _claims(frame, asked[wire][0][1]):
                        found[asked.pop(wire)[0]] = mac
    return found


def _listen(wire: socket.socket, member: socket.socket, link: str, address: str) -> None:
    """Hear what is sent to the groups in which an address's owner and whoever wants it too are heard.

    The link is told by the packet socket; a switch that watches who is in which group, by the other one.
    """
    group = _solicited_node(address)
    for one in (group, _ALL_NODES):
        request = struct.pack("iHH8s", socket.if_nametoindex(link), _MULTICAST, 6, _multicast_mac(one))
        wire.setsockopt(_PACKETS, _MEMBERSHIP, request)
    with contextlib.suppress(OSError):  # IPv6 may be off on the master
        request = group + struct.pack("I", socket.if_nametoindex(link))
        member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)


def _claims(frame: bytes, address: str) -> bool:
    """Tell whether a frame says that its sender has the address, or asks whether it may take it.

    Whoever may take it asks everybody; a switch that keeps track of its ports asks one machine in the same words
    (Cisco, IP device tracking).
    """
    asks_all = bool(frame[0] & 1)
    if ":" not in address:
        wanted = socket.inet_aton(address)
        return frame[28:32] == wanted or (asks_all and frame[28:32] == _NOBODY[4] and frame[38:42] == wanted)
    wanted = socket.inet_pton(socket.AF_INET6, address)
    if frame[62:78] != wanted or frame[21] != _HOPS:
        return False
    return frame[54] == _ADVERTISEMENT or (asks_all and frame[54] == _SOLICITATION and frame[22:38] == _NOBODY[16])


def survey(
    interface: str, addresses: Iterable[str], rounds: int, seconds: float, source: str = ""
) -> dict[str, set[str]]:
    """Ask for many addresses of one family, each in `rounds` at least `seconds` apart; give all MACs that answered.

    IPv6 is asked from `source`, the link's own link-local address. Without one IPv4 is asked, as by a host that has no
    address yet.
    """
    protocol, family = (_IPV6, socket.AF_INET6) if ":" in source else (_ARP, socket.AF_INET)
    own = socket.inet_pton(family, source) if source else _NOBODY[4]
    wanted = {socket.inet_pton(family, address): address for address in addresses}
    found: dict[str, set[str]] = {}
    with _open(interface, protocol) as wire:
        mac: bytes = wire.getsockname()[4]

        def hear(until: float, late: float = 0.0) -> None:
            while (left := until - time.monotonic()) > -late and select.select([wire], [], [], max(0.0, left))[0]:
                frame = wire.recv(2048)
                address = frame[62:78] if protocol == _IPV6 else frame[28:32]
                if address in wanted and _answers(frame, protocol, mac, address):
                    macs = found.setdefault(wanted[address], set())
                    if len(macs) < _MOST:
                        macs.add(frame[_SENDER].hex(":"))

        for _ in range(rounds):
            end = time.monotonic() + seconds
            for address in wanted.values():
                _send(wire, _solicitation(mac, address, own) if protocol == _IPV6 else _question(mac, address, own))
                hear(time.monotonic() + _PACE)
            hear(max(end, time.monotonic() + _PACE))
        hear(time.monotonic() + seconds, _LATE)  # what came in time counts, if late a busy machine lets us look
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
    # Without a protocol it hears nothing until it is bound: no frame of another link, and none past the filter.
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        if protocol == _IPV6:
            _filter(wire)
        wire.bind((interface, protocol))
    except OSError:
        wire.close()
        raise
    return wire


def _filter(wire: socket.socket) -> None:
    program = array.array("B", b"".join(struct.pack("HBBI", *line) for line in _NEIGHBOUR_DISCOVERY))
    wire.setsockopt(
        socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_NEIGHBOUR_DISCOVERY), program.buffer_info()[0])
    )


def _ask(interface: str, protocol: int, build: Callable[[bytes, str], bytes], address: str, seconds: float) -> bool:
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
            if readable and _answers(wire.recv(2048), protocol, mac, wanted):
                return True
    return False


def _answers(frame: bytes, protocol: int, mac: bytes, wanted: bytes) -> bool:
    if protocol == _ARP:
        operation = struct.unpack_from("!H", frame, 20)[0] if len(frame) >= 42 else 0  # noqa: PLR2004 - an ARP frame's length
        return operation == _REPLY and frame[28:32] == wanted and frame[32:38] == mac
    return len(frame) >= 78 and frame[54] == _ADVERTISEMENT and frame[62:78] == wanted  # noqa: PLR2004 - as above


def _question(mac: bytes, address: str, source: bytes = _NOBODY[4]) -> bytes:
    return _arp(mac, _REQUEST, source, b"\0" * 6, socket.inet_aton(address))


def _arp(mac: bytes, operation: int, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    header = _BROADCAST + mac + struct.pack("!H", _ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + sender + target_mac + target


def _solicitation(mac: bytes, address: str, source: bytes = b"") -> bytes:
    target = socket.inet_pton(socket.AF_INET6, address)
    body = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + target
    # Who names itself says its MAC, too; who has no address yet must not (RFC 4861, section 4.3).
    return _icmp6(mac, source or _NOBODY[16], _solicited_node(address), body + (b"\x01\x01" + mac if source else b""))


def _solicited_node(address: str) -> bytes:
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")
    return group[:13] + socket.inet_pton(socket.AF_INET6, address)[13:]


def _multicast_mac(group: bytes) -> bytes:
    return b"\x33\x33" + group[12:]


def _advertisement(mac: bytes, address: str) -> bytes:
    own = socket.inet_pton(socket.AF_INET6, address)
    override = 0x2000_0000
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, override) + own + b"\x02\x01" + mac
    return _icmp6(mac, own, _ALL_NODES, body)


def _icmp6(mac: bytes, source: bytes, destination: bytes, body: bytes) -> bytes:
    next_header = 58
    summed = source + destination + struct.pack("!II", len(body), next_header) + body
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(body), next_header, _HOPS) + source + destination + body
    return _multicast_mac(destination) + mac + struct.pack("!H", _IPV6) + packet
