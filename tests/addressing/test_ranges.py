"""Ranges and sets of addresses against sets of integers, the slow way that cannot be wrong."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, summarize_address_range

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlan.addressing import Addresses, Range

ranges = st.builds(lambda first, size: Range(4, first, first + size), st.integers(0, 60), st.integers(0, 12))
changes = st.lists(st.tuples(st.booleans(), ranges), max_size=14)


@given(changes)
def test_a_set_of_ranges_is_the_set_of_its_addresses(steps):
    kept, model = Addresses(4), set()
    for add, item in steps:
        numbers = set(range(item.first, item.last + 1))
        (kept.add if add else kept.remove)(item)
        model = model | numbers if add else model - numbers
        assert [number for part in kept for number in range(part.first, part.last + 1)] == sorted(model)
        assert kept.size == len(model)
        assert kept.contains(item) == (numbers <= model)
    assert all(one.last + 1 < other.first for one, other in zip(list(kept), list(kept)[1:], strict=False))


@given(st.integers(0, 2**32 - 1), st.integers(0, 5000))
def test_networks_cover_a_range_exactly_as_the_standard_library_says(first, size):
    item = Range(4, first, min(first + size, 2**32 - 1))
    expected = summarize_address_range(IPv4Address(item.first), IPv4Address(item.last))
    assert list(item.networks()) == [str(network) for network in expected]


def test_networks_of_the_whole_of_ipv6_are_one():
    assert list(Range(6, 0, 2**128 - 1).networks()) == ["::/0"]
    item = Range(6, int(IPv6Address("fd00::10")), int(IPv6Address("fd00::1f")))
    assert list(item.networks()) == ["fd00::10/124"]


@pytest.mark.parametrize("text", ["", "10.0.0.1-", "10.0.0.2-10.0.0.1", "10.0.0.1-fd00::1", "x", "10.0.0.0/24"])
def test_the_lock_reads_no_other_notation_than_its_own(text):
    with pytest.raises(ValueError, match=r".*"):
        Range.parse(text)


def test_a_range_is_written_as_people_do_and_whole_for_programs():
    assert str(Range.parse("10.0.0.1-10.0.0.9")) == "10.0.0.1-9"
    assert str(Range.parse("10.0.0.1-10.0.1.9")) == "10.0.0.1-10.0.1.9"
    assert str(Range.parse("10.0.0.1")) == "10.0.0.1"
    assert Range.parse("10.0.0.1").text == "10.0.0.1-10.0.0.1"
