"""The networks of a node's pods, as the CNI files on the node say: master, ranges, store, plugins."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.plan import File

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DATA_DIR = "/var/lib/cni/networks"
"""Where host-local keeps reservations unless told otherwise."""
_ENDINGS = (".conf", ".conflist", ".json")


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses that host-local gives out, and the one among them, or beside, that it withholds."""

    first: Address
    last: Address
    gateway: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    @property
    def size(self) -> int:
        """Count the addresses that pods can get."""
        return int(self.last) - int(self.first) + 1 - (self.gateway in self)


@dataclass(frozen=True, slots=True)
class Network:
    """A network; `sets` are host-local's: each pod gets one address of each. `hops`: a route's network and gateway."""

    file: str
    name: str
    version: str
    master: str
    types: tuple[str, ...]
    store: str
    sets: tuple[tuple[Range, ...], ...]
    routes: tuple[str, ...]
    hops: tuple[tuple[str, str], ...]

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Give the ranges of all sets."""
        return tuple(one for ranges in self.sets for one in ranges)

    def has(self, address: Address) -> bool:
        """Tell whether host-local may give this address out."""
        return any(address in one for one in self.ranges)

    @property
    def size(self) -> int:
        """Count the pods that can have addresses at once."""
        return min((sum(one.size for one in ranges) for ranges in self.sets), default=0)


def networks(directory: NodeDirectory, root: Root) -> Iterator[Network]:
    """Read the plan's CNI files as they are on the node; what is missing or broken there is read from the plan."""
    for file in directory.plan.files:
        if file.source and file.path.endswith(_ENDINGS):
            contents = (_content(file, root), directory.files.get(file.source, b""))
            found = (network(file.path, content) for content in contents)
            yield from (one for one in [next((one for one in found if one), None)] if one)


def _content(file: File, root: Root) -> bytes:
    try:
        found = root.read(file.path)
    except OSError:
        return b""
    return found.content if found is not None else b""


def network(file: str, content: bytes) -> Network | None:
    """Read a CNI file, None where it is none that podlan understands."""
    try:
        document = json.loads(content)
        plugins = document.get("plugins", [document])
        first = plugins[0]
        ipam = first.get("ipam") or {}
        types = [plugin["type"] for plugin in plugins]
        if ipam:
            types.insert(1, ipam["type"])
        name = document["name"]
        if not all(isinstance(one, str) for one in (name, *types)) or "/" in name:
            return None
        is_local = ipam.get("type") == "host-local"
        routes = ipam.get("routes") or ()
        return Network(
            file=file,
            name=name,
            version=str(document.get("cniVersion") or "0.1.0"),
            master=str(first.get("master") or ""),
            types=tuple(types),
            store=f"{str(ipam.get('dataDir') or DATA_DIR).rstrip('/')}/{name}" if is_local else "",
            sets=tuple(_sets(ipam)) if is_local else (),
            routes=tuple(str(route["dst"]) for route in routes),
            hops=tuple((str(route["dst"]), str(route["gw"])) for route in routes if route.get("gw")),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _sets(ipam: dict[str, Any]) -> Iterator[tuple[Range, ...]]:
    if "subnet" in ipam:
        yield (_range(ipam),)
    for ranges in ipam.get("ranges") or ():
        yield tuple(_range(one) for one in ranges)


def _range(one: dict[str, Any]) -> Range:
    """Fill in what host-local takes where nothing is said (allocator/range.go, Canonicalize)."""
    subnet = ipaddress.ip_network(one["subnet"])
    first = subnet.network_address + 1
    last = subnet.broadcast_address - (subnet.version == 4)  # noqa: PLR2004 - IPv6 has no broadcast
    return Range(
        ipaddress.ip_address(one.get("rangeStart") or first),
        ipaddress.ip_address(one.get("rangeEnd") or last),
        ipaddress.ip_address(one.get("gateway") or first),
    )
