"""The thin context that operations act on: one netlink socket, /proc/sys, and the root of the file tree."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from podlan.node.files import Root

_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_INTERRUPTED = -1  # pyroute2's number for NLM_F_DUMP_INTR
_DUMP_ATTEMPTS = 20
MAIN_TABLE = 254


def import_pyroute2() -> tuple[Any, Any]:
    """Import what podlan needs of pyroute2 without running its package's `__init__`, which costs 40 ms more.

    A bare package stands in for it during the import only, so that a later `import pyroute2` is whole.
    """
    name = "pyroute2"
    if name not in sys.modules:
        from importlib.util import find_spec  # noqa: PLC0415 - needed on this path only

        spec = find_spec(name)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("pyroute2 is not installed", name=name)
        stand_in: Any = type(sys)(name)
        stand_in.__path__ = list(spec.submodule_search_locations)
        sys.modules[name] = stand_in
        try:
            return _names()
        finally:
            del sys.modules[name]
    return _names()


def _names() -> tuple[Any, Any]:
    from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415 - 100 ms: only when netlink is spoken
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - as above

    return IPRoute, NetlinkError


class Unanswered(OSError):
    """The kernel was asked, or not even that, and its answer was lost: nobody knows whether it did what it was told."""


class Kernel:
    """What operations need of the world; every refusal of the kernel comes out as an OSError with its text."""

    def __init__(self, files: Root, proc: str = "/proc/sys") -> None:
        self._open, self._refusal = import_pyroute2()
        self._netlink = self._opened()
        self._indexes: dict[str, int] = {}
        self.files = files
        self.proc = proc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _opened(self) -> Any:  # noqa: ANN401 - a pyroute2 socket
        return self._open(ext_ack=True, strict_check=True)

    def _close(self) -> None:
        # A socket on which something went wrong raises that again.
        with contextlib.suppress(OSError):
            self._netlink.close()

    def _dump(self, ask: Callable[[], Iterable[Any]]) -> list[Any]:
        """Ask for a whole table; the kernel tells when it changed underneath, and then we ask again."""
        for _ in range(_DUMP_ATTEMPTS):
            try:
                with self._refusals():
                    return list(ask())
            except OSError as error:
                if error.errno != _INTERRUPTED:
                    raise
        raise OSError(errno.EAGAIN, "the kernel's tables change faster than they can be read")

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except self._refusal as error:
            raise OSError(error.code, str(error.args[-1])) from error
        except struct.error as error:
            raise OSError(str(error)) from error
        except OSError as error:
            # Not the kernel's refusal: sending or receiving failed. pyroute2 raises the same from then on, whatever is
            # asked, and an answer may still be on its way; what is to be taken back needs a socket that works.
            self._close()
            self._netlink = self._opened()
            raise Unanswered(error.errno, error.strerror) from error

    def link(self, command: str, **attributes: object) -> list[Any]:
        """Send one link message; names are resolved by the caller."""
        with self._refusals():
            return list(self._netlink.link(command, **attributes))

    def find_link(self, name: str) -> Any | None:  # noqa: ANN401 - a pyroute2 message
        """Give the link's message, or None where there is no link of that name or altname."""
        try:
            message = self.link("get", ifname=name, ext_mask=_SKIP_STATISTICS)[0]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        self._indexes[message.get("ifname")] = message["index"]
        return message

    def index(self, name: str) -> int:
        """Give the link's index; a link that is not there is an OSError that names it."""
        message = self.find_link(name)
        if message is None:
            raise OSError(errno.ENODEV, f"there is no interface {name}")
        index: int = message["index"]
        return index

    def own_name(self, name: str) -> str:
        """Give the name under which the kernel shows the link that has this name or altname, '' without one."""
        message = self.find_link(name)
        return "" if message is None else str(message.get("ifname"))

    def name(self, index: int) -> str:
        """Give the name of the link with this index, '' for one that is gone."""
        for name, known in self._indexes.items():
            if known == index:
                return name
        try:
            message = self.link("get", index=index, ext_mask=_SKIP_STATISTICS)[0]
        except OSError:
            return ""
        name = str(message.get("ifname"))
        self._indexes[name] = index
        return name

    def links_of_kind(self, kind: str) -> list[Any]:
        """Give the messages of all links of this kind in this namespace."""
        messages = self._dump(lambda: self._netlink.get_links(kind=kind, ext_mask=_SKIP_STATISTICS))
        # A kernel without the kind's module ignores the filter.
        return [message for message in messages if message.get(("linkinfo", "kind")) == kind]

    def listening(self, index: int) -> tuple[str, ...]:
        """Give the unicast MACs that a link takes frames for beside its own: children in any namespace ask for them."""
        messages = self._dump(lambda: self._netlink.fdb("dump", ifindex=index))
        macs = [str(message.get("lladdr") or "") for message in messages if message["ifindex"] == index]
        return tuple(sorted({mac.lower() for mac in macs if mac and not int(mac[:2], 16) & 1}))

    def addresses(self, index: int | None = None) -> list[Any]:
        """Give the messages of all addresses, or of those on one link."""
        return self._dump(lambda: self._netlink.get_addr(**({} if index is None else {"index": index})))

    def address(self, command: str, **attributes: object) -> None:
        """Send one address message."""
        with self._refusals():
            self._netlink.addr(command, **attributes)

    def routes(self, family: int) -> list[Any]:
        """Give the messages of the main table of one family."""
        messages = self._dump(lambda: self._netlink.get_routes(family=family, table=MAIN_TABLE))
        return [message for message in messages if message["family"] == family]

    def route(self, command: str, **attributes: object) -> None:
        """Send one route message."""
        with self._refusals():
            self._netlink.route(command, **attributes)

    @property
    def has_ipv6(self) -> bool:
        """Tell whether this kernel speaks IPv6."""
        return os.path.isdir(os.path.join(self.proc, "net/ipv6"))  # noqa: PTH112, PTH118 - pathlib costs 10 ms

    def sysctl(self, key: str) -> str | None:
        """Read a value below /proc/sys, blanks made single; None where there is no such key."""
        try:
            with open(os.path.join(self.proc, key), encoding="ascii") as file:  # noqa: PTH118, PTH123 - pathlib costs 10 ms
                return " ".join(file.read().split())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_sysctl(self, key: str, value: str) -> None:
        """Write a value below /proc/sys."""
        # Without a buffer: closing one writes again what could not be written, after the failure was told.
        with open(os.path.join(self.proc, key), "wb", buffering=0) as file:  # noqa: PTH118, PTH123 - as above
            file.write(f"{value}\n".encode("ascii"))
