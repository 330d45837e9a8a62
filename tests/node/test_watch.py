"""A watched node: whatever drifts comes back, what others own stays, and the plan may change underneath."""

import json
import signal
import subprocess
from dataclasses import replace

import pytest
from forked import SECONDS, eventually
from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, SHIM, SHIM_PLAN, write_directory
from watching import watching

from podlan.plan import Address, File, Route

pytestmark = pytest.mark.kernel

OTHER = replace(
    SHIM_PLAN,
    addresses=(Address("macvlan0", "172.16.129.198/32"),),
    routes=tuple(replace(route, source="172.16.129.198") for route in SHIM_PLAN.routes),
)
DRIFTS = {
    "child": ["link del macvlan0"],
    "address": [f"addr del {SHIM}/32 dev macvlan0"],
    "route": ["route del 172.16.129.110/31"],
    "route of others": ["route replace 172.16.129.110/31 dev macvlan0 proto static"],
    "promisc": ["link set eth0 promisc off"],
    "mac": ["link set macvlan0 address 02:00:00:00:00:09"],
    "child down": ["link set macvlan0 down"],
    "all at once": ["link set eth0 promisc off", "route flush proto 112", f"addr del {SHIM}/32 dev macvlan0"],
}


def comes_back(net, watch, state):
    watch.until(lambda: net.state() == state)


def test_every_kind_of_drift_that_the_kernel_tells_of_is_repaired(net):
    with net.pod() as pod, watching(net, net.directory(SHIM_PLAN)) as watch:
        state = net.state()
        for commands in DRIFTS.values():
            net.batch("node", commands)
            comes_back(net, watch, state)
        assert net.reaches(pod, GATEWAY)


def test_drift_of_a_moved_address_is_repaired_and_the_node_stays_reachable(net):
    with watching(net, net.directory(MOVE_PLAN)) as watch:
        state = net.state()
        for commands in (
            ["link del macvlan0"],
            [f"addr change {NODE}/24 dev eth0 metric 7"],
            [f"route replace default via {GATEWAY} dev eth0"],
            ["route del default metric 1024"],
        ):
            net.batch("node", commands)
            comes_back(net, watch, state)
        assert net.reaches("peer", NODE)


def test_what_the_kernel_tells_nobody_is_repaired_by_looking_again(net):
    directory = net.directory(
        replace(SHIM_PLAN, files=(File("/etc/cni/net.d/05.conflist", source="rootfs/05"),)), {"rootfs/05": b"{}\n"}
    )
    with watching(net, directory, "--resync", "1") as watch:
        file = net.root / "etc/cni/net.d/05.conflist"
        for change in (
            lambda: net.sysctl("net/ipv4/conf/macvlan0/arp_announce", "0"),
            file.unlink,
            lambda: file.write_text("edited", encoding="utf-8"),
        ):
            change()
            watch.until(
                lambda: (
                    net.sysctl("net/ipv4/conf/macvlan0/arp_announce") == "2"
                    and file.exists()
                    and file.read_text(encoding="utf-8") == "{}\n"
                )
            )


def test_settings_that_the_kernel_tells_of_need_no_look(net):
    plan = replace(SHIM_PLAN, sysctls={**SHIM_PLAN.sysctls, "net/ipv4/ip_forward": "1"})
    with watching(net, net.directory(plan)) as watch:
        net.sysctl("net/ipv4/ip_forward", "0")
        watch.until(lambda: net.sysctl("net/ipv4/ip_forward") == "1")


