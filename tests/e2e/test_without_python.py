"""A node boots by rc.local, and one without Python by boot.sh alone; what they come up with is the same."""

from __future__ import annotations

import shutil

import pytest
from booted import PROGRAM, SITE, Node
from required import came_first, nothing_is_left, reach_each_other

pytestmark = pytest.mark.kernel

# The unit, rc.local, and rc.local on a node that has podlan.
HOOKS = SITE.replace("{address: 10.0.0.2}", "{address: 10.0.0.2, boot: rc.local}").replace("systemd-watch", "rc.local")


def lose_python(node: Node) -> None:
    for program in (node.root / "usr/bin").glob("python3*"):
        program.unlink()


def install(node: Node) -> None:
    """Install what the node boots with, as a user does who has no podlan there."""
    shutil.copytree(node.compiled, node.root / "root/node")
    node.machine.run("sh", "/root/node/install.sh", "--restart")


def is_there(node: Node) -> None:
    assert node.machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert node.is_reached()
    assert len(node.marks) == 4, node.marks


def test_nodes_that_boot_by_rc_local_or_without_python_reach_all_that_others_reach(bare):
    by_unit, by_rc_local, has_podlan = bare.nodes
    bare.compile(HOOKS)
    for node in (by_unit, by_rc_local):
        lose_python(node)
    bare.boot()
    bare.each(install, (by_unit, by_rc_local))
    has_podlan.install()
    bare.each(Node.load_image)
    bare.each(is_there)
    reach_each_other(bare)

    bare.reboot()
    bare.each(is_there)
    assert not (by_unit.root / PROGRAM.lstrip("/")).exists()
    came_first(by_unit)
    for node in (by_rc_local, has_podlan):
        assert node.property("ActiveState", "rc-local") == "active"
        assert node.log(unit="rc-local").count("boot.sh") == 0, "it says only what went wrong"
    nothing_is_left(has_podlan)
    reach_each_other(bare)
