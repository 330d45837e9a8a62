"""A compiled site of both families, or of IPv6 alone, on the real kernel: everybody reaches everybody."""

import pytest

from podlan import pipeline
from podlan.lab import Options, verify
from podlan.lab.life import opened, up
from podlan.lab.report import as_text
from podlan.lab.topology import topology

pytestmark = pytest.mark.kernel

SITE = """\
version: 1
site: lab
cluster: {{kubernetes: "1.31", runtime: containerd}}
cni: {{name: pods}}
subnets:
  lan: {{cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{{dst: 0.0.0.0/0}}]}}
  six: {{cidr: "fd00:10::/64", gateway: "fd00:10::fe", routes: [{{dst: "::/0"}}]}}
masters:
  uplink: {{interface: eth0, subnets: [{subnets}], podsPerNode: 4, hostAccess: {{via: {via}}}}}
nodes:
  a: {{masters: {{uplink: {{addresses: [{a}]}}}}}}
  b: {{masters: {{uplink: {{addresses: [{b}]}}}}}}
"""
BOTH = {"subnets": "lan, six", "a": '10.0.0.1, "fd00:10::1"', "b": '10.0.0.2, "fd00:10::2"'}
SIX = {"subnets": "six", "a": '"fd00:10::1"', "b": '"fd00:10::2"'}


@pytest.mark.parametrize(
    ("via", "families"), [("shim", BOTH), ("move", BOTH), ("shim", SIX)], ids=["shim", "move", "alone"]
)
def test_everybody_reaches_everybody_in_each_family(name, tmp_path, via, families):
    (tmp_path / "site.yaml").write_text(SITE.format(via=via, **families), encoding="utf-8")
    done = pipeline.compile_site(tmp_path / "site.yaml", tmp_path / "out")
    assert not done.failed
    with opened(name) as lab:
        up(lab, topology(done.checked.site, tmp_path / "out"), Options(before=False))
        report = verify(lab)
    assert report.ok, as_text(report)
    own = [one for one in report.tries if one.target.node == one.source.node]
    assert all(one.reached for one in own)
    assert {":" in one.address for one in own} == {True, families is SIX}
