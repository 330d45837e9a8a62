"""boot.sh and reconcile bring about the same kernel state, from wherever they start, and then leave it alone."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lan import MOVE_PLAN, NODE, SHIM, SHIM_PLAN, Net

from podlan import pipeline
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

NOTHING = "# nothing to do: the network is as planned\n"

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


def compiled(via: str, tmp_path: Path, **changes: str) -> Path:
    (tmp_path / "site").mkdir()
    text = SITE.read_text(encoding="utf-8").replace("via: shim", f"via: {via}")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "site/site.yaml").write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    for name, content in pipeline.compile_site(tmp_path / "site", out, write=False).nodes["node-1"].items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return out


def state(net: Net) -> list[str]:
    """Everything that podlan sets, and nothing that differs by chance: a foreign child has a random MAC."""
    links = net.ip("-d", "-o", "link", "show", "type", "macvlan") + net.ip("-o", "link", "show", "type", "veth")
    words = r"(\d: \w+|macvlan mode \w+|link/ether 02:(?:70|6d):[0-9a-f:]+|PROMISC|[,<]UP|altname \w+|alias .*)"
    addresses = [line.split(" ", 1)[1] for line in net.ip("-4", "-o", "address").splitlines()]
    sysctls = net.run(
        "node", "sysctl", "-a", "-r", r"net\.ipv4\.(ip_forward|conf\.(all|eth.|macvlan.)\.(arp_|rp_|send_)).*"
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
    assert booted.run("node", "sh", directory / "boot.sh").stdout == NOTHING
    assert state(booted) == again, "a second run changes nothing"
    assert NODE in " ".join(again)
    assert "nothing to do" in reconciled.reconcile(directory).stdout


@pytest.mark.parametrize("name", ["macvlan0", "other0"])
def test_a_child_of_another_interface_is_made_anew_if_it_is_podlans_and_left_if_it_is_not(nets, tmp_path, name):
    """Whether macvlan0 is its name or its second one."""
    script, net = compiled("shim", tmp_path) / "boot.sh", nets[0]
    net.ip("link", "add", "eth9", "type", "veth", "peer", "name", "p9")
    net.ip("link", "add", "link", "eth9", "name", name, "type", "macvlan", "mode", "bridge")
    if name != "macvlan0":
        net.ip("link", "property", "add", "dev", name, "altname", "macvlan0")
    done = net.run("node", "sh", script, check=False)
    assert (done.returncode, done.stderr) == (1, "boot.sh: macvlan0 is there, and no child of eth0\n")
    assert f"{name}@eth9" in net.ip("link"), "somebody else's"
    net.ip("link", "set", name, "alias", "podlan: shim of storage")
    net.run("node", "sh", script)
    assert "macvlan0@eth0" in net.ip("link")


TWO_MASTERS = {
    "subnet": ("subnets:\n", "subnets:\n  store: {cidr: 10.7.0.0/24, gateway: 10.7.0.254, routes: []}\n"),
    "master": (
        "masters:\n",
        "masters:\n  storage: {interface: eth1, altname: store0, subnets: [store], podsPerNode: 4, secondary: true}\n",
    ),
    "node-1": (
        "{address: 172.16.129.101, ranges: [172.16.129.110-119], role: control-plane}",
        "{masters: {uplink: {addresses: [172.16.129.101], ranges: [172.16.129.110-119]}, storage: {}}}",
    ),
    "node-2": ("{address: 172.16.129.102}", "{masters: {uplink: {addresses: [172.16.129.102]}, storage: {}}}"),
    "node-3": ("{address: 172.16.129.103}", "{masters: {uplink: {addresses: [172.16.129.103]}, storage: {}}}"),
}


@pytest.mark.parametrize("start", [[], ["link property add dev eth1 altname store0"], [f"{CHILD} bridge"]], ids=str)
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=" ".join)
def test_several_masters_and_second_names_come_out_alike_in_every_shell(nets, tmp_path, start, shell):
    directory = compiled("shim", tmp_path, **TWO_MASTERS)
    booted, reconciled = nets
    for net in nets:
        net.batch("node", ["link add eth1 type veth peer name peer1", "link set eth1 up", "link set peer1 up", *start])
    booted.run("node", *shell, directory / "boot.sh")
    reconciled.reconcile(directory)
    assert state(booted) == state(reconciled)
    again = state(booted)
    assert {"altname store0", "alias podlan: shim of storage"} <= set(again)
    assert booted.run("node", *shell, directory / "boot.sh").stdout == NOTHING
    assert state(booted) == again, "a second run changes nothing"


CHANGES = {
    "link set macvlan0 down": ["link set dev macvlan0 up", "route replace"],  # which takes the routes along
    "link set macvlan0 address 02:00:00:00:00:09": ["link set dev macvlan0 address"],
    "link set macvlan0 type macvlan mode private": ["link set dev macvlan0 address"],
    "link del macvlan0": ["link add link eth0 name macvlan0", "link set", "address replace", "route replace"],
    "address flush dev macvlan0": ["address replace", "route replace"],
    "route flush dev macvlan0 proto 112": ["route replace"],
    "link set eth0 promisc off": ["link set dev eth0 promisc on"],
}


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
def test_the_boot_script_tells_what_it_does_and_nothing_else(nets, tmp_path, shell):
    """A journal of one boot has all of it, and a second run says what somebody had changed."""
    net, script = nets[0], compiled("shim", tmp_path) / "boot.sh"

    def told() -> list[str]:
        return net.run("node", *shell, script).stdout.splitlines()

    first = told()
    assert f"+ ip address replace {SHIM}/32 dev macvlan0" in first
    assert "+ sysctl -q -w net/ipv4/conf/macvlan0/arp_announce=2" in first
    assert all(line.startswith(("+ ip ", "+ sysctl ")) for line in first)
    assert len(first) == len(set(first))
    for change, expected in CHANGES.items():
        net.ip(*change.split())
        lines = [line for line in told() if not line.startswith("+ sysctl")]
        assert lines, change
        for line in lines:
            assert any(line.startswith(f"+ ip {words}") for words in expected), (change, lines)
        for words in expected:
            assert any(line.startswith(f"+ ip {words}") for line in lines), (change, lines)
        assert told() == [NOTHING.strip()], change
    net.sysctl("net/ipv4/conf/macvlan0/arp_announce", "0")
    assert told() == ["+ sysctl -q -w net/ipv4/conf/macvlan0/arp_announce=2"]


def test_to_tell_what_it_does_takes_the_boot_script_no_process_more(nets, tmp_path):
    """It looks, makes the child, sets it, and gives one batch; a second run looks at the child and its addresses."""
    net, script = nets[0], compiled("shim", tmp_path) / "boot.sh"
    for _ in range(2):
        log = tmp_path / "calls"
        net.run("node", "strace", "-f", "-o", log, "-e", "trace=execve", "dash", script)
        calls = re.findall(r"execve\(.*\) = 0$", log.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(calls) == len(["dash", "look", "add or look", "set or look", "batch"]), calls


def test_a_master_is_also_found_by_a_second_name(nets, tmp_path):
    """Its sysctls stand below its own name alone."""
    directory = compiled("shim", tmp_path, interface=("interface: eth0", "interface: uplink0"))
    for net in nets:
        net.ip("link", "property", "add", "dev", "eth0", "altname", "uplink0")
    booted, reconciled = nets
    booted.run("node", "sh", directory / "boot.sh")
    reconciled.reconcile(directory)
    assert state(booted) == state(reconciled)
    assert booted.sysctl("net/ipv4/conf/eth0/arp_filter") == "1"


def test_without_iproute2_the_boot_script_says_so(tmp_path):
    """The ip of busybox has no macvlan."""
    script = compiled("shim", tmp_path) / "boot.sh"
    (tmp_path / "ip").write_text('#!/bin/sh\nexec busybox ip "$@"\n', encoding="utf-8")
    (tmp_path / "ip").chmod(0o755)
    text = script.read_text(encoding="utf-8").replace(
        "in /sbin/ip /usr/sbin/ip /bin/ip /usr/bin/ip;", f"in {tmp_path}/ip;"
    )
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "boot.sh: iproute2 is not installed\n")


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


@pytest.mark.parametrize("mtu", ["1400", "576"])
def test_both_give_the_child_its_mtu(nets, tmp_path, mtu):
    """576 is too small for IPv6, so that the child has no settings of it."""
    directory = compiled("shim", tmp_path, mtu=("    mode: bridge\n", f"    mode: bridge\n    mtu: {mtu}\n"))
    booted, reconciled = nets
    booted.ip(*f"{CHILD} bridge".split())
    for _ in range(2):
        booted.run("node", "sh", directory / "boot.sh")
        assert f" mtu {mtu} " in booted.ip("link", "show", "dev", "macvlan0")
    reconciled.reconcile(directory)
    assert f" mtu {mtu} " in reconciled.ip("link", "show", "dev", "macvlan0")
    assert "nothing to do" in reconciled.reconcile(directory).stdout
    assert "+ ip " not in booted.reconcile(directory).stdout
