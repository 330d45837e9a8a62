"""The outputs of several sites: each audited by itself, and all of them by their subnets."""

from __future__ import annotations

import itertools
import json
import tempfile
from ipaddress import ip_network
from pathlib import Path

import pytest
from cni_files import codes, config, rng, write
from hypothesis import given, settings
from hypothesis import strategies as st

from podlan.audit import audit, parse_network

SITE = """\
version: 1
site: {name}
cluster: {{kubernetes: "1.31"}}
cni: {{name: pods}}
subnets:
  lan: {{cidr: {lan}.0/24, gateway: {lan}.254, pool: [{lan}.{pool}]}}
masters:
  uplink: {{interface: eth0, subnets: [lan], podsPerNode: 10}}
nodes:
  a: {{address: {lan}.{own}1}}
  b: {{address: {lan}.{own}2}}
"""


def compiled(project, *sites):
    """Compile sites, each (name, LAN) or (name, LAN, pool, digit before its nodes' addresses), into outputs/NAME."""
    for name, lan, *more in sites:
        pool, own = more or ("16-99", "")
        text = SITE.format(name=name, lan=lan, pool=pool, own=own)
        write(project.path, {f"sites/{name}/site.yaml": text})
    project.run("compile", *(f"sites/{name}" for name, *_ in sites), "-o", "outputs", "--shard", "1/1")


