"""`podlan show`: how full the subnets are, whose the slices are, and the map."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from handmade import judged
from hypothesis import given
from hypothesis import strategies as st

from podlan.review import figures, mapping, showing
from podlan.review.land import Use, lands

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan:
    cidr: 10.0.0.0/25
    gateway: 10.0.0.126
    pool: [10.0.0.16-99]
    reserved: [{range: 10.0.0.40-47, reason: printers}]
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 6}
nodes:
  a: {address: 10.0.0.2, ranges: [10.0.0.20-27]}
  b: {address: 10.0.0.98}
  c: {address: 10.0.0.3}
"""
LOCK = "quarantine lan gone 10.0.0.64-10.0.0.71\nslice lan b 10.0.0.32-10.0.0.39\n"


PAGE = """\
subnet  cidr         pool  used  slices  shims  reserved  quarantined  other  free  waste
lan     10.0.0.0/25    84   47%      24      3         8            8      1    40      4

lan 10.0.0.0/25, one cell an address
  10.0.0.0   x-NN------------....########....
  10.0.0.32  ========rrrrrrrr########........
  10.0.0.64  qqqqqqqq........................
  10.0.0.96  ssNs--------------------------Gx
  # slice  = the next slice  s shim  . free  q quarantined  r reserved  N a node's own  G gateway  x unusable
  - outside the pool

node  subnet  slice         size  pods  waste  from    shim
a     lan     10.0.0.20-27     8     6      0  pinned  10.0.0.99
b     lan     10.0.0.32-39     8     6      2  locked  10.0.0.97
c     lan     10.0.0.48-55     8     6      2  new     10.0.0.96
"""


@pytest.fixture
def site(tmp_path):
    return judged(tmp_path, SITE, LOCK)


def test_tables_and_map_fit_a_page(site):
    assert showing.as_text(site, draw=True) == PAGE


def test_the_parts_of_a_pool_add_up_and_agree_with_counting_address_by_address(site):
    cut = figures.slices(site, site.site, site.allocation)
    ((found, land),) = figures.subnets(site.site, site.allocation, cut)
    parts = found.slices + found.shims + found.reserved + found.quarantined + found.other + found.free
    assert parts == found.size == 84
    assert (found.asked, found.waste) == (12, 4)
    counted = dict.fromkeys(range(128), 0)
    for piece in land.pieces:
        for number in range(piece.range.first, piece.range.last + 1):
            counted[number & 0x7F] += 1
    assert set(counted.values()) == {1}


def test_json_holds_the_numbers_the_slices_and_the_map(project):
    values = json.loads(project.run("show", "site", "--map", "--format", "json").stdout)
    (subnet,) = values["subnets"]
    assert subnet["size"] == 184
    assert subnet["free"] == 184 - 48 - 3
    assert subnet["waste"] == 18
    assert subnet["freeRanges"] == ["10.0.0.64-10.0.0.196"]
    assert "".join(subnet["map"]["rows"]).count("#") == 32
    assert values["slices"][0] == {
        "node": "node-1",
        "subnet": "lan",
        "ranges": ["10.0.0.16-10.0.0.31"],
        "size": 16,
        "pods": 10,
        "waste": 6,
        "from": "new",
        "shim": "10.0.0.199",
    }
    assert "map" not in json.loads(project.run("show", "site", "--format", "json").stdout)["subnets"][0]


def test_a_site_with_errors_shows_its_findings(project):
    project.change("10.0.0.2}", "10.0.0.1}")
    said = project.run("show", "site", code=1)
    assert "PL204" in said.stderr
    assert not said.stdout


def test_slices_outside_the_pool_are_counted_apart(tmp_path):
    site = judged(tmp_path, SITE.replace("10.0.0.20-27", "10.0.0.104-111"), LOCK)
    assert "8 addresses of slices lie outside the pool of lan" in showing.as_text(site)


LARGE = {
    "a v4 network of millions": ("10.0.0.0/8", "10.0.0.1", ""),
    "a v6 network": ("fd00::/64", "fd00::1", ""),
    "a v6 pool": ("fd00::/64", "fd00::1", ', pool: ["fd00::1000-fd00::1fff"]'),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_map_of_any_subnet_is_small_and_instant(tmp_path, case):
    cidr, gateway, pool = LARGE[case]
    nodes = "".join(f"  n{number}: {{pods: 4}}\n" for number in range(300))
    site = judged(
        tmp_path,
        "version: 1\nsite: test\ncluster: {kubernetes: '1.31'}\ncni: {name: pods}\n"
        f"subnets:\n  net: {{cidr: '{cidr}', gateway: '{gateway}'{pool}}}\n"
        f"masters:\n  uplink: {{interface: eth0, subnets: [net]}}\nnodes:\n{nodes}",
    )
    start = time.process_time()
    (land,) = lands(site.site, site.allocation).values()
    drawn = mapping.draw(land)
    lines = list(mapping.as_lines(land))
    assert time.process_time() - start < 2
    assert sum(map(len, drawn.rows)) <= mapping.CELLS
    assert len(lines) <= 66
    assert max(map(len, lines)) < 170
    assert "\033" not in "".join(lines)
    assert "".join(lines).isascii()


@given(st.integers(16, 29))
def test_a_map_says_what_is_there_whatever_its_scale(prefix):
    text = (
        "version: 1\nsite: test\ncluster: {kubernetes: '1.31'}\ncni: {name: pods}\n"
        f"subnets:\n  net: {{cidr: 10.64.0.0/{prefix}, gateway: 10.64.0.1}}\n"
        "masters:\n  uplink: {interface: eth0, subnets: [net], hostAccess: {via: none}}\n"
        "nodes:\n  a: {ranges: [10.64.0.2]}\n"
    )
    with TemporaryDirectory() as directory:
        site = judged(Path(directory), text)
        (land,) = lands(site.site, site.allocation).values()
        drawn = mapping.draw(land)
    cells = "".join(drawn.rows)
    assert len(cells) * drawn.block >= land.ground.network.size
    if drawn.block == 1:
        assert cells[:3] == "xG#"
        assert cells[-1] == "x"
        assert set(cells[3:-1]) <= {"."}
    else:
        assert cells[0] in "123456789"
        assert set(cells[2:-1]) == {"."}


def test_colour_is_for_terminals_only(project):
    assert "\033" not in project.run("show", "site", "--map").stdout


def test_every_use_has_a_symbol_and_every_symbol_its_meaning():
    assert {use for use in Use if use is not Use.SLICE} == set(mapping._SYMBOLS)  # noqa: SLF001 - the table itself
    assert set(mapping._SYMBOLS.values()) <= set(mapping._LEGEND)  # noqa: SLF001 - the table itself
