"""boot.sh and reconcile bring about the same kernel state, from wherever they start, and then leave it alone."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lan import MOVE_PLAN, NODE, SHIM, SHIM_PLAN, Net

from podlan import pipeline
from podlan.output import Staged, compare
from podlan.plan import Link, Plan
from podlan.render import boot_script

SITE = Path(__file__).parents[2] / "site/site.yaml"
CHILD = "link add link eth0 name macvlan0 type macvlan mode"
STARTS = {
    "nothing there": [],
    "half done": [f"{CHILD} bridge"],
    "another mode and MAC": [f"{CHILD} private", "link set macvlan0 address 02:00:00:00:00:09", "link set macvlan0 up"],
    "a child that is down": [f"{CHILD} bridge", "address add 172.16.129.199/32 dev macvlan0"],
    "promisc already on": ["link set eth0 promisc on"],
}

pytestmark = pytest.mark.kernel


@pytest.fixture
def nets(tmp_path):
    made = []
    for name in ("boot", "reconcile"):
        (tmp_path / name).mkdir()
        made.append(Net(tmp_path / name))
    try:
        yield [net.up() for net in made]
    finally:
        for net in made:
            net.down()


def compiled(via: str, tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    text = SITE.read_text(encoding="utf-8").replace("via: shim", f"via: {via}")
    (tmp_path / "site/site.yaml").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    nodes = pipeline.compile_site(tmp_path / "site", out, write=False).nodes
    out.mkdir()
    Staged(out, nodes, compare(out, nodes)).commit()
    return out / "nodes/node-1"


def state(net: Net) -> list[str]:
    """Everything that podlan sets, and nothing that differs by chance: a foreign child has a random MAC."""
    links = net.ip("-d", "-o", "link", "show", "type", "macvlan") + net.ip("-o", "link", "show", "eth0")
    words = r"(macvlan0|macvlan mode \w+|link/ether 02:(?:70|6d):ac:10:81:[0-9a-f:]+|PROMISC|[,<]UP|alias .*)"
    addresses = [line.split(" ", 1)[1] for line in net.ip("-4", "-o", "address").splitlines()]
    sysctls = net.run(
        "node", "sysctl", "-a", "-r", r"net\.ipv4\.(ip_forward|conf\.(all|eth0|macvlan0)\.(arp_|rp_|send_)).*"
    )
    return [*re.findall(words, links), *sorted(addresses), *net.ip("route").splitlines(), *sysctls.stdout.splitlines()]


@pytest.mark.parametrize("via", ["shim", "move", "none"])
@pytest.mark.parametrize("start", STARTS)
def test_boot_script_and_reconcile_end_in_the_same_state(nets, tmp_path, via, start):
    directory = compiled(via, tmp_path)
    booted, reconciled = nets
    for net in nets:
        for line in STARTS[start]:
            net.ip(*line.split())
    booted.run("node", "sh", directory / "boot.sh")
    reconciled.reconcile(directory)
    assert state(booted) == state(reconciled)
    again = state(booted)
    booted.run("node", "sh", directory / "boot.sh")
    assert state(booted) == again, "a second run changes nothing"
    assert NODE in " ".join(again)
    assert "nothing to do" in reconciled.reconcile(directory).stdout


def test_reconcile_finds_nothing_of_the_network_to_do_after_the_boot_script(nets, tmp_path):
    directory = compiled("shim", tmp_path)
    booted, _ = nets
    booted.run("node", "sh", directory / "boot.sh")
    said = booted.reconcile(directory, "--dry-run").stdout
    assert not re.search(r"^(ip|sysctl|arping) ", said, re.MULTILINE), said


def test_the_boot_script_gives_up_on_an_interface_that_never_comes(nets, tmp_path):
    directory = compiled("shim", tmp_path)
    script = directory / "boot.sh"
    script.write_text(script.read_text(encoding="utf-8").replace("tries=60", "tries=1"), encoding="utf-8")
    booted, _ = nets
    booted.ip("link", "set", "eth0", "down")
    booted.ip("link", "set", "eth0", "name", "eth9")
    done = booted.run("node", "sh", script, check=False)
    assert done.returncode == 75
    assert "boot.sh: eth0 is not there" in done.stderr


OWN = {
    "none": Plan("node-1", links=(Link("eth0", "master"),), identity=(NODE,)),
    "shim": replace(SHIM_PLAN, identity=(NODE,)),
    "move": replace(MOVE_PLAN, identity=(NODE,)),
    "two masters": replace(SHIM_PLAN, links=(Link("lo", "master"), *SHIM_PLAN.links), identity=(NODE,)),
}


def impatient(plan: Plan, tmp_path: Path) -> Path:
    script = tmp_path / "boot.sh"
    script.write_bytes(boot_script(plan).replace(b"tries=60", b"tries=1"))
    return script


@pytest.mark.parametrize("kind", OWN)
def test_the_boot_script_leaves_a_machine_without_the_nodes_address_alone(nets, tmp_path, kind):
    net, _ = nets
    script = impatient(OWN[kind], tmp_path)
    checked = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    # The beginning of an address is not the address.
    net.batch("node", [f"addr del {NODE}/24 dev eth0", "addr add 172.16.129.10/24 dev eth0"])
    before = net.state()
    done = net.run("node", "sh", script, check=False)
    assert done.returncode == 75
    assert done.stderr == f"boot.sh: {NODE} of node-1 is not there\n"
    assert net.state() == before


@pytest.mark.parametrize("kind", ["shim", "two masters"])
def test_the_boot_script_takes_the_nodes_address_with_any_prefix_length(nets, tmp_path, kind):
    net, _ = nets
    net.batch("node", [f"addr del {NODE}/24 dev eth0", f"addr add {NODE}/16 dev eth0"])
    net.run("node", "sh", impatient(OWN[kind], tmp_path))
    assert SHIM in net.ip("addr", "show", "dev", "macvlan0")
