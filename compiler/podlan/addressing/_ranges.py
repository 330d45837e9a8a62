"""Inclusive ranges of addresses as integers, and sets of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.inventory import IP, AddressRange, Network

_BITS = {4: 32, 6: 128}
_IPV4, _IPV6 = 4, 6


class Range(NamedTuple):
    """Addresses of one family (4 or 6) from `first` to `last`, both included, as integers."""

    family: int
    first: int
    last: int

    @classmethod
    def of(cls, written: AddressRange) -> Range:
        """Take a range as people write it."""
        return cls(written.first.version, int(written.first), int(written.last))

    @classmethod
    def of_network(cls, network: Network) -> Range:
        """Take every address of a network, the unusable ones too."""
        return cls(network.version, int(network.network_address), int(network.broadcast_address))

    @classmethod
    def of_address(cls, address: IP) -> Range:
        """Take a single address."""
        return cls(address.version, int(address), int(address))

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read `first-last` or a single address, the forms of the lock; raises ValueError for anything else."""
        start, dash, end = text.partition("-")
        family, first = _address(start)
        other, last = _address(end) if dash else (family, first)
        if family != other or first > last:
            raise ValueError(text)
        return cls(family, first, last)

    @property
    def size(self) -> int:
        """Count the addresses."""
        return self.last - self.first + 1

    def contains(self, other: Range) -> bool:
        """Tell whether every address of `other` is here."""
        return self.family == other.family and self.first <= other.first and other.last <= self.last

    def overlaps(self, other: Range) -> bool:
        """Tell whether any address is in both."""
        return self.family == other.family and self.first <= other.last and other.first <= self.last

    def shared(self, other: Range) -> Range:
        """Give the addresses that are in both; they must overlap."""
        return Range(self.family, max(self.first, other.first), min(self.last, other.last))

    def networks(self) -> Iterator[str]:
        """Give the fewest CIDR networks that hold exactly these addresses, in order.

        Routes need them: the kernel refuses a destination with host bits.
        """
        for first, size in self.blocks():
            yield f"{to_text(self.family, first)}/{_BITS[self.family] - size.bit_length() + 1}"

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Give the same networks as first address and size."""
        first = self.first
        while first <= self.last:
            size = min(first & -first or 1 << _BITS[self.family], 1 << ((self.last - first + 1).bit_length() - 1))
            yield first, size
            first += size

    @property
    def text(self) -> str:
        """Write it as the lock and the CNI file do: `first-last`, both whole, also for a single address."""
        return f"{to_text(self.family, self.first)}-{to_text(self.family, self.last)}"

    def __str__(self) -> str:
        """Write it as people do: a single address alone, an IPv4 end by its last octet where the rest agrees."""
        first, last = to_text(self.family, self.first), to_text(self.family, self.last)
        if first == last:
            return first
        if self.family == _IPV4 and self.first >> 8 == self.last >> 8:
            return f"{first}-{self.last & 0xFF}"
        return f"{first}-{last}"


def to_text(family: int, address: int) -> str:
    """Write one address."""
    if family == _IPV4:
        return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
    return inet_ntop(AF_INET6, address.to_bytes(16, "big"))


def _address(text: str) -> tuple[int, int]:
    """Read an address: its family and its number.

    Without an IPv4Address or IPv6Address in between, as above: every node has a score of them, and they take many
    times as long.
    """
    family, kind = (_IPV6, AF_INET6) if ":" in text else (_IPV4, AF_INET)
    try:
        return family, int.from_bytes(inet_pton(kind, text), "big")
    except OSError:
        raise ValueError(text) from None


class Addresses:
    """A set of addresses of one family, kept as sorted, disjoint ranges that do not touch."""

    def __init__(self, family: int, ranges: Iterable[Range] = ()) -> None:
        self.family = family
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for item in sorted(ranges):
            if self._lasts and item.first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], item.last)
            else:
                self._firsts.append(item.first)
                self._lasts.append(item.last)

    def __iter__(self) -> Iterator[Range]:
        return (Range(self.family, first, last) for first, last in zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return len(self._firsts)

    def __getitem__(self, index: int) -> Range:
        return Range(self.family, self._firsts[index], self._lasts[index])

    @property
    def size(self) -> int:
        """Count the addresses."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def contains(self, item: Range) -> bool:
        """Tell whether every address of the range is in the set."""
        index = bisect_right(self._firsts, item.first) - 1
        return index >= 0 and item.last <= self._lasts[index]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def index(self, address: int) -> int:
        """Give the position of the first range that does not end before an address."""
        return bisect_left(self._lasts, address)

    def within(self, item: Range) -> Iterator[Range]:
        """Give the parts of a range that are in the set, in order."""
        for index in range(bisect_left(self._lasts, item.first), bisect_right(self._firsts, item.last)):
            first, last = max(self._firsts[index], item.first), min(self._lasts[index], item.last)
            yield Range(self.family, first, last)

    def remove(self, item: Range) -> None:
        """Take the addresses of a range out, as far as they are in."""
        start = bisect_left(self._lasts, item.first)
        end = bisect_right(self._firsts, item.last)
        if start >= end:
            return
        firsts, lasts = [], []
        if self._firsts[start] < item.first:
            firsts.append(self._firsts[start])
            lasts.append(item.first - 1)
        if self._lasts[end - 1] > item.last:
            firsts.append(item.last + 1)
            lasts.append(self._lasts[end - 1])
        self._firsts[start:end] = firsts
        self._lasts[start:end] = lasts

    def add(self, item: Range) -> None:
        """Put the addresses of a range in."""
        start = bisect_left(self._lasts, item.first - 1)
        end = bisect_right(self._firsts, item.last + 1)
        first = min([item.first, *self._firsts[start : min(end, start + 1)]])
        last = max([item.last, *self._lasts[max(start, end - 1) : end]])
        self._firsts[start:end] = [first]
        self._lasts[start:end] = [last]
