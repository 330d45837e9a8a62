"""What the kernel tells without being asked: changes of links, addresses and routes, of which few concern a plan."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Self

from podlan.node._kernel import MAIN_TABLE
from podlan.plan import PROTOCOL
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from podlan.plan import Plan

# Numbers of linux/rtnetlink.h: links, addresses and routes of both families, and the settings of links that are told.
_GROUPS = sum(1 << group - 1 for group in (1, 5, 7, 9, 11, 24, 25))
_LINKS, _ADDRESSES, _ROUTES, _SETTINGS = (16, 17), (20, 21), (24, 25), (80, 81)
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # family, length, source's length, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")
_DESTINATION, _OUTPUT = 1, 4  # RTA_DST, RTA_OIF
_SETTINGS_INDEX = 1  # NETCONFA_IFINDEX
_ALL, _DEFAULT = -1, -2  # indexes of settings
_SO_RCVBUFFORCE = 33
_BUFFER = 1 << 20  # bytes; more than a thousand changes
_DATAGRAM = 1 << 16
_AT_ONCE = 500  # datagrams; then the caller looks at its clock
_PID_BITS = 0x3FFFFF  # libnl and pyroute2 number their further sockets above these


@dataclass(frozen=True, slots=True)
class Event:
    """A change that concerns the plan; `pid` of the process that asked for it, `protocol` of a route that came.

    Both are 0 where the kernel does not tell. `lost`: there were more changes than we could be told of.
    """

    pid: int = 0
    protocol: int = 0
    lost: bool = False


class Events:
    """A subscription to this namespace's changes, from the moment it is made on."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._children: frozenset[str] = frozenset()
        self._destinations: frozenset[tuple[bytes, int]] = frozenset()
        self._indexes: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        except PermissionError:  # without CAP_NET_ADMIN the kernel's own size has to do
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.settimeout(0)
        self._socket.bind((0, _GROUPS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Give the descriptor to wait on."""
        return self._socket.fileno()

    def concern(self, plans: Iterable[Plan]) -> None:
        """Tell from now on what concerns these plans."""
        plans = tuple(plans)
        links = [link for plan in plans for link in plan.links]
        self._children = frozenset(link.name for link in links if link.kind != "master")
        self._names = frozenset(name for link in links for name in (link.name, link.master, *link.altnames) if name)
        self._destinations = frozenset(_packed(route.destination) for plan in plans for route in plan.routes)
        self._indexes = self._found()

    def read(self) -> Iterator[Event]:
        """Give what has come and concerns the plan; podlan's own changes do not."""
        for _ in range(_AT_ONCE):
            try:
                data, (sender, _) = self._socket.recvfrom(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._indexes = self._found()
                yield Event(lost=True)
                continue
            if sender == 0:  # the kernel; processes may write to this socket too
                yield from self._messages(data)

    def _messages(self, data: bytes) -> Iterator[Event]:
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, _, port = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            event = self._event(kind, data[offset + _HEADER.size : offset + length], port)
            if event is not None:
                yield event
            offset += _aligned(length)

    def _event(self, kind: int, body: bytes, port: int) -> Event | None:
        pid = port & _PID_BITS if port < 1 << 31 else 0  # above: a number that the kernel chose
        if pid == os.getpid():
            return None
        if kind in _LINKS:
            family, _, index, _, _ = _LINK.unpack_from(body)
            return Event(pid) if family == socket.AF_UNSPEC and self._is_ours(index) else None
        if kind in _ADDRESSES:
            return Event(pid) if _ADDRESS.unpack_from(body)[4] in self._indexes.values() else None
        if kind in _ROUTES:
            return self._route(body, pid, came=kind == _ROUTES[0])
        if kind in _SETTINGS:
            index = _number(_attributes(body, 4).get(_SETTINGS_INDEX))
            return Event(pid) if index in (_ALL, _DEFAULT, *self._indexes.values()) else None
        return None

    def _route(self, body: bytes, pid: int, *, came: bool) -> Event | None:
        _, length, _, _, table, protocol, _, _, _ = _ROUTE.unpack_from(body)
        if table != MAIN_TABLE:
            return None
        attributes = _attributes(body, _ROUTE.size)
        output = _number(attributes.get(_OUTPUT))
        # Routers keep thousands of routes through a master: there only the plan's destinations matter.
        ours = (attributes.get(_DESTINATION, b""), length) in self._destinations or protocol == PROTOCOL
        if not ours and output not in [self._indexes.get(name) for name in self._children]:
            return None
        return Event(pid, protocol if came and protocol != PROTOCOL else 0)

    def _is_ours(self, index: int) -> bool:
        before = self._indexes
        if index in before.values():
            self._indexes = self._found()
            return True
        # A link came, or has a name of ours by now: a renaming, an altname.
        self._indexes = self._found()
        return self._indexes != before

    def _found(self) -> dict[str, int]:
        found = {}
        for name in self._names:
            try:
                found[name] = socket.if_nametoindex(name)
            except OSError:
                continue
        return found


def _packed(destination: str) -> tuple[bytes, int]:
    address, _, length = destination.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The kernel leaves the destination of a default route out.
    return (socket.inet_pton(family, address) if int(length) else b"", int(length))


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder, signed=True)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
