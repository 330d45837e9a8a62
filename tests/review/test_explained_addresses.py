"""`podlan explain` for addresses: whose each is, by an independent computation too."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from handmade import cases, judged

from podlan.review import explaining

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12], avoid: [172.17.0.0/16]}
cni: {name: pods}
subnets:
  lan:
    cidr: 10.0.0.0/25
    gateway: 10.0.0.126
    pool: [10.0.0.16-99]
    reserved: [{range: 10.0.0.40-47, reason: printers}, {range: 10.0.0.100-105, reason: ups}]
  six: {cidr: "fd00::/112", pool: ["fd00::10-fd00::ff"]}
masters:
  uplink: {interface: eth0, subnets: [lan, six], podsPerNode: 8, hostAccess: {pool: [10.0.0.110-113]}}
nodes:
  a: {masters: {uplink: {addresses: [10.0.0.2], ranges: [10.0.0.20-27, "fd00::20-fd00::27"]}}}
  b: {masters: {uplink: {addresses: [10.0.0.98]}}}
  c: {masters: {uplink: {addresses: [192.0.2.1]}}}
"""
LOCK = """\
quarantine lan gone 10.0.0.64-10.0.0.71
shim lan b 10.0.0.112
slice lan b 10.0.0.32-10.0.0.39
slice lan late 10.0.0.88-10.0.0.95
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Places are shown without a directory."""
    monkeypatch.chdir(tmp_path)
    return Path()


@pytest.fixture
def site(here):
    return judged(here, SITE, LOCK)


def said(site, address: str) -> str:
    return explaining.as_text(explaining.explain(site, address))


def use(number: int) -> str:
    """Say what 10.0.0.NUMBER is, read off the site and the lock by hand."""
    table = {
        "network": [0], "broadcast": [127], "gateway": [126], "node": [2, 98],
        "slice": [*range(20, 28), *range(32, 40), *range(48, 56)],
        "shim": [110 + 3, 112, 111], "quarantine": [*range(64, 72), *range(88, 96)],
        "reserved": [*range(40, 48), *range(100, 106)], "free-for-shims": [110],
    }  # fmt: skip
    found = next((name for name, numbers in table.items() if number in numbers), "")
    return found or ("free" if 16 <= number <= 99 else "outside-pool")


def test_every_address_of_a_subnet_is_explained_as_reading_the_site_by_hand_does(site):
    told = {number: explaining.explain(site, f"10.0.0.{number}") for number in range(128)}
    assert {number: answer.value["use"] for number, answer in told.items()} == {number: use(number) for number in told}
    assert all(answer.steps for answer in told.values())


def test_what_is_explained_agrees_with_the_allocation(site):
    for (subnet, node), ranges in site.allocation.slices.items():
        for item in ranges:
            for number in (item.first, item.last):
                address = ipaddress.IPv4Address(number) if item.family == 4 else ipaddress.IPv6Address(number)
                value = explaining.explain(site, str(address)).value
                assert (value["subnet"], value["use"], value["owner"]) == (subnet, "slice", node)


