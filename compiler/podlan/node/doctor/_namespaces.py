"""The pods' ends of macvlan: every network namespace of this machine, asked over netlink by a child that enters it.

Nothing is said of who made a namespace, so it holds for every runtime, and for what no runtime knows.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podlan.node._kernel import Kernel
from podlan.node.files import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMED = ("/run/netns", "/run/docker/netns")
_NEWNET = 0x4000_0000  # CLONE_NEWNET
_SECONDS = 20.0  # for all namespaces; each takes a few milliseconds
_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_GETNSID, _NEWNSID, _REQUEST = 90, 88, 1
_NSID, _FD = 1, 3  # NETNSA_NSID, NETNSA_FD


@dataclass(frozen=True, slots=True)
class PodLink:
    """A macvlan child of one of this node's links, in another namespace."""

    master: str
    mac: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pods:
    """All of them; `complete` is False where a namespace could not be entered."""

    links: tuple[PodLink, ...]
    complete: bool

    @property
    def addresses(self) -> frozenset[str]:
        """Give the addresses of all pods."""
        return frozenset(address for link in self.links for address in link.addresses)


def pods(masters: dict[int, str]) -> Pods:
    """Find the children of these links, by the links' indexes."""
    end, other_end = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(end)
            _write(other_end, json.dumps(_survey(masters)).encode())
        os._exit(0)
    os.close(other_end)
    try:
        text = _read(end)
    finally:
        os.close(end)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        found, complete = json.loads(text)
    except ValueError:
        return Pods((), complete=False)
    return Pods(tuple(PodLink(master, mac, tuple(addresses)) for master, mac, addresses in found), bool(complete))


def _read(end: int) -> bytes:
    text = b""
    until = time.monotonic() + _SECONDS
    while (left := until - time.monotonic()) > 0 and select.select([end], [], [], left)[0]:
        part = os.read(end, 1 << 16)
        if not part:
            return text
        text += part
    return b""


def _write(end: int, text: bytes) -> None:
    while text:
        text = text[os.write(end, text) :]


def _survey(masters: dict[int, str]) -> tuple[list[Any], bool]:
    import ctypes  # noqa: PLC0415 - 11 ms, and only in this child

    enter = ctypes.CDLL(None, use_errno=True).setns
    here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    seen = {os.fstat(here).st_ino}
    found: list[Any] = []
    complete = True
    for path in _paths():
        try:
            if os.stat(path).st_ino in seen:  # noqa: PTH116 - strings, as everywhere here
                continue
            namespace = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:  # it ended meanwhile
            continue
        except OSError as error:
            complete = complete and error.errno == errno.ESRCH
            continue
        seen.add(os.fstat(namespace).st_ino)
        if not enter(namespace, _NEWNET):
            found += _children(masters, here)
        elif ctypes.get_errno() != errno.EINVAL:  # EINVAL: what is left of a namespace's name
            complete = False
        os.close(namespace)
    return found, complete


def _paths() -> Iterator[str]:
    for place in _NAMED:
        with contextlib.suppress(OSError):
            yield from (f"{place}/{name}" for name in os.listdir(place))  # noqa: PTH208 - strings, as everywhere here
    # The machine's init is no pod, and may be more than root may look at.
    yield from (f"/proc/{name}/ns/net" for name in os.listdir("/proc") if name.isdigit() and name != "1")  # noqa: PTH208 - as above


def _children(masters: dict[int, str], home: int) -> Iterator[Any]:
    with Kernel(Root()) as kernel:
        messages = [one for one in kernel.links_of_kind("macvlan") if one.get("link_netnsid") is not None]
        if not messages:
            return
        # An index means something in its own namespace only, and this one may have several neighbours.
        number = _number_of(home)
        addresses = kernel.addresses()
    for message in messages:
        master = masters.get(message.get("link"))
        if master is None or message.get("link_netnsid") != number:
            continue
        own = [one.get("local") or one.get("address") for one in addresses if one["index"] == message["index"]]
        yield master, str(message.get("address") or "").lower(), own


def _number_of(namespace: int) -> int | None:
    """Give the number by which this namespace knows another one (RTM_GETNSID)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as netlink:
        body = struct.pack("=BxxxHHI", 0, 8, _FD, namespace)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _GETNSID, _REQUEST, 1, 0) + body)
        answer = netlink.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _NEWNSID:
        return None
    position = _HEADER.size + 4
    while position + 8 <= len(answer):
        length, kind = struct.unpack_from("=HH", answer, position)
        if kind == _NSID:
            number: int = struct.unpack_from("=i", answer, position + 4)[0]
            return number
        position += max(4, length + 3 & ~3)
    return None
