"""Compiled sites of many shapes on the real kernel: each does what its plans promise, and nothing else."""

import json
import subprocess

import pytest

from podlan import pipeline
from podlan.lab import Options, life, node, verify
from podlan.lab.errors import ForeignLab, ReconcileFailed, Unsupported
from podlan.lab.life import down, opened, up
from podlan.lab.namespaces import in_node, in_pod
from podlan.lab.report import as_json, as_text
from podlan.lab.state import Home, load
from podlan.lab.topology import topology

pytestmark = pytest.mark.kernel

HEAD = 'version: 1\nsite: any\ncluster: {kubernetes: "1.31", runtime: containerd}\ncni: {name: pods}\n'

# Two LANs that the gateway joins, one of two families; a third without a gateway; a secondary network on each of the
# others; other interface names, an altname, a LAN of larger frames; a shim, a moved address, and neither.
MANY = """\
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.64-10.0.0.191], routes: [{dst: 0.0.0.0/0}]}
  lan6:
    cidr: "fd00:10::/64"
    gateway: "fd00:10::fe"
    routes: [{dst: "::/0"}]
  dmz: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, pool: [10.0.1.64-10.0.1.191], routes: [{dst: 0.0.0.0/0}]}
  store: {cidr: 10.0.2.0/24, pool: [10.0.2.64-10.0.2.191]}
  back: {cidr: 10.0.3.0/24, gateway: 10.0.3.254, pool: [10.0.3.64-10.0.3.191], routes: [{dst: 10.0.1.0/24}]}
masters:
  uplink: {interface: eth0, subnets: [lan, lan6], podsPerNode: 4, altname: uplink0}
  dmz: {interface: ens9, subnets: [dmz], podsPerNode: 4, hostAccess: {via: move}}
  store: {interface: eth1, subnets: [store], podsPerNode: 1, secondary: true, mtu: 9000}
  back: {interface: eth2, subnets: [back], podsPerNode: 4, secondary: true, hostAccess: {via: none}}
nodes:
  a: {masters: {uplink: {addresses: [10.0.0.1, "fd00:10::1"]}, store: {addresses: [10.0.2.1]}, back: {}}}
  b:
    masters:
      uplink: {addresses: [10.0.0.2, "fd00:10::2"], interface: eno1}
      store: {}
      back: {addresses: [10.0.3.2]}
  c: {masters: {dmz: {addresses: [10.0.1.3]}}}
"""

MODES = """\
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.64-10.0.0.191], routes: [{dst: 0.0.0.0/0}]}
  lan6:
    cidr: "fd00:10::/64"
    gateway: "fd00:10::fe"
    routes: [{dst: "::/0"}]
  dmz: {cidr: 10.0.1.0/24, gateway: 10.0.1.254, pool: [10.0.1.64-10.0.1.191], routes: [{dst: 0.0.0.0/0}]}
  thru: {cidr: 10.0.2.0/24, gateway: 10.0.2.254, pool: [10.0.2.64-10.0.2.191]}
  bare: {cidr: 10.0.3.0/24}
masters:
  reflecting: {interface: eth0, subnets: [lan, lan6], podsPerNode: 4, mode: vepa, hostAccess: {via: none}}
  private: {interface: eth0, subnets: [dmz], podsPerNode: 4, mode: private, hostAccess: {via: none}}
  whole: {interface: eth1, subnets: [thru], podsPerNode: 1, secondary: true, mode: passthru, hostAccess: {via: none}}
  bare: {interface: eth2, subnets: [bare], secondary: true, ipam: none, hostAccess: {via: none}}
nodes:
  a: {masters: {reflecting: {addresses: [10.0.0.1, "fd00:10::1"]}, whole: {addresses: [10.0.2.1]}, bare: {}}}
  b: {masters: {reflecting: {addresses: [10.0.0.2, "fd00:10::2"]}, whole: {}}}
  c: {masters: {private: {addresses: [10.0.1.3]}}}
"""

PLAIN = """\
subnets:
  lan: {{cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{{dst: 0.0.0.0/0}}]}}
masters:
  uplink: {{interface: eth0, subnets: [lan], podsPerNode: 4, {more}}}
nodes:
  a: {{address: 10.0.0.1}}
  b: {{address: 10.0.0.2}}
"""


@pytest.fixture
def planned(tmp_path):
    """Compile a site's text and give its topology."""

    def compile_site(text):
        (tmp_path / "site.yaml").write_text(HEAD + text, encoding="utf-8")
        done = pipeline.compile_site(tmp_path / "site.yaml", tmp_path / "out")
        assert not done.failed, [str(finding) for finding in done.checked.findings]
        return topology(done.checked.site, tmp_path / "out")

    return compile_site


def rows(report):
    return {row.key: (row.reached, row.tried) for row in report.rows}


def reached(report, source, address):
    return next(one.reached for one in report.tries if (one.source.name, one.address) == (source, address))


def test_a_site_of_several_lans_subnets_and_networks_does_what_its_plans_promise(name, planned):
    with opened(name) as lab:
        state = up(lab, planned(MANY), Options())
        report = verify(lab)
        shown = subprocess.run(
            in_pod(lab.home, "a", "a/pod-1", "ip", "-o", "link"), capture_output=True, text=True, check=True
        ).stdout
    assert report.ok, as_text(report)
    interfaces = {pod.name: [interface.name for interface in pod.interfaces] for pod in state.pods}
    assert interfaces["a/pod-1"] == ["eth0", "net1", "net2"]
    # Its slice of `store` has one address, so that a second pod does not ask for that network.
    assert interfaces["a/pod-2"] == ["eth0", "net1"]
    assert "net2@" in shown
    assert "mtu 9000" in shown
    # Promises of both kinds are kept: what is reached, and what is not.
    assert rows(report)["pods-routed"] == (24, 32)
    assert rows(report)["hosts-routed"] == (32, 41)
    assert rows(report)["pod-and-own-without"][0] == 0
    assert reached(report, "c/pod-1", "10.0.0.64")  # through the gateway
    assert reached(report, "c/pod-1", "10.0.3.64")  # by the secondary network's own route back
    assert not reached(report, "c/pod-1", "10.0.2.64")  # `store` has no gateway
    assert not reached(report, "gateway", "10.0.2.1")
    assert reached(report, "a", "fd00:10::4")
    assert {one.source.node for one in report.tries if one.path.by_access} == {"a", "b", "c"}


