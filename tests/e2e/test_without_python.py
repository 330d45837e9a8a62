"""A node boots by rc.local, and one without Python by boot.sh alone; what they come up with is the same."""

from __future__ import annotations

import os
import shutil

import pytest
from booted import PROGRAM, SITE, UNIT, Node
from required import applied_once, came_first, nothing_is_left, reach_each_other

pytestmark = pytest.mark.kernel

# The unit, rc.local, and rc.local on a node that has podlan.
HOOKS = SITE.replace("{address: 10.0.0.2}", "{address: 10.0.0.2, boot: rc.local}").replace("systemd-watch", "rc.local")


PATH = ":".join([*os.get_exec_path(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
REMOVE = """IFS=:; for directory in $PATH; do rm -f "$directory"/python*; done"""
FIND = "for name in python3 python $(cd /usr/lib; echo python3.*); do command -v $name; done"


LINE = "systemctl restart kubelet"
"""Of somebody else, in rc.local."""


def lose_python(node: Node) -> None:
    """Remove each that is found on a PATH, the machine's or that of who runs the tests."""
    node.site.rack.run("chroot", node.machine.home / "root", "env", f"PATH={PATH}", "sh", "-c", REMOVE)


def has_no_python(node: Node) -> None:
    assert node.machine.run("env", f"PATH={PATH}", "sh", "-c", FIND, check=False).stdout == ""


def install(node: Node) -> None:
    """Install what the node boots with, as a user does who has no podlan there."""
    shutil.copytree(node.compiled, node.root / "root/node")
    node.machine.run("sh", "/root/node/install.sh", "--restart")


def came_along(node: Node) -> None:
    """Require that it came with rc.local, and that neither kubelet nor runtime waits for that, nor that for them.

    Else a line of somebody else's in rc.local that starts one of them would wait for ever, and the boot with it.
    """
    assert node.property("ActiveState", "rc-local") == "active"
    assert LINE in (node.root / "etc/rc.local").read_text(encoding="utf-8")
    for unit in ("kubelet", "containerd"):
        assert "rc-local.service" not in node.property("After", unit)
    *_, seen = (node.root / "var/lib/kubelet/saw").read_text(encoding="utf-8").splitlines()
    assert seen == "05-podlan.conflist", "pods can come before their host's way to them"


def is_there(node: Node) -> None:
    assert node.machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert node.is_reached()
    assert len(node.marks) == 4, node.marks


def test_nodes_that_boot_by_rc_local_or_without_python_reach_all_that_others_reach(bare):
    by_unit, by_rc_local, has_podlan = bare.nodes
    bare.compile(HOOKS)
    for node in (by_unit, by_rc_local):
        lose_python(node)
    for node in (by_rc_local, has_podlan):
        node.machine.write("/etc/rc.local", f"#!/bin/sh\n{LINE}\n")
    bare.boot()
    bare.each(has_no_python, (by_unit, by_rc_local))
    bare.each(install, (by_unit, by_rc_local))
    has_podlan.install()
    bare.each(Node.load_image)
    bare.each(is_there)
    reach_each_other(bare)

    bare.reboot()
    bare.each(is_there)
    assert not (by_unit.root / PROGRAM.lstrip("/")).exists()
    bare.each(has_no_python, (by_unit, by_rc_local))
    came_first(by_unit)
    for node in (by_rc_local, has_podlan):
        came_along(node)
    for node, unit in ((by_unit, UNIT), (by_rc_local, "rc-local"), (has_podlan, "rc-local")):
        applied_once(node, unit)
        for done in ("link add link eth0 name macvlan0 ", f"address replace {node.shim}/32 dev macvlan0\n"):
            assert f"+ ip {done}" in node.log(unit=unit)
        assert "boot.sh: " not in node.log(unit=unit), "nothing went wrong"
    nothing_is_left(has_podlan)
    reach_each_other(bare)