def test_a_master_that_flaps_or_comes_back_under_its_name_gets_its_child_back(net):
    plan = replace(SHIM_PLAN, links=(replace(SHIM_PLAN.links[0], altnames=("uplink0",)), *SHIM_PLAN.links[1:]))
    with watching(net, net.directory(replace(plan, identity=(NODE,)))) as watch:
        state = net.state()
        for _ in range(3):
            net.batch("node", ["link set eth0 down", "link set eth0 up", f"route replace default via {GATEWAY}"])
        comes_back(net, watch, state)

        net.batch("node", ["link del eth0"])
        watch.until_said("there is no interface eth0")
        net.batch(
            "sw",
            [
                f"link add p-node type veth peer name eth0 netns {net.prefix}node",
                "link set p-node master br0 up",
            ],
        )
        net.batch("node", ["link set eth0 up"])
        watch.until_said(f"does not have {NODE}")
        net.batch("node", [f"addr add {NODE}/24 dev eth0", f"route add default via {GATEWAY}"])
        watch.until_said("as planned again")
        assert SHIM in net.ip("addr", "show", "dev", "macvlan0")
        assert "uplink0" in net.ip("link", "show", "eth0")
        assert "PROMISC" in net.ip("link", "show", "eth0")


def test_it_waits_for_what_is_not_there_yet(net):
    net.ip("link", "set", "eth0", "name", "other0")
    with watching(net, net.directory(SHIM_PLAN), ready=False) as watch:
        watch.until_said("there is no interface eth0")
        net.batch("node", ["link set other0 down", "link set other0 name eth0", "link set eth0 up"])
        watch.ready()
        assert watch.stderr.count("there is no interface") == 1


