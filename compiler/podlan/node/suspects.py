"""Who undoes what podlan repairs: the process that asked the kernel for it, as far as the kernel tells."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.node.events import Event

# Programs that manage a host's network, by the name that the kernel keeps of them (15 characters).
_MANAGERS = {
    "NetworkManager": "NetworkManager",
    "systemd-network": "systemd-networkd",
    "connmand": "ConnMan",
    "dhcpcd": "dhcpcd",
    "dhclient": "dhclient",
    "wickedd": "wicked",
    "keepalived": "keepalived",
}
_DHCP_CLIENTS = ("dhclient", "dhcpcd", "udhcpc")
# Of /etc/iproute2/rt_protos, which not every node has.
_KERNEL = 2  # RTPROT_KERNEL: what follows from a change, such as an address's prefix route
_PROTOCOLS = {
    3: "boot",
    4: "static",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    18: "keepalived",
    186: "bgp",
    187: "isis",
    188: "ospf",
}
_SHOWN = 3


class Suspects:
    """Those who changed what concerns the plan since the last look."""

    def __init__(self) -> None:
        self._processes: dict[int, str] = {}
        self._protocols: dict[int, None] = {}

    def note(self, event: Event) -> None:
        """Remember who it was; a process must be asked for its name before it ends."""
        if event.pid and not self._processes.get(event.pid):
            self._processes[event.pid] = _name(event.pid)
        if event.protocol not in (0, _KERNEL):
            self._protocols[event.protocol] = None

    def clear(self) -> None:
        """Begin anew."""
        self._processes.clear()
        self._protocols.clear()

    def __str__(self) -> str:
        alive = [f"{name} (process {pid})" for pid, name in self._processes.items() if name]
        routes = [f"a route of protocol {_PROTOCOLS.get(number, number)}" for number in self._protocols]
        if alive or routes:
            return _some([*alive, *routes])
        told = f"a process that has ended since ({max(self._processes)})" if self._processes else "somebody"
        managers = sorted(set(_managers()))
        return f"{told}; {' and '.join(managers)} run here and may be who" if managers else told


def dhcp_client(inode: str) -> str:
    """Give the name and number of the DHCP client that holds this socket, '' where another program does."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib costs 10 ms
        if not entry.isdigit() or (name := _name(int(entry))) not in _DHCP_CLIENTS:
            continue
        with contextlib.suppress(OSError), os.scandir(f"/proc/{entry}/fd") as descriptors:
            if any(os.readlink(one.path) == f"socket:[{inode}]" for one in descriptors):  # noqa: PTH115 - as above
                return f"{name} (process {entry})"
    return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _name(pid: int) -> str:
    """Give the name of a process of this network namespace, '' where there is none: the number may be another's."""
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino:  # noqa: PTH116 - pathlib costs 10 ms
            return ""
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as above
            return file.read().strip()
    except OSError:
        return ""


def _managers() -> Iterator[str]:
    for name in _processes(os.listdir("/proc")):  # noqa: PTH208 - as above
        if name in _MANAGERS:
            yield _MANAGERS[name]


def _processes(entries: Iterable[str]) -> Iterator[str]:
    return (_name(int(entry)) for entry in entries if entry.isdigit())
