"""What goes wrong on purpose in a lab: verify and podlan tell it, and mending leaves nothing of it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from how_to import FAST
from ready import podlan

from podlan.lab import faults, mending, verify
from podlan.lab.errors import NoLease, NoPlace, Pointless
from podlan.lab.faults import Cut, DeletedShim, Duplicate, Lease
from podlan.lab.life import opened, up_already
from podlan.lab.namespaces import in_net, in_node
from podlan.lab.report import as_json, as_text

pytestmark = pytest.mark.kernel

OWN, OTHER = "172.16.129.101", "172.16.129.102"
SHIM, FREE = "172.16.129.199", "172.16.129.60"


class Node:
    """What the operating system and podlan say on a node."""

    def __init__(self, home, name):
        self.home, self.name = home, name

    def says(self, *argv, code=0):
        done = subprocess.run(in_node(self.home, self.name, *argv), capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def podlan(self, *words, code=0):
        return self.says(sys.executable, "-m", "podlan", *words, code=code)

    def network(self):
        shown = self.says("ip", "-br", "-4", "address") + self.says("ip", "route")
        return [" ".join(line.split()) for line in shown.splitlines()]


def make(name, how, *words):
    with opened(name) as lab:
        return how(lab, up_already(lab), *words)


def found(name):
    with opened(name) as lab:
        return verify(lab)


def mended(name):
    """Mend, and see that the lab is as it was."""
    with opened(name) as lab:
        told = [str(one) for one in mending.mend(lab)]
        report = verify(lab)
    assert report.ok, as_text(report)
    assert report.faults == ()
    return told


def test_what_is_cut_or_deleted_is_told_by_verify_and_by_podlan_and_mended(build, name):
    home, _ = build(options=replace(FAST, pods=1))
    one = Node(home, "node-1")

    # A pulled cable: exactly what has to do with the node is out of reach.
    assert make(name, mending.cut, "node-3") == make(name, mending.cut, "node-3") == Cut("node-3")
    report = found(name)
    assert report.faults == ("node-3 is cut off: its port of the switch is down",)
    assert all("node-3" in text for text in report.surprises)
    apart = [try_ for try_ in report.tries if (try_.source.node == "node-3") != (try_.target.node == "node-3")]
    assert not any(try_.reached for try_ in apart)
    assert json.loads(as_json(report))["faults"] == list(report.faults)
    assert mended(name) == list(report.faults)

    # A lost shim: podlan tells the drift and repairs it, and then there is no fault to tell any more.
    assert make(name, mending.delete_shim, "node-1") == DeletedShim("node-1", ("macvlan0",))
    report = found(name)
    assert report.faults == ("node-1 lost macvlan0",)
    assert [row.key for row in report.rows if not row.ok] == ["pod-and-own"]
    assert "ip link add link eth0 name macvlan0" in one.podlan("reconcile", "--check", code=3)
    assert "+ ip link add link eth0 name macvlan0" in one.podlan("reconcile")
    assert make(name, lambda lab, _: mending.standing(lab.processes, lab.home)) == []
    assert make(name, mending.delete_shim, "node-1")
    assert mended(name) == ["node-1 lost macvlan0"]
    assert one.podlan("reconcile", "--check").startswith("# nothing to do")


def test_strangers_on_the_lan_are_told_and_taken_away(build, name):
    home, _ = build(options=replace(FAST, pods=1))
    one = Node(home, "node-1")
    before = one.network()

    # Another machine with a node's address, a pod's, and one that podlan wants to add.
    assert make(name, mending.duplicate, OTHER) == Duplicate(OTHER, "stranger-1", "lan0")
    report = found(name)
    assert any(text.startswith(f"{OTHER} is answered by ") for text in report.surprises)
    make(name, mending.duplicate, "172.16.129.110")
    assert "answers for 172.16.129.110; pods here have 172.16.129.110" in one.podlan("doctor", code=1)
    row = next(row for row in found(name).rows if row.key == "macs")
    assert (row.tried, row.reached) == (6, 4)
    one.podlan("undo")
    make(name, mending.duplicate, SHIM)
    assert "PL626" in one.podlan("reconcile", "/run/podlan-lab-node", code=1)
    subprocess.run(in_net(home, "switch", "ip", "link", "delete", "stranger-3"), check=True)  # half gone already
    one.podlan("reconcile", "/run/podlan-lab-node")
    told = mended(name)
    assert [text.rpartition(" ")[2] for text in told] == [OTHER, "172.16.129.110", SHIM]

    # A DHCP client that somebody left running: its address is none of podlan's.
    assert make(name, mending.dhcp, "node-1", FREE) == Lease("node-1", "eth0", "lan0", FREE, 24, "172.16.129.254")
    now = one.network()
    assert "default via 172.16.129.254 dev eth0 metric 100" in now
    assert any(f"{OWN}/24 {FREE}/24" in line for line in now)
    assert one.podlan("reconcile", "--check").startswith("# nothing to do")
    report = found(name)
    assert report.ok, as_text(report)
    assert report.faults == (f"a DHCP client has put {FREE}/24 on eth0 of node-1",)
    mended(name)
    assert one.network() == before

    # What cannot be is refused, and nothing stays of it.
    with pytest.raises(NoLease, match=r"no lease of 172\.16\.129\.102: .*somebody answers for"):
        make(name, mending.dhcp, "node-1", OTHER)
    with pytest.raises(Pointless, match=r"10\.0\.0\.1 is in no IPv4 network of node-1"):
        make(name, mending.dhcp, "node-1", "10.0.0.1")
    with pytest.raises(Pointless, match=r"10\.0\.0\.1 is in no network of the lab"):
        make(name, mending.duplicate, "10.0.0.1")
    with pytest.raises(NoPlace, match="no place 'node-9'; it has node-1, node-2, node-3"):
        make(name, mending.cut, "node-9")
    assert make(name, lambda lab, _: mending.mend(lab)) == []
    assert list(home.path.glob("net/stranger*")) == []


def test_faults_are_commands_that_leave_nothing_behind_when_the_lab_goes(build, name):
    home, _ = build("none", only=("node-1",), options=replace(FAST, pods=0))

    def fault(*words, code=0):
        done = podlan(Path.cwd(), "lab", "fault", *words, "--name", name)
        assert done.returncode == code, done
        return done.stderr

    assert fault("cut", "node-1") == "fault: node-1 is cut off: its port of the switch is down\n"
    assert fault("mend") == "mended: node-1 is cut off: its port of the switch is down\n"
    assert fault("mend") == "nothing to mend\n"
    assert "the plan of node-1 has no host access" in fault("delete-shim", "node-1", code=2)
    assert "'nonsense' is not an IP address" in fault("duplicate", "nonsense", code=2)
    fault("duplicate", "172.16.129.7")
    assert [str(one) for one in mending.load(home)] == ["another machine on the LAN, stranger-1, has 172.16.129.7"]
    assert podlan(Path.cwd(), "lab", "down", "--name", name).returncode == 0
    assert not home.path.exists()


def test_a_fault_that_is_interrupted_is_undone(build, name, monkeypatch):
    home, _ = build("none", only=("node-1",), options=replace(FAST, pods=0))

    def interrupted(*_):
        raise SystemExit(130)

    monkeypatch.setattr(faults.strangers, "batch", interrupted)
    with pytest.raises(SystemExit):
        make(name, mending.duplicate, FREE)
    assert mending.load(home) == []
    assert [path.name for path in sorted((home.path / "net").iterdir())] == ["gateway", "switch"]
