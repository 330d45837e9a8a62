"""Whatever drifts, one run repairs that and nothing else, and what others own stays byte for byte."""

import os
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, SHIM, SHIM_PLAN

from podlan.plan import Address, EnvFlags, File, Route

pytestmark = pytest.mark.kernel

EXAMPLES = 100 if os.environ.get("PROOF") else 7
CNI = "/etc/cni/net.d/05-podlan.conflist"
UNIT = "/etc/systemd/system/podlan.service"
WANTS = "/etc/systemd/system/multi-user.target.wants/podlan.service"
KUBELET, BOOT, COPY = "/etc/default/kubelet", "/etc/rc.local", "/etc/podlan/node"
FLAG = "--node-ip=172.16.129.101"
FILES = (
    File(CNI, source=f"rootfs{CNI}"),
    File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",)),
    File(KUBELET, env_flags=EnvFlags("KUBELET_EXTRA_ARGS", (FLAG,))),
    File(BOOT, mode="0755", block=("/bin/true",)),
)
SOURCES = {f"rootfs{CNI}": b"{}\n", f"rootfs{UNIT}": b"[Unit]\n"}
SHIM6, PODS6 = "fd00:81::c7", "fd00:81::6e/127"
PLANS = {
    "shim": replace(
        SHIM_PLAN,
        links=(replace(SHIM_PLAN.links[0], altnames=("uplink0",)), SHIM_PLAN.links[1]),
        addresses=(*SHIM_PLAN.addresses, Address("macvlan0", f"{SHIM6}/128")),
        routes=(*SHIM_PLAN.routes, Route("macvlan0", PODS6, source=SHIM6)),
        files=FILES,
    ),
    "move": replace(MOVE_PLAN, files=FILES),
}
PODS = [route.destination for route in SHIM_PLAN.routes]
ROUTE6 = f"route {PODS6} metric 1024"
ROUTES = {"shim": {*(f"route {route}" for route in PODS), ROUTE6}, "move": {"route default"}}

# What a drift needs to be as planned, the commands for `ip`, and what a run must repair after them.
COMMON = {
    "mode": ({"link"}, ["link set macvlan0 type macvlan mode private"], {"mode"}),
    "alias": ({"link"}, ["link set macvlan0 alias other"], {"alias"}),
    "route of an earlier plan": (
        {"route 10.98.0.0/24 metric 8"},
        ["route add 10.98.0.0/24 dev eth0 proto 112 metric 8"],
        {"route 10.98.0.0/24 metric 8"},
    ),
    "no alias": ({"link"}, ['link set macvlan0 alias ""'], {"alias"}),
}
DRIFTS = {
    "shim": {
        **COMMON,
        "mac": ({"link"}, ["link set macvlan0 address 02:00:00:00:00:09"], {"mac"}),
        "down": ({"link", "up"}, ["link set macvlan0 down"], {"up", f"address {SHIM6}/128", *ROUTES["shim"]}),
        "metric": (
            {"link", f"address {SHIM}/32"},
            [f"addr change {SHIM}/32 dev macvlan0 metric 9"],
            {f"address {SHIM}/32"},
        ),
        "address": (
            {"link", f"address {SHIM}/32"},
            [f"addr del {SHIM}/32 dev macvlan0"],
            {f"address {SHIM}/32", *(f"route {pods}" for pods in PODS)},
        ),
        "address of IPv6": (
            {"link", f"address {SHIM6}/128"},
            [f"addr del {SHIM6}/128 dev macvlan0"],
            {f"address {SHIM6}/128", ROUTE6},
        ),
        "route": ({"up", f"route {PODS[0]}"}, [f"route del {PODS[0]}"], {f"route {PODS[0]}"}),
        "source": (
            {"up", f"route {PODS[1]}"},
            [f"route replace {PODS[1]} dev macvlan0 src {NODE}"],
            {f"route {PODS[1]}"},
        ),
        "route of IPv6": ({"up", ROUTE6}, [f"route del {PODS6} dev macvlan0"], {ROUTE6}),
        "promisc": (set(), ["link set eth0 promisc off"], {"promisc"}),
        "altname": ({"altname"}, ["link property del dev eth0 altname uplink0"], {"altname"}),
    },
    "move": {
        **COMMON,
        "mac": ({"link"}, ["link set macvlan0 address 02:00:00:00:00:09"], {"mac", "gate", "announce"}),
        "down": ({"link", "up"}, ["link set macvlan0 down"], {"up", "gate", "announce", "route default"}),
        "metric": ({"link", "up"}, [f"addr change {NODE}/24 dev macvlan0 metric 9"], {f"address {NODE}/24 macvlan0"}),
        "metric of the master": (set(), [f"addr change {NODE}/24 dev eth0 metric 7"], {f"address {NODE}/24 eth0"}),
        "default": (
            {"up", "route default"},
            [f"route replace default via {GATEWAY} dev eth0"],
            {"route default"},
        ),
        "no default": ({"up", "route default"}, ["route del default metric 0"], {"route default"}),
        "fallback": ({"route default metric 1024"}, ["route del default metric 1024"], {"route default metric 1024"}),
    },
}
SYSCTLS = {"shim": "net/ipv4/conf/macvlan0/arp_announce", "move": "net/ipv4/conf/macvlan0/rp_filter"}

