"""The reader says of a configuration what the real host-local does with it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import tempfile
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path

import pytest
from cni_files import config, rng
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podlan.audit._go_json import Fields
from podlan.audit._host_local import read_host_local

HOST_LOCAL = shutil.which("host-local", path="/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni")
MOST = 20
FOUR = {"subnet": "10.0.0.0/28"}
SIX = {"subnet": "fd00::/124"}


def handed_out(written: dict) -> list[set[str]] | None:
    """Ask the real plugin for addresses until it has no more; None where it refuses the configuration.

    One set of addresses per set of ranges; of a large one the first MOST.
    """
    assert HOST_LOCAL, "install the CNI plugins (Debian: containernetworking-plugins)"
    found: list[set[str]] = []
    with tempfile.TemporaryDirectory() as store:
        conf = {**written, "ipam": {**written["ipam"], "dataDir": store}}
        for number in range(MOST):
            env = {
                **os.environ,
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": f"pod{number}",
                "CNI_NETNS": "/var/run/netns/none",  # host-local does not look at it
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(Path(HOST_LOCAL).parent),
            }
            done = subprocess.run(
                [HOST_LOCAL], input=json.dumps(conf), env=env, text=True, capture_output=True, check=False
            )
            result = json.loads(done.stdout)
            if "failed to allocate" in result.get("msg", ""):
                break
            if "msg" in result:
                assert number == 0, result
                return None
            before_0_3 = [{"address": result[key]["ip"]} for key in ("ip4", "ip6") if key in result]
            addresses = [str(ip_interface(item["address"]).ip) for item in result.get("ips", before_0_3)]
            found = found or [set() for _ in addresses]
            for group, address in zip(found, addresses, strict=True):
                group.add(address)
    return found


def said(written: dict) -> list[set[str]] | None:
    """Give the same by the audit's reader."""
    reading = read_host_local(Fields(written), Fields(written["ipam"]), ("ipam",), ())
    if reading.refused:
        return None
    spans = [[part for item in group for part in item.parts()] for group in reading.sets]
    return [
        {
            str(IPv4Address(value) if part.family == 4 else IPv6Address(value))
            for part in parts
            for value in itertools.islice(range(part.first, part.last + 1), MOST + 2)
        }
        for parts in spans
    ]


