"""Three machines boot by systemd, each with its own compiled directory, and their pods come back on the LAN."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from booted import CHANGED, CNI, Node
from required import came_first, well

pytestmark = pytest.mark.kernel

AMID = {
    "node-1": lambda node: (node.upper / "var/lib/podlan/journal.json").exists(),
    "node-2": lambda node: "pods0" in Path(f"/proc/{node.machine.leader}/net/route").read_text(encoding="ascii"),
    "node-3": lambda node: (node.upper / "etc/systemd/network/05-podlan-pods0.network").exists(),
}
"""Moments of a run: it is about to begin, it has done its part of the network, it is at the files."""


def test_hosts_and_pods_reach_each_other_after_a_boot_and_a_reboot_with_what_was_delivered_meanwhile(installed):
    installed.boot()
    installed.each(came_first)
    well(installed)
    installed.each(verify)

    pods = installed.pods
    installed.compile(CHANGED)
    installed.each(Node.deliver)  # to nodes with pods on them; the one that watches may apply it at once
    installed.reboot()
    installed.each(came_first)
    for node in installed.nodes:
        assert f"ip address add {node.shim}/32 dev pods0\n" in node.log()
        assert f"ip address add {node.shim}/32 dev macvlan0\n" in node.log(-1), "of the boot before, too"
    installed.each(has_changed)
    well(installed)
    assert installed.pods == pods, "each node's first addresses"


def verify(node: Node) -> None:
    """Have podlan try it with pods of its own, which leave nothing."""
    before = node.reserved
    others = [other for other in node.site.nodes if other is not node]
    peers = [word for other in others for word in ("--peer", other.address)]
    peers += [word for other in others for address in other.addresses for word in ("--peer-pod", address)]
    said = node.podlan("verify", *peers, check=False)
    assert said.returncode == 0, said
    assert said.stdout.endswith("everything is as the plans promise\n")
    for what in ("pods on different hosts", "pods on the same host", "pods and other nodes", "pods and their own host"):
        assert re.search(rf"^ *([1-9]\d*)/\1 +\1  ok +{what} ", said.stdout, re.MULTILINE), said.stdout
    assert node.reserved == before


def has_changed(node: Node) -> None:
    """Require that the new plan is in force, and of the one before nothing is left."""
    assert (node.root / CNI).read_bytes() == node.compiled_file(CNI)
    assert not node.machine.run("find", "/etc", "-name", "*podlan-macvlan0*").stdout
    assert "macvlan0" not in node.machine.run("ip", "-o", "link").stdout


def test_a_delivered_change_is_whole_after_a_boot_that_is_cut_amid_it_and_another(installed):
    before = {node.name: (node.root / CNI).read_bytes() for node in installed.nodes}
    installed.compile(CHANGED)
    installed.each(Node.deliver)

    def cut(node: Node) -> bool:
        node.machine.await_leader()
        node.machine.wait_for(lambda: AMID[node.name](node), every=0)
        node.machine.cut()
        found = (node.root / CNI).read_bytes()
        assert found in (before[node.name], node.compiled_file(CNI)), "the one or the other, and whole"
        json.loads((node.root / "var/lib/podlan/state.json").read_text(encoding="utf-8"))
        return bool(node.unfinished())

    with contextlib.ExitStack() as slow:
        for node in installed.nodes:
            slow.enter_context(node.slow())
        installed.start()
        was_amid = installed.each(cut)
    assert any(was_amid), "the power was cut amid a run"
    installed.boot()
    for node, amid in zip(installed.nodes, was_amid, strict=True):
        assert ("a run that was killed is taken back first, operations: " in node.log()) == amid, node.log()
    installed.each(has_changed)
    installed.each(came_first)
    well(installed)
