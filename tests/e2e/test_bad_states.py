"""A node that cannot be as planned says why, is reached at its address all the same, and mends itself in time."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from booted import CHANGED, CNI, GATEWAY, Node
from required import has_failed, is_planned, mends_itself, well

pytestmark = pytest.mark.kernel

OTHER = {
    "cniVersion": "1.0.0",
    "name": "other",
    "type": "macvlan",
    "master": "eth0",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]]},
}
STORE = "/var/lib/cni/networks/other"
FOREIGN = "192.0.2.7"


def lose(node: Node) -> None:
    shutil.rmtree(node.copy)


def tear(node: Node) -> None:
    with (node.copy / "plan.json").open("r+b") as file:
        file.truncate(300)


def make_newer(node: Node) -> None:
    """Deliver what a later podlan compiled."""
    plan = json.loads((node.copy / "plan.json").read_text(encoding="utf-8"))
    text = json.dumps({**plan, "version": plan["version"] + 1}).encode()
    (node.copy / "plan.json").write_bytes(text)
    manifest = json.loads((node.copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["plan.json"] = hashlib.sha256(text).hexdigest()
    (node.copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


UNREADABLE = {
    "node-1": (lose, "error: bad node directory /etc/podlan/node: /etc/podlan/node: No such file or directory; name "),
    "node-2": (tear, "plan.json is not the file that manifest.json tells of (its SHA-256 differs); deliver the node's"),
    "node-3": (make_newer, "plan.json: version 2 is newer than this podlan reads (1); upgrade podlan here; compile"),
}


def ends_with(node: Node, code: int, message: str) -> None:
    """Require that the node boots to its end without podlan's part, is reached, and says why."""
    has_failed(node, code)
    assert message in node.log(), node.log()
    assert node.marks == [], "nothing was changed"
    assert node.own_links == []
    assert node.is_reached()
    for unit in ("kubelet", "containerd"):
        assert node.property("ActiveState", unit) == "active", "who boots a broken node has to find its pods"


def test_a_plan_that_is_missing_torn_or_too_new_is_told_until_the_node_has_it_again(installed):
    for node in installed.nodes:
        UNREADABLE[node.name][0](node)
    installed.boot()
    for node in installed.nodes:
        ends_with(node, 4, UNREADABLE[node.name][1])
    installed.each(Node.run_pods)
    assert all(set(node.addresses) <= node.slice for node in installed.nodes), "by the file of the last good plan"

    for node in installed.nodes:
        node.deliver()
    installed.each(mends_itself)
    well(installed)


def test_a_full_disk_a_file_that_comes_first_and_a_foreign_address_are_told_and_end_with_their_cause(installed):
    full, misled, foreign = installed.nodes
    before = {node.name: (node.root / CNI).read_bytes() for node in installed.nodes}
    installed.compile(CHANGED)
    installed.each(Node.deliver)
    first = misled.machine.root / "etc/cni/net.d/00-other.conf"
    first.write_text(json.dumps(OTHER), encoding="utf-8")
    foreign.configure(foreign.address, FOREIGN)
    full.fill_disk()
    with foreign.full_directory("etc/cni/net.d") as make_room:
        installed.boot()

        ends_with(full, 4, "error: /var/lib/podlan/journal.json: No space left on device")
        has_failed(foreign, 1)
        assert re.search(rf"error: failed, rolled back: .* /{CNI}: No space left on device; all that", foreign.log())
        foreign.wait_for(lambda: foreign.own_links == [])  # systemd may be at the next try
        for node in (full, foreign):
            assert (node.root / CNI).read_bytes() == before[node.name]
        full.free_disk()
        foreign.run_pods()
        assert set(foreign.addresses) <= foreign.slice, "by the file of the last good plan"
        assert not foreign.runtime.exec(foreign.pods[0], "busybox", "ping", "-c", "1", GATEWAY).returncode
        make_room()

        is_misled(misled, first)
        first.unlink()
        misled.machine.wait_for(lambda: misled.runtime.network().name == "pods")
        installed.each(mends_itself)
        well(installed)
        assert FOREIGN in foreign.machine.run("ip", "address", "show", "dev", "eth0").stdout, "it is somebody else's"


def is_misled(node: Node, first: Path) -> None:
    """Require that podlan tells of it, and that pods get addresses as it says; at the end they are gone."""
    told = f"/etc/cni/net.d/{first.name} comes before 05-podlan.conflist; remove it, or the runtime will use it"
    assert told in node.log()
    is_planned(node)
    said = node.podlan("doctor", "--no-wire").stdout
    assert f"warning[PL612]: /etc/cni/net.d/{first.name} comes before 05-podlan.conflist\n" in said, said
    node.run_pods()
    assert all(address.startswith("192.0.2.") for address in node.addresses), "as it was told"
    assert node.kept_in(STORE) == sorted(node.addresses)
    node.remove_pods()
    assert node.kept_in(STORE) == [], "nothing is left of a network that no longer is"
