"""CNI files as host-local and the kernel take them, and who would hand out what: read anew, with nothing of podlan.

Only what can be read off the files, and what the specification and host-local's README say. What podlan calls a slice,
a pool or a lock is not known here, so that a mistake in those cannot hide itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, NamedTuple


class Span(NamedTuple):
    """Addresses from `first` to `last` of one family, and whose they are."""

    family: int
    first: int
    last: int
    whose: str


class Ranges(NamedTuple):
    """One of host-local's ranges: it takes addresses from `first` to `last`, but never the gateway."""

    network: Any
    first: int
    last: int
    gateway: int


class Network:
    """One file of a node: what its plugin is asked for."""

    def __init__(self, node: str, path: Path) -> None:
        self.node = node
        self.path = path
        self.document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        is_list = path.suffix == ".conflist"
        assert is_list == ("plugins" in self.document), "a loader goes by the suffix"
        common = {key: self.document[key] for key in ("cniVersion", "name")}
        (self.plugin,) = [common | plugin for plugin in self.document["plugins"]] if is_list else [self.document]
        self.ipam: dict[str, Any] = self.plugin["ipam"]
        self.sets = [[_range(item) for item in group] for group in self.ipam["ranges"]]

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(map(int, self.plugin["cniVersion"].split(".")))

    @property
    def room(self) -> int:
        """How many pods get an address: each takes one of every set."""
        return min(sum(usable(item) for item in group) for group in self.sets)

    def gateway_of(self, family: int) -> str:
        """What a route of that family without `gw` leads to."""
        gateway = next(item.gateway for group in self.sets for item in group if item.network.version == family)
        return str(ip_address(gateway.to_bytes(4 if family == 4 else 16, "big")))

    def routes(self) -> list[tuple[str, str]]:
        return [
            (route["dst"], route.get("gw") or self.gateway_of(ip_network(route["dst"]).version))
            for route in self.ipam.get("routes", [])
        ]

    def spans(self) -> Iterator[Span]:
        for group in self.sets:
            for item in group:
                yield Span(item.network.version, item.first, item.last, f"pods of {self.node}")


def _range(written: dict[str, str]) -> Ranges:
    """Read a range with host-local's defaults: from the subnet's first address to the last that is no broadcast."""
    network = ip_network(written["subnet"])
    lowest, highest = int(network[0]) + 1, int(network[-1]) - (network.version == 4)
    first, last, gateway = (
        int(ip_address(written[key])) if key in written else default
        for key, default in (("rangeStart", lowest), ("rangeEnd", highest), ("gateway", lowest))
    )
    for key in ("rangeStart", "rangeEnd", "gateway"):
        assert key not in written or ip_address(written[key]).version == network.version
    return Ranges(network, first, last, gateway)


def usable(item: Ranges) -> int:
    return item.last - item.first + 1 - (item.first <= item.gateway <= item.last)


def files(output: Path) -> list[Network]:
    """Read what a runtime would load on every node: the first file of its directory."""
    found = []
    for node in sorted((output / "nodes").iterdir()):
        loaded = min(
            path for path in (node / "rootfs/etc/cni/net.d").iterdir() if path.suffix in {".conf", ".conflist"}
        )
        found.append(Network(node.name, loaded))
    return found


def hosts(output: Path) -> Iterator[Span]:
    """Read the addresses that nodes take for themselves, each once: with `move` one stands on two links."""
    for node in sorted((output / "nodes").iterdir()):
        plan = json.loads((node / "plan.json").read_text(encoding="utf-8"))
        for text in sorted({ip_interface(entry["address"]).ip.compressed for entry in plan.get("addresses", [])}):
            value = ip_address(text)
            yield Span(value.version, int(value), int(value), f"the host {node.name}")


def overlaps(spans: Iterable[Span]) -> list[tuple[str, str]]:
    """Name every two whose addresses are not apart, by comparing each with each."""
    ordered = list(spans)
    return [
        (one.whose, other.whose)
        for index, one in enumerate(ordered)
        for other in ordered[index + 1 :]
        if one.family == other.family and one.first <= other.last and other.first <= one.last
    ]


def unusable(network: Network) -> Iterator[str]:
    """Name what no pod may be given whatever the site says: addresses outside, network, broadcast, anycast, gateway."""
    for group in network.sets:
        assert len({item.network for item in group}) == 1, "a set gives one address, so its subnet must not vary"
        for item in group:
            subnet = item.network
            if not int(subnet[0]) <= item.first <= item.last <= int(subnet[-1]):
                yield f"{item.first}-{item.last} is not in {subnet}"
            special = {"network or anycast": int(subnet[0]), "gateway": item.gateway}
            if subnet.version == 4:
                special["broadcast"] = int(subnet[-1])
            yield from (f"{what} of {subnet}" for what, value in special.items() if item.first <= value <= item.last)