# Commands for `ip` by which others add something and take it away again.
FOREIGN = {
    "address": ("addr add 192.0.2.9/24 dev eth0", "addr del 192.0.2.9/24 dev eth0"),
    "address on the child": ("addr add 192.0.2.77/32 dev macvlan0", "addr del 192.0.2.77/32 dev macvlan0"),
    "route": (f"route add 203.0.113.0/24 via {GATEWAY} dev eth0 proto static", "route del 203.0.113.0/24"),
    "route of IPv6": ("route add 2001:db8:9::/48 dev eth0 metric 5", "route del 2001:db8:9::/48 dev eth0 metric 5"),
    "route to pods": (f"route add {PODS[0]} dev eth0 metric 77", f"route del {PODS[0]} dev eth0 metric 77"),
    "default": (f"route add default via {GATEWAY} dev eth0 metric 4000", "route del default metric 4000"),
    "link": ("link add macvlan9 link eth0 type macvlan mode bridge", "link del macvlan9"),
    "altname": ("link property add dev eth0 altname mine0", "link property del dev eth0 altname mine0"),
}
PATTERNS = (
    (r"ip link add ", "link"),
    (r"ip link set dev macvlan0 (alias|up)", r"\1"),
    (r"ip link set dev macvlan0 type macvlan mode", "mode"),
    (r"ip link set dev macvlan0 address", "mac"),
    (r"ip link set dev eth0 promisc", "promisc"),
    (r"ip link property add dev eth0 altname", "altname"),
    (r"ip (?:-6 )?route \w+ (\S+) .*?(?: (metric \d+))?$", r"route \1 \2"),
    (rf"ip address \w+ ({NODE}/24 dev) (\w+)", rf"address {NODE}/24 \2"),
    (r"ip address \w+ (\S+) ", r"address \1"),
    (r"sysctl -q -w ([^=]+)=", r"\1"),
    (r"# .* must answer", "gate"),
    (r"arping", "announce"),
    (r".*cp -RT", COPY),
    (r".*ln -sfn", WANTS),
    (r".*root(/etc/\S+)( && chmod \d+)?$", r"\1"),
)


def about(line):
    """Tell what an operation is about."""
    for pattern, what in PATTERNS:
        if match := re.match(pattern, line):
            return match.expand(what).strip()
    raise AssertionError(line)


