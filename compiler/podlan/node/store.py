"""host-local's store, read as host-local reads it: a file an address, in it the container and its interface."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.files import Root
    from podlan.node.networks import Address, Network

_MOST = 4096  # bytes of a reservation: an id and the name of an interface
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address that host-local holds for a container; `container` is empty where the file names none."""

    store: str
    address: Address
    container: str
    interface: str = ""

    @property
    def path(self) -> str:
        """Give the file."""
        return f"{self.store}/{self.address}"

    @property
    def whose(self) -> str:
        """Give the container, short as runtimes show it."""
        return f"container {self.container[:13]}"


def reservations(network: Network, root: Root) -> tuple[Reservation, ...]:
    """Read the store of a network."""
    return tuple(stored(network.store, root)) if network.store else ()


def stored(store: str, root: Root) -> Iterator[Reservation]:
    """Read a store; what ends while we read is left out."""
    try:
        names = os.listdir(root.shown(store))  # noqa: PTH208 - strings, as everywhere here
    except OSError:
        return
    for address in sorted(_addresses(names), key=lambda one: (one.version, int(one))):
        content = _content(root.shown(f"{store}/{address}"))
        if content is not None:
            container, _, interface = (part.strip() for part in content.partition("\n"))
            yield Reservation(store, address, container if _CONTAINER.fullmatch(container) else "", interface)


def _addresses(names: list[str]) -> Iterator[Address]:
    for name in names:
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(name)
            if str(address) == name:
                yield address


def _content(path: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            return file.read(_MOST).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def freeing(one: Reservation, root: Root) -> str:
    """Give the command that frees it while host-local waits, and only if it is still the same one.

    host-local locks by flock(2) (plugins/ipam/host-local/backend/disk/lock.go).
    """
    lock, path = (shlex.quote(root.shown(part)) for part in (f"{one.store}/lock", one.path))
    if not one.container:
        return f"`flock {lock} rm -- {path}`"
    return f"`flock {lock} sh -c {shlex.quote(f'grep -q ^{one.container} {path} && rm -- {path}')}`"