def output(name, *subnets, node="a"):
    """Give an output as podlan writes it, of one node with a range of one address in every subnet."""
    sets = [
        [{"subnet": subnet, "rangeStart": middle, "rangeEnd": middle, "gateway": str(hosts[-1])}]
        for subnet in subnets
        for hosts in [list(ip_network(subnet).hosts())]
        for middle in [str(hosts[len(hosts) // 2])]
    ]
    plan = {"version": 1, "node": node, "cni": {"file": "/etc/cni/net.d/05-podlan.conf"}}
    return {
        f"{name}/site.json": {"version": 1, "site": name},
        f"{name}/nodes/{node}/plan.json": plan,
        f"{name}/nodes/{node}/rootfs/etc/cni/net.d/05-podlan.conf": config(*sets),
    }


def test_sites_with_subnets_of_their_own_are_clean_though_their_nodes_have_the_same_names(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.2"))
    told = project.run("audit", "outputs").stdout
    assert told == (
        "2 sites, 4 files, 4 nodes, 64 addresses: none is handed out twice, no subnets of two sites overlap\n"
    )


def test_subnets_of_two_sites_that_overlap_are_an_error_that_names_both_even_if_no_address_is_twice(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.1", "112-199", "20"), ("dc3", "10.0.3"))
    told = project.run("audit", "outputs", code=1).stdout
    assert "error[PL727]: subnets of different sites overlap: 10.0.1.0/24 of dc1 and 10.0.1.0/24 of dc2" in told
    assert told.count("error[") == 1
    assert "outputs/dc1/nodes/a/rootfs/etc/cni/net.d/05-podlan.conflist" in told
    assert "dc3" not in told.replace("outputs/dc3", "")


def test_what_every_shard_compiled_is_joined_by_naming_all_outputs(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.1"))
    assert "PL727" in project.run("audit", "outputs/dc1", "outputs/dc2", code=1).stdout
    for alone in ("outputs/dc1", "outputs/dc2"):
        project.run("audit", alone)


def test_a_site_apart_is_audited_and_compared_with_none(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.1"))
    project.run("audit", "outputs", "--apart", "dc2")
    other = project.path / "outputs/dc2/nodes"
    (file,) = (other / "b/rootfs/etc/cni/net.d").iterdir()
    (first,) = (other / "a/rootfs/etc/cni/net.d").iterdir()
    file.write_bytes(first.read_bytes())
    assert "PL720" in project.run("audit", "outputs", "--apart", "dc2", code=1).stdout
    told = project.run("audit", "outputs", "--apart", "dc9", code=1).stderr
    assert "no output here is of a site dc9; there are: dc1, dc2" in told


def test_on_a_shared_lan_only_addresses_must_be_apart(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.1", "112-199", "20"), ("dc3", "10.0.1", "80-111", "21"))
    told = project.run("audit", "outputs/dc1", "outputs/dc2", "--shared", "10.0.0.0/22").stdout
    assert told.startswith("2 sites, 4 files, 4 nodes, 64 addresses: none is handed out twice")
    told = project.run("audit", "outputs", "--shared", "10.0.1.0/24", code=1).stdout
    assert "error[PL723]: 10.0.1.98 is dc1/b's address on macvlan0, and dc3/b could hand it out" in told
    assert "PL727" not in told
    assert "dc2" not in told


def test_a_shared_lan_does_not_hide_a_larger_subnet_around_it(tmp_path):
    lan = parse_network("10.0.0.0/24")[0]
    write(tmp_path, output("dc1", "10.0.0.0/24") | output("dc2", "10.0.0.0/16"))
    assert "PL727" in codes(audit([str(tmp_path)], shared=[lan]))


def test_what_lies_in_no_output_is_audited_too_and_compared_with_the_sites(tmp_path):
    write(tmp_path, output("dc1", "10.0.1.0/24") | output("dc2", "10.0.2.0/24"))
    assert audit([str(tmp_path)]).findings == []
    write(tmp_path, {"gathered/x.conf": config([rng(1, 9)]), "gathered/y.conf": config([rng(9, 19)])})
    report = audit([str(tmp_path)])
    assert codes(report) == ["PL720"]
    assert (report.outputs, report.files, report.nodes) == (2, 4, 4)
    write(tmp_path, output("dc3", "10.0.0.0/24"))
    report = audit([str(tmp_path)])
    assert codes(report) == ["PL720", "PL727"]
    assert any("of the files outside every site" in one.message for one in report.findings)


def test_a_nodes_own_address_in_the_subnet_of_another_site_is_found(tmp_path):
    files = output("dc1", "10.0.1.0/24") | output("dc2", "10.0.2.0/24")
    for address, found in (("10.0.2.9/24", []), ("fe80::1/64", []), ("10.0.1.9/24", ["PL727"])):
        files["dc2/nodes/a/plan.json"]["addresses"] = [{"link": "eth0", "address": address, "adopt": True}]
        assert codes(audit([str(write(tmp_path, files))])) == found


def test_the_output_of_a_site_without_cni_files_proves_nothing(tmp_path):
    write(tmp_path, output("dc1", "10.0.1.0/24") | {"dc2/site.json": {"version": 1, "site": "dc2"}})
    (tmp_path / "dc2/nodes").mkdir()
    assert codes(audit([str(tmp_path)])) == ["PL712"]


def test_one_output_named_twice_or_through_a_link_is_one(tmp_path):
    write(tmp_path, output("dc1", "10.0.1.0/24"))
    (tmp_path / "link").symlink_to("dc1")
    (tmp_path / "loop").symlink_to(".")
    assert audit([str(tmp_path), str(tmp_path / "dc1")]).outputs == 1


def test_two_outputs_that_say_they_are_one_site_are_told_by_their_paths(tmp_path):
    write(tmp_path / "old", output("dc1", "10.0.1.0/24"))
    write(tmp_path / "new", output("dc1", "10.0.1.0/24"))
    (finding,) = audit([str(tmp_path)]).findings
    assert f"dc1 ({tmp_path}/new/dc1)" in finding.message
    assert f"dc1 ({tmp_path}/old/dc1)" in finding.message


@pytest.mark.parametrize("marker", ["", "[]", '{"site": 3}', "{" * 100_000])
def test_a_marker_that_tells_no_site_makes_no_output(tmp_path, marker):
    write(tmp_path, output("dc1", "10.0.1.0/24") | output("dc2", "10.0.2.0/24") | {"dc2/site.json": marker})
    report = audit([str(tmp_path)])
    assert report.outputs == 1
    assert report.files == 2


def test_wrong_usage_says_what_a_lan_looks_like(project):
    told = project.run("audit", ".", "--shared", "lan", code=2).stderr
    assert "'lan' is no network such as 10.0.0.0/24" in told


def test_json_counts_the_outputs(project):
    compiled(project, ("dc1", "10.0.1"), ("dc2", "10.0.2"))
    assert json.loads(project.run("audit", "outputs", "--format", "json").stdout)["outputs"] == 2


_prefixes = st.tuples(st.integers(0, 63), st.integers(22, 28)).map(
    lambda drawn: str(ip_network(f"10.0.{drawn[0] // 16}.{drawn[0] % 16 * 16}/{drawn[1]}", strict=False))
)


def _disjoint(subnets):
    """Keep what host-local takes as ranges of one network."""
    kept = []
    for subnet in subnets:
        if not any(ip_network(subnet).overlaps(ip_network(other)) for other in kept):
            kept.append(subnet)
    return kept


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(_prefixes, min_size=1, max_size=3).map(_disjoint), min_size=2, max_size=3))
def test_an_overlap_is_told_exactly_where_two_sites_subnets_have_an_address_in_common(sites):
    meeting = {
        frozenset((one, other))
        for (one, mine), (other, theirs) in itertools.combinations(enumerate(sites), 2)
        if any(ip_network(a).overlaps(ip_network(b)) for a in mine for b in theirs)
    }
    with tempfile.TemporaryDirectory() as directory:
        for number, subnets in enumerate(sites):
            write(Path(directory), output(f"dc{number}", *subnets))
        told = [one.message for one in audit([directory]).findings if one.code == "PL727"]
    named = [{number for number in range(len(sites)) if f"of dc{number}" in message} for message in told]
    assert bool(told) == bool(meeting)
    assert {number for pair in meeting for number in pair} == set().union(*named)