class Drifting(RuleBasedStateMachine):
    """A node as planned, on which others change podlan's objects and their own."""

    def __init__(self, net, kind, directory, first):
        super().__init__()
        self.net, self.kind, self.directory = net, kind, directory
        self.child = {what for line in first if "macvlan0" in line for what in [about(line)]}
        self.lacking = set()
        self.foreign = set()
        self.others_files = {KUBELET: "# others'\n", BOOT: "# others'\n"}
        self.own = views(net)[0]

    @rule(data=st.data())
    def drift(self, data):
        name = data.draw(st.sampled_from(sorted(DRIFTS[self.kind])))
        needs, commands, repairs = DRIFTS[self.kind][name]
        if not needs & self.lacking:
            self.net.batch("node", commands)
            self.lacking |= repairs

    @precondition(lambda self: "link" not in self.lacking)
    @rule()
    def child_vanishes(self):
        self.net.batch("node", ["link del macvlan0"])
        self.lacking = self.lacking - self.child - {"mode", "mac"} | self.child
        self.foreign.discard("address on the child")

    @precondition(lambda self: "link" not in self.lacking)
    @rule()
    def setting(self):
        self.net.sysctl(SYSCTLS[self.kind], "0")
        self.lacking.add(SYSCTLS[self.kind])

    @rule(path=st.sampled_from([CNI, UNIT]), how=st.sampled_from(["gone", "edited", "mode"]))
    def file(self, path, how):
        file = self.net.root / path[1:]
        if how == "gone":
            file.unlink(missing_ok=True)
        elif how == "edited":
            file.write_text("edited\n", encoding="utf-8")
        elif file.exists():
            file.chmod(0o600)
        else:
            return
        self.lacking.add(path)

    @rule(elsewhere=st.booleans())
    def unit_link(self, elsewhere):
        link = self.net.root / WANTS[1:]
        link.unlink(missing_ok=True)
        if elsewhere:
            link.symlink_to("/dev/null")
        self.lacking.add(WANTS)

    @rule(flag=st.sampled_from(["", "--node-ip=192.0.2.1"]))
    def flag(self, flag):
        file = self.net.root / KUBELET[1:]
        text = re.sub(r"--node-ip=\S*?(?=[ \"])", flag, file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
        self.lacking.add(KUBELET)

    @rule()
    def block(self):
        file = self.net.root / BOOT[1:]
        file.write_text(without_block(file.read_text(encoding="utf-8")), encoding="utf-8")
        self.lacking.add(BOOT)

    @rule()
    def copy(self):
        (self.net.root / COPY[1:] / "plan.json").write_text("{}", encoding="utf-8")
        self.lacking.add(COPY)

    @rule(name=st.sampled_from(sorted(FOREIGN)))
    def others_add_or_remove(self, name):
        if name == "address on the child" and "link" in self.lacking:
            return
        self.net.batch("node", [FOREIGN[name][name in self.foreign]])
        self.foreign ^= {name}

    @rule(value=st.sampled_from("012"))
    def others_set(self, value):
        self.net.sysctl("net/ipv4/conf/eth0/shared_media", "1" if value == "2" else value)
        self.net.sysctl("net/ipv4/conf/lo/rp_filter", value)

    @rule(path=st.sampled_from([KUBELET, BOOT]), end=st.booleans())
    def others_write_into_the_same_file(self, path, end):
        file = self.net.root / path[1:]
        text = file.read_text(encoding="utf-8")
        if path == KUBELET and not end:
            text = text.replace('ARGS="', 'ARGS="--v=2 ')
        else:
            text = text + "# others\n" if end or path == KUBELET else text.replace("#!/bin/sh\n", "#!/bin/sh\n: one\n")
        file.write_text(text, encoding="utf-8")

    @rule(there=st.booleans())
    def others_file(self, there):
        file = self.net.root / "etc/cni/net.d/90-mine.txt"
        file.write_text("mine\n", encoding="utf-8") if there else file.unlink(missing_ok=True)

    @rule()
    def repair(self):
        before = views(self.net)[1]
        lines = self.net.reconcile(self.directory).stdout.splitlines()
        done = [line.removeprefix("+ ") for line in lines if line.startswith("+ ")]
        assert sorted(map(about, done)) == sorted(self.lacking), lines
        self.lacking = set()
        own, foreign = views(self.net)
        assert foreign == before, difference(foreign, before)
        assert own == self.own, difference(own, self.own)
        assert self.net.reconcile(self.directory).stdout.startswith("nothing to do")

    def teardown(self):
        try:
            self.repair()
        finally:
            for name in self.foreign:
                self.net.ip(*FOREIGN[name][1].split(), check=False)


def without_block(text):
    return re.sub(r"# BEGIN podlan\n.*?# END podlan\n", "", text, flags=re.DOTALL)


def views(net):
    """Give what is podlan's, and what is others', each as it is on this node."""
    links, addresses, routes, values, tree = net.snapshot()
    names = set(re.findall(r"altname ([^\s\\]+)", links))
    links = re.sub(r" *\\? *altname [^\s\\]+| promiscuity \d+|link-netnsid \d+", "", links)
    lines = [line.rstrip(" \\") for text in (links, addresses, routes, values) for line in text.splitlines()]
    own = [line for line in lines if is_own(line)]
    foreign = [line for line in lines if not is_own(line)]
    paths = {f"/{path}": content for path, content in tree.items() if not path.startswith("var")}
    flags = paths.pop(KUBELET)[1].decode()
    boot = paths.pop(BOOT)[1].decode()
    merged = re.sub(r" +(?=[ \"])|(?<=\") +", "", re.sub(r"--node-ip=[^ \"]*", "", flags)), without_block(boot)
    whole = {path: content for path, content in paths.items() if path.startswith(COPY) or path in (CNI, UNIT, WANTS)}
    others = {path: content for path, content in paths.items() if path not in whole}
    return (sorted(own), "uplink0" in names, FLAG in flags, "# BEGIN" in boot, whole), (
        sorted(foreign),
        names - {"uplink0"},
        merged,
        others,
    )


def difference(now, before):
    return set(now[0]) ^ set(before[0]), *((one, other) for one, other in zip(now, before, strict=True) if one != other)


def is_own(line):
    if "192.0.2." in line:
        return False
    # What podlan displaces, or changes the metric of, is others' only where podlan's is not.
    if line == f"default via {GATEWAY} dev eth0" or line.startswith("172.16.129.0/24 dev eth0 proto kernel"):
        return True
    of_a_planned_setting = "conf/eth0/arp_filter" in line or "conf/eth0/rp_filter" in line
    return "macvlan0" in line or line.startswith("eth0") or "proto 112" in line or of_a_planned_setting


@pytest.mark.parametrize("kind", PLANS)
def test_one_run_repairs_exactly_what_drifted(net, kind):
    net.sysctl("net/ipv6/conf/all/accept_dad", "0")
    kubelet = net.root / KUBELET[1:]
    kubelet.parent.mkdir(parents=True)
    kubelet.write_text('# others\nKUBELET_EXTRA_ARGS="--v=4"\n', encoding="utf-8")
    directory = net.directory(PLANS[kind], SOURCES)
    first = [line.removeprefix("+ ") for line in net.reconcile(directory).stdout.splitlines()]
    run_state_machine_as_test(
        lambda: Drifting(net, kind, directory, first),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    net.reconcile(NONE_PLAN)
    assert "macvlan0" not in net.ip("link")
    assert net.reaches("peer", NODE)
