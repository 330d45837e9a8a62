"""Addresses as integers, read as Go's net package reads them."""

from __future__ import annotations

import functools
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

BITS = {4: 32, 6: 128}


class Span(NamedTuple):
    """Addresses of one family from `first` to `last`, both included."""

    family: int
    first: int
    last: int

    def holds(self, family: int, address: int) -> bool:
        """Tell whether an address is in it."""
        return self.family == family and self.first <= address <= self.last

    def __str__(self) -> str:
        first, last = to_text(self.family, self.first), to_text(self.family, self.last)
        if first == last:
            return first
        if self.family == 4 and self.first >> 8 == self.last >> 8:  # noqa: PLR2004 - IPv4
            return f"{first}-{self.last & 0xFF}"
        return f"{first}-{last}"


def to_text(family: int, address: int) -> str:
    """Write one address."""
    return str(IPv4Address(address) if family == 4 else IPv6Address(address))  # noqa: PLR2004 - IPv4


def network_text(network: Span) -> str:
    """Write a network as CIDR; the span must be one."""
    return f"{to_text(network.family, network.first)}/{prefix_length(network)}"


def prefix_length(network: Span) -> int:
    """Count the bits that the addresses of a network share."""
    return BITS[network.family] - (network.last - network.first).bit_length()


def parse_address(text: str) -> tuple[int, int]:
    """Read an address as (family, integer); raises ValueError. An IPv4-mapped one is IPv4, as Go takes it."""
    if ":" not in text:
        return 4, int(IPv4Address(text))
    if "%" in text:
        raise AddressValueError(text)
    address = IPv6Address(text)
    mapped = address.ipv4_mapped
    return (6, int(address)) if mapped is None else (4, int(mapped))


@functools.lru_cache(maxsize=1024)  # the files of a site name few networks, ten thousand times
def parse_network(text: str) -> tuple[Span, int]:
    """Read CIDR notation as the network and the address before the slash; raises ValueError."""
    head, slash, length = text.partition("/")
    family, address = parse_address(head)
    bits = BITS[family]
    is_mapped = family == 4 and ":" in head  # noqa: PLR2004 - IPv4
    if not slash or is_mapped or not (length.isascii() and length.isdigit()) or int(length[-9:]) > bits:
        raise AddressValueError(text)
    size = 1 << (bits - int(length[-9:]))
    first = address & -size
    return Span(family, first, first + size - 1), address


def family_name(family: int) -> str:
    """Name a family as people do."""
    return f"IPv{family}"