TOLD = """\
$ 10.0.0.0
10.0.0.0: nobody's: the network address of lan
  site  site.yaml:7:11  10.0.0.0, the network address of lan
$ 10.0.0.126
10.0.0.126: the gateway of lan
  site  site.yaml:8:14  10.0.0.126, the gateway of lan
$ 10.0.0.98
10.0.0.98: the own address of b, in lan
  node  site.yaml:16:38  10.0.0.98, the address of b
$ 10.0.0.21
10.0.0.21: a pod's on a: in its slice of lan
  pin  site.yaml:15:58  nodes.a.masters.uplink.ranges[0]: 10.0.0.20-27
$ 10.0.0.33
10.0.0.33: a pod's on b: in its slice of lan
  lock  podlan.lock:4:1  slice lan b 10.0.0.32-39
  site  site.yaml:13:63  masters.uplink.podsPerNode: 8 pods
$ 10.0.0.112
10.0.0.112: the shim of b, in lan
  lock  podlan.lock:3:1  shim lan b 10.0.0.112
$ 10.0.0.113
10.0.0.113: the shim of a, in lan
  allocator  the last free address of hostAccess.pool; `podlan compile` writes it into podlan.lock
$ 10.0.0.41
10.0.0.41: nobody's: reserved in lan (printers)
  site  site.yaml:10:24  10.0.0.40-47, reserved in lan (printers)
$ 10.0.0.64
10.0.0.64: nobody's: in quarantine in lan since gone gave it up
  lock  podlan.lock:2:1  quarantine lan gone 10.0.0.64-10.0.0.71; `podlan release SITE gone` ends it
$ 10.0.0.90
10.0.0.90: nobody's: in quarantine in lan since late gave it up
  lock  podlan.lock:5:1  slice lan late 10.0.0.88-95, which late no longer has
$ 10.0.0.80
10.0.0.80: nobody's yet: free in the pool of lan
  site  site.yaml:9:12  subnets.lan.pool[0]: 10.0.0.16-99
$ 10.0.0.110
10.0.0.110: nobody's yet: free in lan, for shims only
  site  site.yaml:13:86  masters.uplink.hostAccess.pool[0]: 10.0.0.110-113
$ 10.0.0.9
10.0.0.9: nobody's: in lan, but outside its pool
  site  site.yaml:9:12  subnets.lan.pool[0]: 10.0.0.16-99
$ 192.0.2.1
192.0.2.1: the own address of c, in no subnet of this site
  node  site.yaml:17:38  c has 192.0.2.1
  site  site.yaml:7:11   lan is 10.0.0.0/25
$ 10.97.0.1
10.97.0.1: in no subnet of this site
  site  site.yaml:3:45  cluster.serviceCIDR[0]: 10.96.0.0/12
  site  site.yaml:7:11  lan is 10.0.0.0/25
$ 172.17.0.9
172.17.0.9: in no subnet of this site
  site  site.yaml:3:68  cluster.avoid[0]: 172.17.0.0/16
  site  site.yaml:7:11  lan is 10.0.0.0/25
$ fd00::
fd00::: nobody's: the subnet-router anycast address of six
  site  site.yaml:11:15  fd00::, the subnet-router anycast address of six
$ fd00::1
fd00::1: nobody's: the first address of six, which host-local withholds where no gateway is given
  site  site.yaml:11:15  fd00::1, the first address of six, which host-local withholds where no gateway is given
"""


@pytest.mark.parametrize(("address", "expected"), cases(TOLD))
def test_an_address_is_told_with_whose_it_is_or_why_nobody_may_have_it(site, address, expected):
    assert said(site, address) == expected


def test_an_address_with_several_meanings_tells_them_all(here):
    site = judged(here, SITE.replace("10.0.0.98]", "10.0.0.101]"), LOCK)
    assert said(site, "10.0.0.101").splitlines()[1:] == [
        "  node  site.yaml:16:38  10.0.0.101, the address of b",
        "  site  site.yaml:10:65  10.0.0.100-105, reserved in lan (ups)",
    ]


def test_a_subnet_without_a_pool_says_that_all_of_it_is_one(here):
    site = judged(here, SITE.replace("    pool: [10.0.0.16-99]\n", ""), LOCK)
    assert said(site, "10.0.0.80") == (
        "10.0.0.80: nobody's yet: free in the pool of lan\n"
        "  default  site.yaml:7:11  lan has no pool of its own: every usable address\n"
    )


def test_routers_and_dns_servers_that_the_site_names_are_told_as_such(here):
    more = "    routes: [{dst: 203.0.113.0/24, gw: 10.0.0.60}]\n    dns: {nameservers: [10.0.0.61]}\n"
    site = judged(here, SITE.replace("  six:", f"{more}  six:"), LOCK)
    told = [said(site, f"10.0.0.{number}") for number in (60, 61)]
    assert told == [
        "10.0.0.60: a router of lan\n  site  site.yaml:11:40  10.0.0.60, a router of lan\n",
        "10.0.0.61: a DNS server of lan\n  site  site.yaml:12:25  10.0.0.61, a DNS server of lan\n",
    ]