def test_each_macvlan_mode_keeps_apart_what_it_is_to_keep_apart(name, planned):
    shape = planned(MODES)
    assert [note.partition(":")[0] for note in shape.notes] == [
        "for reflecting (mode",
        "pods have no address on bare (ipam",
        "on whole (mode",
    ]
    with opened(name) as lab:
        state = up(lab, shape, Options())
        report = verify(lab)
    assert report.ok, as_text(report)
    found = rows(report)
    assert found["pod-and-own-reflected"] == (16, 16)
    assert found["pods-together"] == (8, 10)  # not those in private mode
    assert found["pod-and-own-without"] == (0, 6)
    assert not reached(report, "gateway", "10.0.2.1")  # a pod has that interface for itself
    assert reached(report, "gateway", "10.0.2.64")
    assert [interface.addresses for interface in state.pods[0].interfaces] == [
        ("10.0.0.64", "fd00:10::4"),
        (),
        ("10.0.2.64",),
    ]


def test_a_switch_with_port_security_is_shown_for_what_it_does(name, planned):
    with opened(name) as lab:
        up(lab, planned(PLAIN.format(more="")), Options(secured=True, before=False))
        report = verify(lab)
    assert not report.ok
    found = rows(report)
    assert found["pods-apart"] == (0, 8)
    assert found["pods-together"] == (4, 4)
    assert found["pod-and-own"] == (8, 8)
    assert found["hosts"] == (2, 2)
    assert as_text(report).splitlines()[-1].startswith("the switch takes one MAC a port (--port-security): ")
    assert json.loads(as_json(report))["reason"].startswith("the switch takes one MAC")


def test_moving_an_address_is_refused_by_its_own_probe_where_the_switch_has_port_security(name, planned):
    shape = planned(PLAIN.format(more="hostAccess: {via: move}"))
    with opened(name) as lab, pytest.raises(ReconcileFailed, match="the network refuses a second MAC"):
        up(lab, shape, Options(secured=True))
    assert not Home(name).path.exists()


def test_the_fourth_row_is_measured_and_would_show_host_access_that_was_still_there(name, planned, monkeypatch):
    monkeypatch.setattr(node, "withdraw", lambda *_: None)
    with opened(name) as lab:
        state = up(lab, planned(PLAIN.format(more="")), Options(pods=1))
        report = verify(lab)
    assert len(state.before.reached) == state.before.tried == 4
    assert not report.ok
    assert "without host access a/pod-1 to 10.0.0.1 was reached all the same" in report.surprises


def test_two_labs_of_one_site_live_side_by_side(name, planned):
    shape = planned(PLAIN.format(more=""))
    other = f"{name}-b"
    with opened(name) as one, opened(other) as two:
        try:
            for lab in (one, two):
                up(lab, shape, Options(pods=1, before=False))
            subprocess.run(in_node(two.home, "a", "ip", "link", "delete", "macvlan0"), check=True)
            assert verify(one).ok
            assert not verify(two).ok
            assert down(two) == []
            assert verify(one).ok
        finally:
            down(two)
    assert not Home(other).path.exists()


def has_vlans():
    make = "ip link add name a type veth peer name b && ip link add link a name c type vlan id 5"
    return not subprocess.run(["unshare", "--net", "sh", "-c", make], check=False, capture_output=True).returncode


def test_vlans_are_wired_where_the_kernel_has_them_and_refused_before_anything_is_built_where_not(name, planned):
    text = PLAIN.format(more="vlan: {link: eno1, id: 101}").replace("interface: eth0, ", "")
    shape = planned(text.replace("{address: 10.0.0.1}", "{}").replace("{address: 10.0.0.2}", "{}"))
    with opened(name) as lab:
        if has_vlans():
            up(lab, shape, Options())
            report = verify(lab)
            assert report.ok, as_text(report)
            assert rows(report) == {
                "pods-apart": (8, 8),
                "pods-together": (4, 4),
                "pod-and-own": (4, 4),
                "pod-and-gateway": (8, 8),
            }
        else:
            with pytest.raises(Unsupported, match=r"eno1\.101 of a is a VLAN, and this kernel makes none"):
                up(lab, shape, Options())
            assert not lab.home.path.exists()


def test_a_dhcp_server_is_what_no_lab_has(planned):
    text = PLAIN.format(more="ipam: dhcp, hostAccess: {via: none}").replace("podsPerNode: 4, ", "")
    with pytest.raises(Unsupported, match="pods of a ask a DHCP server"):
        planned(text.replace(", routes: [{dst: 0.0.0.0/0}]", ""))


def test_a_lab_of_another_version_is_taken_down_only(name, planned):
    with opened(name) as lab:
        up(lab, planned(PLAIN.format(more="hostAccess: {via: none}")), Options(pods=0))
        assert load(lab.home) is not None
        lab.home.state.write_text(lab.home.state.read_text().replace('"version": 2', '"version": 1', 1))
        with pytest.raises(ForeignLab, match="version 1 of its form"):
            life.verify(lab)
        assert [type(problem) for problem in down(lab)] == [ForeignLab]
