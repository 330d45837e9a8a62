"""A watch among many changes: it converges, gives way to whoever fights it, and holds on to nothing."""

import contextlib
import random
import re
import signal
import statistics
import subprocess
import time
from dataclasses import replace

import pytest
from forked import eventually
from lan import MOVE_PLAN, NODE, SHIM, SHIM_PLAN
from watching import watching

from podlan.plan import Address, Route

pytestmark = pytest.mark.kernel

CHANGES, ALONE = 1000, 30
ROUTES = [f"10.99.{number}.0/24" for number in range(20)]
PLAN = replace(SHIM_PLAN, routes=(*SHIM_PLAN.routes, *(Route("macvlan0", route, source=SHIM) for route in ROUTES)))
V6 = replace(SHIM_PLAN, addresses=(*SHIM_PLAN.addresses, Address("macvlan0", "fd00:81::c7/128")))
DELETE = f"addr del {SHIM}/32 dev macvlan0"


def random_change(chance):
    route = chance.choice(ROUTES)
    return chance.choice(
        [
            f"route del {route}",
            f"route del {route} dev macvlan0",
            f"route replace {route} dev macvlan0 proto static",
            f"route replace {route} dev lo metric 9",
            "link set eth0 promisc off",
            "link set macvlan0 address 02:00:00:00:00:09",
            "link set macvlan0 alias other",
            DELETE,
            "link set macvlan0 down",
            "link del macvlan0",
        ]
    )


def without_routes_elsewhere(net):
    """Give the state; podlan leaves alone what the changes put on lo."""
    net.ip("route", "flush", "dev", "lo", check=False)
    return net.state()


def test_a_thousand_changes_converge_and_leave_neither_memory_nor_descriptors_behind(net):
    """Some come alone; the others in streams that the watch runs in the midst of, with time to catch up in between."""
    chance = random.Random("podlan")  # noqa: S311 - the same in every run
    argv = ["ip", "-n", f"{net.prefix}node", "-force", "-batch", "-"]
    with net.pinging("peer", NODE) as counts, watching(net, net.directory(PLAN), fresh=True) as watch:
        planned = net.state()
        idle = watch.descriptors()
        memory = []
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as changer:
            for number in range(CHANGES):
                print(random_change(chance), file=changer.stdin, flush=True)
                time.sleep(0.004)
                if number < ALONE or number % 200 == 199:
                    watch.until(lambda: without_routes_elsewhere(net) == planned)
                    watch.until(lambda: watch.descriptors() <= idle)  # a run has more, while it runs
                    memory.append(watch.status("VmRSS"))
            changer.stdin.close()
        assert memory[-1] - memory[ALONE] < 2048, f"kB: {memory}"
        assert watch.status("Threads") == 1
        assert watch.children() == []
        taken = [int(found) for found in re.findall(r"repaired (\d+) ms", watch.stdout)]
        assert len(taken) >= ALONE
        middle, longest = statistics.median(taken), max(taken)
        print(f"\n{CHANGES} changes, {len(taken)} repairs: median {middle:.0f} ms, longest {longest} ms")  # noqa: T201 - for people
        print(f"resident {memory[0]} to {memory[-1]} kB, {idle} open files")  # noqa: T201 - as above
    sent, received = counts
    assert received == sent > CHANGES, "the node was away from its peer"


@contextlib.contextmanager
def repeated(net, line):
    """Give the same command again and again, by one process that stays."""
    loop = f"while echo '{line}'; do sleep 0.2; done | ip -n {net.prefix}node -force -batch -"
    with subprocess.Popen(["sh", "-c", loop], stderr=subprocess.DEVNULL, start_new_session=True) as fighter:
        try:
            yield
        finally:
            subprocess.run(["kill", "--", f"-{fighter.pid}"], check=True)


@pytest.mark.parametrize(
    ("plan", "line", "who"),
    [
        (SHIM_PLAN, DELETE, r"ip \(process \d+\)"),
        (SHIM_PLAN, "route replace 172.16.129.110/31 dev macvlan0 proto dhcp", "a route of protocol dhcp"),
        (MOVE_PLAN, f"addr change {NODE}/24 dev eth0 metric 7", r"ip \(process \d+\)"),
    ],
    ids=["address", "route", "metric"],
)
def test_whoever_undoes_all_repairs_is_named_and_given_way_to(net, plan, line, who):
    with watching(net, net.directory(plan)) as watch:
        state = net.state()
        with repeated(net, line):
            watch.until_said("repaired from now on after 0.4 s")
            assert re.search(f"warning: undone again and again by .*{who}", watch.stderr), watch.output()
        watch.until(lambda: net.state() == state)
        assert watch.stdout.count("repaired") < 30


def test_a_network_manager_that_runs_here_is_named_where_the_kernel_tells_nothing(net):
    """The kernel does not say which process deleted an IPv6 address."""
    program = net.home / "NetworkManager"
    program.write_bytes(open("/bin/sleep", "rb").read())  # noqa: PTH123, SIM115 - a copy under this name
    program.chmod(0o755)
    manager = subprocess.Popen(net.argv("node", program, "60"))
    try:
        with watching(net, net.directory(V6)) as watch, repeated(net, "addr del fd00:81::c7/128 dev macvlan0"):
            watch.until_said("NetworkManager run here and may be who")
    finally:
        manager.kill()
        manager.wait()


def test_when_the_kernel_could_not_tell_all_everything_is_read_again(net):
    with watching(net, net.directory(SHIM_PLAN)) as watch:
        state = net.state()
        watch.signal(signal.SIGSTOP)
        noise = [
            f"addr {verb} 127.0.{high}.{low}/32 dev lo"
            for high in range(20)
            for low in range(200)
            for verb in ("add", "del")
        ]
        net.batch("node", noise)
        net.ip("link", "del", "macvlan0")
        assert "macvlan0" not in net.ip("link")
        watch.signal(signal.SIGCONT)
        watch.until_said("there were more changes than the kernel could tell of")
        watch.until(lambda: net.state() == state)


def quiet(metrics):
    """Wait until no run has come for a while, since the watch's own first changes come back as events."""

    def unchanged():
        before = metrics.read_text(encoding="utf-8")
        time.sleep(0.8)
        return before if metrics.read_text(encoding="utf-8") == before else ""

    return eventually("runs do not end", unchanged)


def test_changes_that_do_not_concern_the_plan_start_no_run(net):
    net.sysctl("net/ipv6/conf/all/disable_ipv6", "1")  # duplicate address detection ends when it likes
    metrics = net.home / "podlan.prom"
    with watching(net, net.directory(SHIM_PLAN), "--metrics", metrics) as watch:
        before = quiet(metrics)
        net.batch(
            "node",
            [
                "link add veth7 type veth peer name veth8",
                "link set veth7 up",
                "addr add 192.0.2.7/24 dev veth7",
                *(f"route add 203.0.{number}.0/24 dev eth0 proto bird" for number in range(100)),
                "link del veth7",
            ],
        )
        time.sleep(0.8)
        assert metrics.read_text(encoding="utf-8") == before, watch.output()