ODD = {
    "defaults": config([FOUR]),
    "defaults of IPv6": config([SIX]),
    "the old form beside ranges": config([FOUR], subnet="10.1.0.0/29"),
    "the old form alone": config(subnet="10.0.0.0/24", rangeStart="10.0.0.10", rangeEnd="10.0.0.13"),
    "ends without a subnet are forgotten": config([FOUR], rangeStart="10.0.0.4", rangeEnd="10.0.0.5"),
    "a bad end without a subnet": config([FOUR], rangeStart="10.0.0"),
    "keys in other cases": {**config(), "ipam": {"type": "host-local", "RANGES": [[{"Subnet": "10.0.0.0/29"}]]}},
    "network and broadcast": config([rng(0, 2), rng(254, 255, gateway="10.0.0.99")]),
    "gateway inside": config([rng(8, 12, gateway="10.0.0.10")]),
    "gateway of one range in the other": config([rng(8, 9, gateway="10.0.0.12"), rng(11, 12, gateway="10.0.0.8")]),
    "nothing but the gateway": config([rng(1, 1, gateway="10.0.0.1")]),
    "gateway elsewhere": config([rng(8, 9, gateway="192.168.0.1")]),
    "gateway of IPv6": config([rng(8, 9, gateway="fd00::1")]),
    "empty and null are not given": config([{**FOUR, "rangeStart": "", "rangeEnd": None, "gateway": ""}]),
    "mapped addresses": config([{**FOUR, "rangeStart": "::ffff:10.0.0.9", "gateway": "::ffff:10.0.0.10"}]),
    "a mapped subnet": config([{"subnet": "::ffff:10.0.0.0/124"}]),
    "leading zeros of a length": config([{"subnet": "10.0.0.0/028"}]),
    "leading zeros of an octet": config([{"subnet": "10.0.0.00/28"}]),
    "a mask": config([{"subnet": "10.0.0.0/255.255.255.240"}]),
    "no length": config([{"subnet": "10.0.0.0"}]),
    "a length too long": config([{"subnet": "10.0.0.0/33"}]),
    "a signed length": config([{"subnet": "10.0.0.0/+24"}]),
    "a zone": config([{"subnet": "fd00::%eth0/124"}]),
    "subnet null": config([{"subnet": None}]),
    "subnet missing": config([{"rangeStart": "10.0.0.1"}]),
    "subnet a number": config([{"subnet": 10}]),
    "host bits": config([{"subnet": "10.0.0.5/24"}]),
    "a /30": config([{"subnet": "10.0.0.0/30"}]),
    "a /31": config([{"subnet": "10.0.0.0/31"}]),
    "a /32": config([{"subnet": "10.0.0.0/32"}]),
    "a /127": config([{"subnet": "fd00::/127"}]),
    "start after end": config([rng(20, 10)]),
    "end is the network": config([{**FOUR, "rangeEnd": "10.0.0.0"}]),
    "start outside": config([{**FOUR, "rangeStart": "10.0.0.200"}]),
    "end outside": config([{**FOUR, "rangeEnd": "10.0.1.2"}]),
    "start with a length": config([{**FOUR, "rangeStart": "10.0.0.1/28"}]),
    "both families in one set": config([FOUR, SIX]),
    "both families": config([FOUR], [SIX]),
    "overlap in a set": config([rng(8, 12), rng(12, 13)]),
    "one inside the other": config([rng(8, 20), rng(10, 11)]),
    "overlap of sets": config([rng(8, 12)], [rng(10, 13)]),
    "no overlap of sets": config([rng(8, 9)], [rng(10, 11)]),
    "two sets of one family before 0.3": {**config([rng(8, 9)], [rng(10, 11)]), "cniVersion": "0.2.0"},
    "two families before 0.3": {**config([FOUR], [SIX]), "cniVersion": "0.2.0"},
    "no ranges": config(),
    "ranges empty": config(ranges=[]),
    "ranges null": config(ranges=None),
    "a set empty": config([]),
    "a set null": config(ranges=[None]),
    "a range null": config([None]),
    "a range that is text": config(["10.0.0.0/24"]),
    "flat ranges": config(ranges=[FOUR]),
    "ranges that are text": config(ranges="10.0.0.0/24"),
    "an exclusion": config([{**rng(8, 12), "exclude": ["10.0.0.9"]}], exclude=["10.0.0.10/32"]),
    "ranges of the runtime": {**config([FOUR]), "runtimeConfig": {"ipRanges": [[{"subnet": "10.2.0.0/30"}]]}},
    "routes": config([FOUR], routes=[{"dst": "0.0.0.0/0", "gw": ""}, {"gw": "10.0.0.3"}, None]),
    "a route with a bad target": config([FOUR], routes=[{"dst": "default"}]),
    "a route with a null target": config([FOUR], routes=[{"dst": None}]),
    "a route with a bad next hop": config([FOUR], routes=[{"dst": "0.0.0.0/0", "gw": "10.0.0"}]),
    "a route that is text": config([FOUR], routes=["0.0.0.0/0"]),
    "routes that are an object": config([FOUR], routes={"dst": "0.0.0.0/0"}),
    "resolvConf a number": config([FOUR], resolvConf=5),
}


@pytest.mark.parametrize("name", ODD)
def test_host_local_does_what_the_reader_says(name):
    written = ODD[name]
    expected = said(written)
    given_out = handed_out(written)
    assert (given_out is None) == (expected is None)
    if expected is None or given_out is None:
        return
    if not all(expected):
        assert not given_out, "a set without addresses leaves every pod without any"
        return
    # Every pod takes one address of each set, so that the smallest set ends it.
    rounds = min(MOST, *map(len, expected))
    for group, promised in zip(given_out, expected, strict=True):
        assert group <= promised
        assert len(group) == rounds


def test_a_range_that_starts_at_the_broadcast_address_leaves_its_subnet():
    written = config([{"subnet": "10.0.0.0/28", "rangeStart": "10.0.0.15"}])
    given_out = handed_out(written)
    assert given_out
    assert "10.0.0.20" in given_out[0]
    assert said(written) is None, "so the audit calls it an error"


octets = st.integers(min_value=0, max_value=15)
ends = st.one_of(st.none(), octets.map(lambda last: f"10.0.0.{last}"))
ranges = st.fixed_dictionaries(
    {"subnet": st.sampled_from(["10.0.0.0/28", "10.0.0.0/29", "10.0.0.8/29", "10.0.0.4/30"])},
    optional={"rangeStart": ends, "rangeEnd": ends, "gateway": ends},
)


def runs_away(item: dict) -> bool:
    """Tell the one thing in which reader and plugin differ (test_a_range_that_starts_at_the_broadcast…)."""
    return item.get("rangeEnd") is None and item.get("rangeStart") in {"10.0.0.7", "10.0.0.15"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ranges.filter(lambda item: not runs_away(item)), min_size=1, max_size=3))
def test_any_set_of_small_ranges_is_read_as_host_local_reads_it(group):
    written = config(group)
    expected = said(written)
    given_out = handed_out(written)
    if expected is None or not expected[0]:
        assert not given_out
    else:
        assert given_out == expected
