"""What has to hold of nodes that have booted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from booted import MARKS, UNIT, Node, Site

ANEW = re.compile(r"failed, rolled back: |all is as it was before, |is taken back first, |waiting: ")
"""After such a line of the journal an operation may come again: it was undone, or what it had made went with a link."""

IS_ON = ("active", "reloading")
"""Who watches reloads for a moment when somebody else's run has left a new copy of the node's directory."""


def well(site: Site) -> None:
    """Require of machines that are on all that podlan is there for; pods are started where there are none."""
    site.each(is_planned)
    site.each(applied_once)
    reach_each_other(site)


def reach_each_other(site: Site) -> None:
    """Require it of all hosts and pods, at addresses of each node's own; pods are started where there are none."""
    site.each(lambda node: node.pods or node.run_pods())
    assert site.matrix() == []
    for node in site.nodes:
        assert set(node.addresses) <= node.slice
        assert node.reserved == sorted(node.addresses), "no reservation of an earlier boot"


def is_planned(node: Node) -> None:
    """Require that its unit has made it as planned."""
    assert node.property("ActiveState") in IS_ON, node.log()
    assert node.machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    nothing_is_left(node)


def nothing_is_left(node: Node) -> None:
    """Require that it is as planned, by podlan itself and by its traces, whatever it was started by."""
    assert node.is_reached()
    assert node.unfinished() == []
    done = node.podlan("reconcile", "--check", check=False)
    assert (done.returncode, done.stdout) == (0, f"# nothing to do: {node.name} is as planned\n"), done
    assert len(node.marks) == len(MARKS), f"one link, its address, a route to the slice, a local one: {node.marks}"


def has_failed(node: Node, code: int) -> None:
    """Require that its unit has; by the journal, since systemd may be at the next try by now."""
    log = node.log()
    assert f"{UNIT}.service: Main process exited, code=exited, status={code}/" in log, log
    assert f"{UNIT}.service: Failed with result 'exit-code'." in log, log
    assert "Traceback" not in log


def mends_itself(node: Node) -> None:
    """Wait until systemd has tried again."""
    node.wait_for(lambda: node.property("ActiveState") == "active")


def applied_once(node: Node, unit: str = UNIT) -> None:
    """Require that no operation of this boot was done twice, unless it had been undone."""
    log = node.log(unit=unit)
    told = [operations(part.splitlines()) for part in ANEW.split(log)]
    assert any(told), log
    for lines in told:
        assert len(lines) == len(set(lines)), log


def operations(log: Iterable[str]) -> list[str]:
    return [line for line in log if line.startswith("+ ")]


def came_first(node: Node) -> None:
    """Require that podlan was at work before who starts pods, so that they found what it has made."""
    when, *seen = (node.root / "var/lib/kubelet/saw").read_text(encoding="utf-8").splitlines()
    done = int(node.property("ActiveEnterTimestampMonotonic"))
    assert done <= 1e6 * float(when) + 10_000, "the kernel tells hundredths of seconds"
    assert done <= int(node.property("ExecMainStartTimestampMonotonic", "containerd"))
    assert any(f"{node.shim}/32" in line for line in seen), seen
    assert seen[-1] == "05-podlan.conflist"
