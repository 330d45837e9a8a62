"""Three machines boot by systemd, each with its own compiled directory, and their pods come back on the LAN."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from booted import CHANGED, CNI, Node
from required import applied_once, came_first, well

pytestmark = pytest.mark.kernel

AMID = {
    "node-1": lambda node: (node.upper / "var/lib/podlan/journal.json").exists(),
    "node-2": lambda node: "pods0" in Path(f"/proc/{node.machine.leader}/net/route").read_text(encoding="ascii"),
    "node-3": lambda node: (node.upper / "etc/systemd/network/05-podlan-pods0.network").exists(),
}
"""Moments of a run: it is about to begin, it has done its part of the network, it is at the files."""


def test_hosts_and_pods_reach_each_other_after_a_boot_and_a_reboot(installed):
    installed.boot()
    installed.each(came_first)
    installed.each(applied_once)
    well(installed)

    pods = installed.pods
    installed.reboot()
    installed.each(came_first)
    installed.each(applied_once)
    for node in installed.nodes:
        assert f"ip address add {node.shim}/32 dev macvlan0\n" in node.log()
        assert f"ip address add {node.shim}/32 dev macvlan0\n" in node.log(-1), "of the boot before, too"
    well(installed)
    assert installed.pods == pods, "each node's first addresses"


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
        assert (node.root / CNI).read_bytes() == node.compiled_file(CNI)
        assert not node.machine.run("find", "/etc", "-name", "*podlan-macvlan0*").stdout, "of the plan before"
    installed.each(came_first)
    installed.each(applied_once)
    well(installed)
