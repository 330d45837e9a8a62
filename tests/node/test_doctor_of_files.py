"""What doctor tells of programs, kernel settings and files; beside each case the neighbour it is silent on."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lan import GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, POD, SHIM, SHIM_PLAN, forked_in

from podlan.node.doctor._settings import crowded, entries
from podlan.plan import Address, Cni, EnvFlags, File, Release

pytestmark = pytest.mark.kernel

REAL = "/usr/lib/cni"
CNI = "/etc/cni/net.d/05-podlan.conflist"
OWN_NODE = [{"dst": f"{NODE}/32", "gw": SHIM}]


class Patient:
    """A node with a plan that it matches, and what doctor says of it, the packets left out."""

    def __init__(self, net):
        self.net = net
        self.root = net.root

    def settle(self, plan=SHIM_PLAN, version="1.0.0", routes=OWN_NODE, **changes):
        subnet = {"subnet": "172.16.129.0/24", "rangeStart": POD, "rangeEnd": "172.16.129.119", "gateway": GATEWAY}
        ipam = {"type": "host-local", "ranges": [[subnet]], "routes": list(routes)}
        macvlan = {"type": "macvlan", "master": "eth0", "ipam": ipam}
        document = {"cniVersion": version, "name": "pods", "plugins": [macvlan]}
        plan = replace(
            plan,
            identity=(NODE,),
            cni=Cni(CNI, ("/opt/cni/bin/macvlan", "/opt/cni/bin/host-local")),
            files=(File(CNI, source=f"rootfs{CNI}"), *changes.pop("files", ())),
        )
        sources = {f"rootfs{CNI}": json.dumps(document).encode()}
        self.net.reconcile(self.net.directory(replace(plan, **changes), sources))
        return self

    def write(self, path, content, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)
        return file

    def install(self, *names, into="opt/cni/bin"):
        (self.root / into).mkdir(parents=True, exist_ok=True)
        for name in names:
            (self.root / into / name).symlink_to(f"{REAL}/{name}")

    def doctor(self, *options, code=0):
        arguments = ["doctor", "--no-wire", "--root", str(self.root), *options]
        done = forked_in(self.net.prefix + "node", self.net.home, arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout.replace(str(self.root), "")

    def says(self, code=0, *, of=""):
        found = json.loads(self.doctor("--format", "json", code=code))["findings"]
        return [
            f"{one['code']} {one['message']}"
            for one in found
            if one["code"] not in ("PL677", "PL611") and of in one["code"]
        ]


@pytest.fixture
def node(net):
    return Patient(net)


def test_real_plugins_of_root_that_speak_the_file_s_version_are_nothing_to_tell(node):
    node.install("macvlan", "host-local")
    assert node.settle().says() == []


def test_plugins_that_do_not_speak_the_file_s_version_are_told_at_the_file(node):
    node.install("macvlan", "host-local")
    speaks = "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0"
    assert node.settle(version="1.1.0").says(1) == [
        f"PL671 /opt/cni/bin/{name} speaks {speaks}, and {CNI} has cniVersion 1.1.0"
        for name in ("host-local", "macvlan")
    ]


def test_a_plugin_that_others_can_write_is_told_and_never_run(node, tmp_path):
    trace = tmp_path / "trace"
    program = node.write("opt/cni/bin/macvlan", f"#!/bin/sh\ntouch {trace}\n", 0o775)
    node.install("host-local")
    node.settle()
    told = "PL672 others than root can write {}, and pods run /opt/cni/bin/macvlan as root"
    assert node.says(1) == [told.format("/opt/cni/bin/macvlan")]
    program.chmod(0o755)
    os.chown(program, 12345, 0)
    assert node.says(1) == [told.format("/opt/cni/bin/macvlan")]
    os.chown(program, 0, 0)
    program.parent.chmod(0o777)
    assert [one[:5] for one in node.says(1)] == ["PL672", "PL672"], "who can write the directory can write both"
    assert not trace.exists()


def test_what_hangs_crashes_or_is_no_plugin_is_told_within_bounded_time(node):
    trace = node.root / "trace"
    node.write("opt/cni/bin/macvlan", f"#!/bin/sh\nsleep 1000 &\necho $! > {trace}\nwait\n", 0o755)
    node.write("opt/cni/bin/host-local", "\x7fELF of another machine", 0o755)
    said = "does not say which versions of CNI it speaks:"
    assert node.settle().says(1) == [
        f"PL673 /opt/cni/bin/host-local {said} Exec format error",
        f"PL673 /opt/cni/bin/macvlan {said} it did not end within 5 s",
    ]
    left = Path(f"/proc/{trace.read_text().strip()}/stat")
    assert not left.exists() or left.read_text().split()[2] == "Z", "what it started ended with it"


@pytest.mark.parametrize(("planned", "told"), [("1.1.1", 0), ("v1.1.1", 0), ("1.4.0", 2)])
def test_another_release_than_planned_is_told_where_plugins_name_theirs(node, planned, told):
    # As the project's own archives answer; a distribution's say 'version unknown', and that is no other release.
    for name in ("macvlan", "host-local"):
        answer = f'if [ -n "$CNI_COMMAND" ]; then exec {REAL}/{name}; fi; echo "CNI {name} plugin v1.1.1" >&2'
        node.write(f"opt/cni/bin/{name}", f"#!/bin/sh\n{answer}\n", 0o755)
    release = Release(planned, "https://example.com/a.tgz", "0" * 64, "/opt/cni/bin", ("macvlan", "host-local"))
    node.settle(release=release)
    assert [one[:5] for one in node.says()] == ["PL674"] * told


def test_settings_that_make_the_shim_deaf_to_pods_are_told_and_pods_find_it_so(node):
    node.settle()
    node.write(f"var/lib/cni/networks/pods/{POD}", "a-pod\r\neth0")
    with node.net.pod():
        pod = node.net.names[-1].removeprefix(node.net.prefix)
        for value, reachable in (("1", True), ("2", False), ("0", True)):
            node.net.sysctl("net/ipv4/conf/all/arp_ignore", value)
            node.net.run(pod, "ip", "neigh", "flush", "all")
            node.net.run(pod, "ip", "route", "replace", f"{SHIM}/32", "dev", "eth0")
            node.net.run("node", "ip", "neigh", "flush", "all")
            assert node.net.reaches(pod, SHIM) is reachable, value
            assert bool(node.says(of="PL675")) is not reachable, value


def test_strict_arp_is_told_only_where_pods_have_no_route_to_their_own_node(node):
    node.net.sysctl("net/ipv4/conf/all/arp_ignore", "1")
    assert node.settle().says(of="PL675") == []
    (told,) = node.settle(routes=()).says(of="PL675")
    assert told == (
        f"PL675 arp_ignore is 1 on macvlan0, and {CNI} gives pods no route to {NODE}: they cannot reach their own node"
    )


def test_proxy_arp_on_the_master_is_told_and_the_lan_really_hears_two_macs_for_a_pod(node):
    node.settle()
    node.net.sysctl("net/ipv4/conf/eth0/forwarding", "1")
    own = node.net.run("node", "cat", "/sys/class/net/eth0/address").stdout.strip()
    node.write(f"var/lib/cni/networks/pods/{POD}", "a-pod\r\neth0")
    with node.net.pod():
        for value in ("0", "1"):
            node.net.sysctl("net/ipv4/conf/eth0/proxy_arp", value)
            node.net.sysctl("net/ipv4/neigh/eth0/proxy_delay", "0")
            answers = node.net.run("peer", "arping", "-c", "2", "-I", "eth0", POD, check=False).stdout.lower()
            assert (own in answers) is (value == "1"), answers
            assert [one[:5] for one in node.says(of="PL675")] == ["PL675"] * int(value)


def test_of_a_bridge_as_master_it_is_told_that_the_host_s_rules_see_what_comes_to_pods_and_so_they_do(node):
    bridge = ["link set eth0 down", "link set eth0 name port", "link add eth0 type bridge", "link set port master eth0"]
    up = ["link set port up", "link set eth0 up", f"addr add {NODE}/24 dev eth0"]
    node.net.batch("node", [*bridge, "addr flush dev port", *up])
    node.settle()
    node.write(f"var/lib/cni/networks/pods/{POD}", "a-pod\r\neth0")
    with node.net.pod():
        for chain, value, reachable in (("FORWARD", "1", True), ("PREROUTING", "1", False), ("PREROUTING", "0", True)):
            node.net.sysctl("net/bridge/bridge-nf-call-iptables", value)
            table = "raw" if chain == "PREROUTING" else "filter"
            node.net.run("node", "iptables", "-t", table, "-I", chain, "-j", "DROP")
            assert node.net.reaches("peer", POD) is reachable
            assert [one[:5] for one in node.says(of="PL675")] == ["PL675"] * int(value)


def test_ipv6_services_through_a_node_that_does_not_forward_are_told_with_what_keeps_its_routers(node):
    services = [*OWN_NODE, {"dst": "fd00:96::/112", "gw": "fd00::c1"}, {"dst": "fd00::1/128", "gw": "fd00::c1"}]
    node.net.run("node", "ip", "address", "add", "fd00::1/64", "dev", "eth0", "nodad")
    child = Address("macvlan0", "fd00::c1/128")
    node.settle(routes=services, addresses=(*SHIM_PLAN.addresses, child), identity=(NODE, "fd00::1"))
    why = "through this node, and net.ipv6.conf.all.forwarding is 0: they get no answer from IPv6 Services"
    assert node.says(of="PL675") == [f"PL675 {CNI} sends pods to fd00:96::/112 {why}"]
    assert "set net.ipv6.conf.eth0.accept_ra to 2 first" in node.doctor()
    node.net.sysctl("net/ipv6/conf/eth0/accept_ra", "2")
    assert "accept_ra" not in node.doctor()
    node.net.sysctl("net/ipv6/conf/all/forwarding", "1")
    assert node.says(of="PL675") == []
    node.net.sysctl("net/ipv6/conf/all/forwarding", "0")
    assert node.settle(routes=services[:1]).says(of="PL675") == [], "nobody is sent through the node"


def test_a_plan_that_moves_the_address_is_silent_with_every_rp_filter(node):
    node.settle(MOVE_PLAN)
    for value in ("0", "1", "2"):
        node.net.sysctl("net/ipv4/conf/all/rp_filter", value)
        assert node.says(of="PL675") == []


def test_a_nearly_full_neighbour_table_is_told():
    statistics = "entries  allocs   destroys\n00000333  00000010 00000002\n00000333  00000001 00000000\n"
    assert entries(statistics) == 819
    assert list(crowded("ipv4", 818, 1024)) == []
    assert list(crowded("ipv4", 819, 0)) == []
    (told,) = crowded("ipv4", 820, 1024)
    assert told.code == "PL675"


SYSCTL_FILES = [
    ({"zzz.conf": "net.ipv4.conf.eth0.arp_filter = 0"}, "zzz.conf:1:1"),
    ({"zzz.conf": "# net.ipv4.conf.eth0.arp_filter = 0\n\n  net/ipv4/conf/eth0/arp_filter=0"}, "zzz.conf:3:3"),
    ({"zzz.conf": "-net.ipv4.conf.eth0.arp_filter = 0"}, "zzz.conf:1:1"),
    ({"zzz.conf": "net.ipv4.conf.*.arp_filter = 0"}, "zzz.conf:1:1"),
    ({"zzz.conf": "net.ipv4.conf.*.arp_filter = 0\n-net.ipv4.conf.eth0.arp_filter"}, ""),
    ({"zzz.conf": "net.ipv4.conf.*.arp_filter = 0", "10.conf": "net.ipv4.conf.eth0.arp_filter = 1"}, ""),
    ({"zzz.conf": "net.ipv4.conf.eth0.arp_filter = 1"}, ""),
    ({"zzz.conf": "net.ipv4.conf.eth1.arp_filter = 0"}, ""),
    ({"10.conf": "net.ipv4.conf.eth0.arp_filter = 0", "20.conf": "net.ipv4.conf.eth0.arp_filter = 1"}, ""),
    ({"zzz.txt": "net.ipv4.conf.eth0.arp_filter = 0"}, ""),
]


def test_the_last_word_of_sysctl_d_is_told_where_it_is_another_than_the_plan_s(node):
    node.settle(replace(SHIM_PLAN, sysctls={"net/ipv4/conf/eth0/arp_filter": "1"}))
    message = "warning[PL676]: net.ipv4.conf.eth0.arp_filter = 0 at boot, and the plan says 1"
    for files, told in SYSCTL_FILES:
        written = [node.write(f"etc/sysctl.d/{name}", text + "\n") for name, text in files.items()]
        text = node.doctor("-q")
        assert (f"/etc/sysctl.d/{told}: {message}" in text) is bool(told), text
        assert ("PL676" in text) is ("| " in text) is bool(told), "the line itself is shown"
        for file in written:
            file.unlink()


FLAGS = 'KUBELET_EXTRA_ARGS="--node-ip=10.0.0.1 --network-plugin=cni --max-pods 10 --pod-infra-container-image=x"\n'
LATER = "kubelets from {} on do not know {}, and end at once ({})"
PLUGIN, IMAGE = "--network-plugin", "--pod-infra-container-image"


@pytest.mark.parametrize(
    ("kubelet", "told"),
    [
        (
            "",
            {
                PLUGIN: ("warning", LATER.format("1.24", PLUGIN, "which kubelet is installed nobody could tell")),
                IMAGE: ("warning", LATER.format("1.35", IMAGE, "which kubelet is installed nobody could tell")),
            },
        ),
        (
            "v1.23.4",
            {
                PLUGIN: ("warning", LATER.format("1.24", PLUGIN, "installed is 1.23")),
                IMAGE: ("warning", LATER.format("1.35", IMAGE, "installed is 1.23")),
            },
        ),
        (
            "v1.31.0",
            {
                PLUGIN: (
                    "error",
                    f"the kubelet 1.31 of this node does not know {PLUGIN}, gone since 1.24: it ends at its next start",
                ),
                IMAGE: ("warning", LATER.format("1.35", IMAGE, "installed is 1.31")),
            },
        ),
    ],
    ids=["unknown", "older", "newer"],
)
def test_flags_on_which_a_later_kubelet_ends_are_told_at_their_place(node, kubelet, told):
    node.settle()
    node.write("etc/default/kubelet", f"# --network-plugin=cni was here\n{FLAGS}")
    node.write("etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS='--node-ip=10.0.0.1 --config-dir=/x --provider-id=y'\n")
    if kubelet:
        node.write("usr/bin/kubelet", f'#!/bin/sh\n[ "$*" = --version ] && echo Kubernetes {kubelet}\n', 0o755)
    code = int(any(severity == "error" for severity, _ in told.values()))
    found = json.loads(node.doctor("--format", "json", code=code))["findings"]
    found = [one for one in found if one["code"] == "PL678"]
    assert {one["place"]["file"] for one in found} == {"/etc/default/kubelet"}
    assert {one["place"]["line"] for one in found} == {2}
    shown = {
        FLAGS[one["place"]["column"] - 1 :][: one["place"]["length"]]: (one["severity"], one["message"])
        for one in found
    }
    deprecated = "--max-pods still works, and is deprecated: KubeletConfiguration has fields for that"
    assert shown == told | {"--max-pods": ("note", deprecated)}


def test_flags_that_podlan_itself_merged_are_read_wherever_they_stand(node):
    flags = ("--cni-conf-dir=/x", "--cluster-dns=10.96.0.10")
    node.settle(files=(File("/etc/default/other", env_flags=EnvFlags("ARGS", flags)),))
    (told,) = node.says(of="PL678")
    assert "--cni-conf-dir" in told


def test_without_a_node_directory_or_privileges_it_ends_as_the_environment_s_fault(node):
    assert (
        "bad node directory"
        in forked_in(node.net.prefix + "node", node.net.home, ["doctor", "--root", str(node.root)]).stderr
    )
    node.settle()
    weak = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    argv = node.net.argv("node", *weak, ".venv/bin/python", "-m", "podlan.node", "doctor", "--root", str(node.root))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done
    assert "CAP_NET_ADMIN is missing [PL601]" in done.stderr


def test_what_nobody_expects_in_these_places_ends_neither_in_a_traceback_nor_in_waiting(node):
    node.settle(files=(File("/etc/default/kubelet", env_flags=EnvFlags("ARGS", ("--v=2",))),))
    store = node.root / "var/lib/cni/networks/pods"
    store.mkdir(parents=True)
    (store / POD).mkdir()
    os.mkfifo(store / "172.16.129.111")
    (store / "172.16.129.112").symlink_to("/etc/passwd")
    (store / "172.16.129.113").write_bytes(b"\xff\0" * 9000)
    (store / "last_reserved_ip.0").write_text(POD)
    node.write(CNI, '{"name": 1, "plugins": [{"type": []}]}')
    (node.root / "etc/sysconfig").mkdir()
    os.mkfifo(node.root / "etc/sysconfig/kubelet")
    (node.root / "etc/sysctl.d").mkdir()
    os.mkfifo(node.root / "etc/sysctl.d/zzz.conf")
    node.write("etc/containerd/config.toml", "state = [")
    node.write("usr/bin/kubelet", "#!/bin/sh\nexec cat /dev/zero\n", 0o644)
    node.write("opt/cni/bin/macvlan", '#!/bin/sh\necho \'{"supportedVersions": {"a": [1]}}\'\n', 0o755)
    node.write("opt/cni/bin/host-local", "#!/bin/sh\necho '[]'\n", 0o755)
    told = [one[:5] for one in node.says(1)]
    assert sorted(told) == ["PL664", "PL664", "PL664", "PL664", "PL670", "PL673", "PL673"]
    node.write("var/lib/podlan/state.json", "{")
    assert node.doctor(code=4) == ""


def test_a_plan_without_pods_has_nothing_to_tell_but_what_it_is_about(net):
    net.reconcile(net.directory(NONE_PLAN))
    assert Patient(net).doctor() == "nothing to report\n"