@pytest.mark.parametrize(
    ("plan", "code", "words"),
    [
        (replace(SHIM_PLAN, addresses=(Address("macvlan0", "nonsense"),)), 4, "nonsense"),
        (replace(SHIM_PLAN, routes=(Route("eth0", "172.16.129.0/24"),)), 1, "is not podlan's"),
    ],
    ids=["bad plan", "collision"],
)
def test_what_only_a_person_can_mend_ends_it_before_it_has_begun(net, plan, code, words):
    before = net.state()
    done = subprocess.run(
        net.reconcile_argv(net.directory(plan), "--watch"), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == code, done
    assert words in done.stderr
    assert net.state() == before


def test_what_others_own_is_never_touched(net):
    net.batch(
        "node",
        [
            "link add macvlan9 link eth0 type macvlan mode bridge",
            "link set macvlan9 up alias mine",
            "addr add 192.0.2.10/32 dev macvlan9",
        ],
    )

    def others():
        return [net.ip("-o", *what, "dev", "macvlan9") for what in (["-d", "link", "show"], ["-4", "addr", "show"])]

    before = others()
    with net.pod() as pod, watching(net, net.directory(SHIM_PLAN)) as watch:
        net.batch("node", ["route add 203.0.113.0/24 dev macvlan9 metric 77", "link del macvlan0"])
        watch.until_said("repaired")
        assert f"src {SHIM}" in net.ip("route", "show", "dev", "macvlan0")
        assert net.reaches(pod, GATEWAY)
        assert "203.0.113.0/24" in net.ip("route", "show", "dev", "macvlan9")
        assert others() == before


def test_a_delivered_plan_is_applied(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as watch:
        write_directory(directory, OTHER)
        watch.until_said("+ ip address add 172.16.129.198/32 dev macvlan0")  # told when the run is over
        state = net.state()
        net.ip("link", "del", "macvlan0")
        comes_back(net, watch, state)
        write_directory(directory, NONE_PLAN)
        watch.until(lambda: "macvlan0" not in net.ip("link"))
    assert json.loads((net.root / "etc/podlan/node/plan.json").read_text(encoding="utf-8")).get("links", []) == []


BROKEN = {
    "cut off": lambda directory: (directory / "manifest.json").write_text("{", encoding="utf-8"),
    "without files": lambda directory: (directory / "plan.json").unlink(),
    "of another node": lambda directory: write_directory(directory, replace(OTHER, node="node-2")),
    "impossible": lambda directory: write_directory(
        directory, replace(OTHER, routes=(Route("macvlan0", "203.0.113.0/24", gateway="198.18.0.1"),))
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plan_that_cannot_be_applied_leaves_the_last_one_in_force(net, kind):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as watch:
        state = net.state()
        BROKEN[kind](directory)
        watch.signal(signal.SIGHUP)
        watch.until_said("kept as it was planned before")
        comes_back(net, watch, state)  # the newest is tried now and then, and taken back
        for drift in ("link del macvlan0", f"addr del {SHIM}/32 dev macvlan0"):
            net.batch("node", [drift])
            comes_back(net, watch, state)
        assert watch.stderr.count("kept as it was") == 1, watch.stderr

        write_directory(directory, OTHER)
        watch.until(lambda: "172.16.129.198" in net.ip("addr", "show", "dev", "macvlan0"))
        watch.until_said("as planned again")


def test_the_directory_may_be_a_link_that_is_moved(net):
    link = net.home / "current"
    link.symlink_to(net.directory(SHIM_PLAN))
    with watching(net, link) as watch:
        (net.home / "next").symlink_to(net.directory(OTHER))
        (net.home / "next").rename(link)
        watch.until(lambda: "172.16.129.198" in net.ip("addr", "show", "dev", "macvlan0"))


def test_without_a_directory_it_watches_the_nodes_own_copy(net):
    net.reconcile(SHIM_PLAN)
    with watching(net, None) as watch:
        net.reconcile(OTHER)
        state = net.state()
        net.ip("link", "del", "macvlan0")
        comes_back(net, watch, state)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_undoes_nothing(net, number):
    with watching(net, net.directory(SHIM_PLAN)) as watch:
        state = net.state()
        watch.signal(number)
        assert watch.ended_with() == 0
    assert net.state() == state
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")


def test_a_signal_in_a_run_lets_it_come_to_its_end(net):
    directory = net.directory(SHIM_PLAN)
    argv = net.reconcile_argv(directory, "--watch")
    inject = ["-e", "trace=sendto", "-e", "inject=sendto:signal=SIGTERM:when=25"]
    traced = [*argv[:4], "strace", "-f", "-qq", "-o", net.home / "trace", *inject, *argv[4:]]
    done = subprocess.run(traced, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert "+ ip link add" in done.stdout
    assert "rolled back" not in done.stderr
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    assert not (net.root / "var/lib/podlan/journal.json").exists()


def test_two_watches_and_a_run_take_turns(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as first, watching(net, directory, ready=False) as second:
        second.ready()
        state = net.state()
        for _ in range(3):
            net.ip("link", "del", "macvlan0")
            net.reconcile(directory)
            first.until(lambda: net.state() == state)
        assert first.stderr + second.stderr == ""


def test_another_run_that_takes_long_is_waited_for(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as watch:
        state = net.state()
        holder = subprocess.Popen(["flock", "--no-fork", net.root / "run/podlan/lock", "sleep", "60"])
        try:
            asked = ["flock", "-n", net.root / "run/podlan/lock", "true"]
            eventually("", lambda: subprocess.run(asked, check=False).returncode)
            net.ip("link", "del", "macvlan0")
            watch.until_said("another reconcile holds")
        finally:
            holder.kill()
            holder.wait()
        comes_back(net, watch, state)


@pytest.mark.parametrize(
    "options",
    [["--check"], ["--dry-run"], ["--format", "json"], ["--wait", "3"]],
    ids=lambda options: options[0],
)
def test_it_goes_with_no_preview_and_waits_by_itself(net, options):
    said = net.reconcile(SHIM_PLAN, "--watch", *options, code=2).stderr
    assert "--watch goes without" in said
    assert options[0] in said


@pytest.mark.parametrize("options", [["--metrics", "x.prom"], ["--resync", "5"]], ids=lambda options: options[0])
def test_what_is_for_who_stays_needs_it(net, options):
    assert f"{options[0]} needs --watch" in net.reconcile(SHIM_PLAN, *options, code=2).stderr


def test_a_plain_run_imports_nothing_of_it(net):
    directory = net.directory(SHIM_PLAN)
    code = (
        "import sys; from podlan.node.command import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print({'podlan.node.' + name for name in "
        "('watch', 'keeper', 'events', 'backoff', 'suspects', 'notify', 'metrics')} & set(sys.modules))"
    )
    argv = net.reconcile_argv(directory)
    done = net.run("node", argv[4], "-c", code, *argv[7:])
    assert done.stdout.endswith("\nset()\n"), done
