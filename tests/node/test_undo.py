"""podlan undo: the node is as it was before podlan, whatever others have there, and nobody notices the change."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from faults import changes_of, traced
from lan import CHILD, GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, PEER, POD, SHIM_PLAN
from watching import watching

from podlan.plan import Address, EnvFlags, File, Link, Release, Route, encode
from podlan.render import boot_script, install_script, json_text, manifest

pytestmark = pytest.mark.kernel

CNI = "/etc/cni/net.d/05-podlan.conflist"
KUBELET = "/etc/default/kubelet"
UNIT = "/etc/systemd/system/podlan-reconcile.service"
DROP_IN = "/etc/systemd/system/kubelet.service.d/20-podlan.conf"
CONTAINERD = "/etc/containerd/conf.d/podlan.toml"
SOURCES = {f"rootfs{path}": path.encode() for path in (CNI, UNIT, DROP_IN, CONTAINERD)}
FILES = (
    File(CNI, source=f"rootfs{CNI}"),
    File(CONTAINERD, source=f"rootfs{CONTAINERD}", restart=("containerd.service",)),
    File(
        KUBELET,
        env_flags=EnvFlags("KUBELET_EXTRA_ARGS", ("--node-ip=172.16.129.101", "--max-pods=60")),
        restart=("kubelet.service",),
    ),
    File(DROP_IN, source=f"rootfs{DROP_IN}", restart=("kubelet.service",)),
    File("/etc/rc.local", mode="0755", block=("/bin/sh /etc/podlan/node/boot.sh",)),
    File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",)),
)
DUAL_PLAN = replace(
    SHIM_PLAN,
    addresses=(*SHIM_PLAN.addresses, Address("macvlan0", "fd00:81::c7/128")),
    routes=(*SHIM_PLAN.routes, Route("macvlan0", "fd00:81::6e/127", source="fd00:81::c7")),
)
ALTNAME_PLAN = replace(SHIM_PLAN, links=(Link("eth0", "master", promisc=True, altnames=("podlan-uplink",)), CHILD))
PLANS = {"shim": SHIM_PLAN, "move": MOVE_PLAN, "dual stack": DUAL_PLAN, "altname": ALTNAME_PLAN}
each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)

OTHERS_FILES = {
    "etc/default/kubelet": ("# mine\nKUBELET_EXTRA_ARGS='--v=2 --max-pods 110'\nOTHER=1\n", 0o600),
    "etc/rc.local": ("#!/bin/sh\n/opt/mine\nexit 0\n", 0o644),
    "etc/cni/net.d/10-mine.conf": ("{}", 0o640),
    "etc/systemd/system/multi-user.target.wants/mine.service": ("", 0o644),
    "etc/systemd/system/kubelet.service": ("[Unit]\n", 0o644),
    "etc/podlan.conf": ("mine", 0o644),
    "var/lib/mine": ("mine", 0o644),
}
OTHERS_NETWORK = [
    "link add macvlan9 link eth0 type macvlan mode bridge",
    "link set macvlan9 up alias mine",
    "addr add 192.0.2.9/24 dev eth0",
    "addr add 192.0.2.10/32 dev macvlan9",
    "addr add fd00:81::65/64 dev eth0 nodad",
    "route add 203.0.113.0/24 via 172.16.129.254 proto static",
    "route add 203.0.113.0/24 dev macvlan9 metric 77",
    "link property add dev eth0 altname mine0",
]


def lay(net, files=None):
    """Put others' files below the root."""
    for name, (text, mode) in (OTHERS_FILES if files is None else files).items():
        path = net.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)


def tree(root):
    """Give everything below the root with mode, owner and content, but what a reboot empties."""
    found = {}
    for path in sorted(root.rglob("*")):
        name, status = str(path.relative_to(root)), path.lstat()
        if not (name == "run" or name.startswith("run/")):
            content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[name] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found


def sysctls(net):
    """Give every sysctl of the network but those of podlan's child and those that count or move by themselves."""
    lines = net.run("node", "sysctl", "-a", "--pattern", r"^net\.", check=False).stdout.splitlines()
    return [line for line in lines if not re.search(r"macvlan0|netfilter|random|nf_|unix|dirty|tcp_mem|udp_mem", line)]


def network(net, namespaces=("node",)):
    """Give links, addresses and routes of the namespaces as the kernel tells of them."""
    told = {}
    for name in namespaces:
        for what in (["-d", "link"], ["addr"], ["-4", "route", "show", "table", "all"], ["-6", "route"]):
            document = json.loads(net.run(name, "ip", "-j", *what).stdout or "[]")
            for entry in document:
                entry.pop("promiscuity", None)  # a count, of those who want it
                for address in entry.get("addr_info", ()):
                    address.pop("tentative", None)  # for its first second
            told[name, what[-1], what[0]] = sorted(json.dumps(entry, sort_keys=True) for entry in document)
    return told


def test_dry_run_help_and_json(net):
    lay(net)
    assert "NotReady" in net.podlan("undo", "--help").stdout
    assert net.podlan("undo").stdout == "nothing to undo: podlan owns nothing here\n"
    assert net.podlan("undo", "--dry-run").stdout == "# nothing to undo: podlan owns nothing here\n"
    net.reconcile(net.directory(replace(SHIM_PLAN, files=FILES), SOURCES))
    files, kernel = tree(net.root), net.state()
    preview = json.loads(net.podlan("undo", "--dry-run", "--format", "json").stdout)
    assert (preview["differs"], preview["changed"]) == (True, False)
    assert (tree(net.root), net.state()) == (files, kernel)
    done = json.loads(net.podlan("undo", "--format", "json").stdout)
    assert (done["differs"], done["changed"]) == (False, True)
    assert done["operations"] == preview["operations"]
    assert set(done["byHand"]) == {
        "systemctl daemon-reload",
        "systemctl try-restart containerd.service",
        "systemctl try-restart kubelet.service",
    }


@each_plan
def test_everything_is_as_before_and_what_others_have_was_never_touched(net, plan):
    lay(net)
    net.batch("node", OTHERS_NETWORK)
    with net.pod() as pod:
        hosts = ("node", pod, "gw", "peer")
        before = network(net, hosts), sysctls(net), tree(net.root)
        net.reconcile(net.directory(replace(plan, files=FILES), SOURCES))
        planned = network(net, hosts), sysctls(net), tree(net.root)
        assert all(one != other for one, other in zip(before, planned, strict=True))
        done = net.podlan("undo")
        assert done.stderr == ""
        after = network(net, hosts), sysctls(net), tree(net.root)
        assert after[0] == before[0]
        assert after[1] == before[1]
        assert after[2] == before[2]
        assert net.podlan("undo").stdout == "nothing to undo: podlan owns nothing here\n"
        assert net.reaches(pod, GATEWAY)


@pytest.mark.parametrize("plan", [SHIM_PLAN, MOVE_PLAN], ids=["shim", "move"])
def test_the_lines_of_a_dry_run_do_the_same_when_sh_runs_them(net, plan):
    lay(net)
    before = net.state(), tree(net.root)
    net.reconcile(net.directory(replace(plan, files=FILES), SOURCES))
    net.run("node", "sh", "-e", "-c", net.podlan("undo", "--dry-run").stdout)
    assert (net.state(), tree(net.root)) == before


def test_directories_and_files_that_podlan_made_go_with_what_was_in_them(net):
    lay(net, {"etc/hosts": ("", 0o644), "var/lib/mine": ("", 0o644)})
    before = tree(net.root)
    net.reconcile(net.directory(replace(NONE_PLAN, files=FILES), SOURCES))
    (net.root / "etc/containerd/conf.d/mine.toml").write_text("mine", encoding="utf-8")
    net.podlan("undo")
    left = {name for name in tree(net.root) if name not in before}
    assert left == {"etc/containerd", "etc/containerd/conf.d", "etc/containerd/conf.d/mine.toml"}


def test_what_others_changed_stays_and_flags_and_blocks_are_taken_out_of_it(net):
    lay(net)
    net.reconcile(net.directory(replace(NONE_PLAN, files=FILES), SOURCES))
    (net.root / CNI[1:]).write_text("mine", encoding="utf-8")
    kubelet, local = net.root / KUBELET[1:], net.root / "etc/rc.local"
    kubelet.write_text(kubelet.read_text(encoding="utf-8").replace("--v=2", "--v=4 --mine"), encoding="utf-8")
    local.write_text(local.read_text(encoding="utf-8").replace("/opt/mine", "/opt/other"), encoding="utf-8")
    assert "PL616" in net.podlan("undo").stderr
    assert (net.root / CNI[1:]).read_text(encoding="utf-8") == "mine"
    assert "KUBELET_EXTRA_ARGS='--v=4 --mine --max-pods=110'\n" in kubelet.read_text(encoding="utf-8")
    assert local.read_text(encoding="utf-8") == "#!/bin/sh\n/opt/other\nexit 0\n"
    assert net.podlan("undo").stdout == "nothing to undo: podlan owns nothing here\n"


def test_plugins_stay_unless_they_are_to_go(net):
    archive = net.root / "srv/plugins.tar"
    archive.parent.mkdir()
    content = net.home / "content"
    content.mkdir()
    for name in ("macvlan", "tuning"):
        (content / name).write_text(f"#!/bin/sh\n# {name}\n", encoding="utf-8")
    subprocess.run(["tar", "-cf", archive, "-C", content, "macvlan", "tuning"], check=True)
    digest = subprocess.run(["sha256sum", archive], check=True, capture_output=True, text=True).stdout.split()[0]
    release = Release("1", "file:///srv/plugins.tar", digest, "/opt/cni/bin", ("macvlan", "tuning"))
    directory = net.directory(replace(NONE_PLAN, release=release))
    plugins = net.root / "opt/cni/bin"

    net.reconcile(directory)
    assert "PL687" in net.podlan("undo").stderr
    assert {path.name for path in plugins.iterdir()} == {"macvlan", "tuning"}

    shutil.rmtree(plugins)
    net.reconcile(directory)
    (plugins / "tuning").write_text("mine", encoding="utf-8")
    assert "tuning was changed by others" in net.podlan("undo", "--plugins").stderr
    assert {path.name for path in plugins.iterdir()} == {"tuning"}


STREAM = """
import select, socket, struct, sys, time
if sys.argv[1] == "serve":
    listener = socket.create_server(("", 7000))
    print("ready", flush=True)
    stream, _ = listener.accept()
    while data := stream.recv(65536):
        stream.sendall(data)
    sys.exit()
stream = socket.create_connection((sys.argv[1], 7000))
stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
stream.settimeout(10)
print("ready", flush=True)
number = 0
while not select.select([sys.stdin], [], [], 0.005)[0]:
    question, answer = b"%08d" % number, b""
    stream.sendall(question)
    while len(answer) < len(question):
        answer += stream.recv(len(question) - len(answer))
    assert answer == question
    number += 1
retransmitted = struct.unpack_from("I", stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
print(number, retransmitted)
"""


@contextlib.contextmanager
def talking(net):
    """Ask the node by one TCP connection of the peer's every 5 ms; the list holds answers and retransmissions."""
    counts = []
    with contextlib.ExitStack() as ends:
        talkers = []
        for name, word in (("node", "serve"), ("peer", NODE)):
            argv = net.argv(name, sys.executable, "-c", STREAM, word)
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            ends.callback(process.communicate)
            ends.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            talkers.append(process)
        yield counts
        counts += map(int, talkers[1].communicate("\n", timeout=20)[0].split())


@pytest.mark.parametrize("rp_filter", ["0", "1", "2"])
def test_no_packet_is_lost_neither_the_nodes_nor_a_pods_nor_one_of_a_connection(net, rp_filter):
    for link in ("all", "default", "eth0"):
        net.sysctl(f"net/ipv4/conf/{link}/rp_filter", rp_filter)
    before = net.state()
    with net.pod(), net.pinging("peer", NODE) as node, net.pinging("gw", POD) as pod, talking(net) as connection:
        for plan in (SHIM_PLAN, MOVE_PLAN):
            net.reconcile(plan)
            net.podlan("undo")
            assert net.state() == before
    for sent, received in (node, pod):
        assert sent > 200
        assert received == sent
    answers, retransmitted = connection
    assert answers > 100
    assert retransmitted == 0


def test_a_node_that_install_and_boot_scripts_set_up_is_undone_as_far_as_anybody_knows(net):
    lay(net)
    before = net.state(), tree(net.root)
    for plan in (SHIM_PLAN, MOVE_PLAN):
        directory = of_scripts(net, replace(plan, files=FILES))
        subprocess.run(["sh", directory / "install.sh", "--root", net.root], check=True, capture_output=True)
        net.run("node", "sh", directory / "boot.sh")
        assert net.state() != before[0]
        done = net.podlan("undo")
        assert "PL686" in done.stderr
        assert "macvlan0" not in net.ip("link")
        assert "macvlan0" not in net.ip("route")
        for name, what in tree(net.root).items():
            assert before[1].get(name, what)[3] == what[3] or name == KUBELET[1:], name
            assert "podlan" not in name or name == "etc/podlan.conf"
        assert "node-ip" not in (net.root / KUBELET[1:]).read_text(encoding="utf-8")
        assert net.reaches("peer", NODE)
        assert net.reaches("node", "198.51.100.1")
    assert "the route to 0.0.0.0/0 via 172.16.129.254 dev eth0" in done.stderr
    assert "net/ipv4/conf/eth0/arp_filter=1" in done.stderr
    assert "metric 512" in done.stderr
    assert net.podlan("undo").stdout == "nothing to undo: podlan owns nothing here\n"

    # A run of podlan's own in between takes the scripts' flags for podlan's.
    subprocess.run(["sh", directory / "install.sh", "--root", net.root], check=True, capture_output=True)
    net.reconcile(directory)
    net.podlan("undo")
    assert "node-ip" not in (net.root / KUBELET[1:]).read_text(encoding="utf-8")


def test_a_flag_that_was_there_before_podlan_stays(net):
    text = 'KUBELET_EXTRA_ARGS="--node-ip=172.16.129.101 --max-pods=60"\n'
    lay(net, OTHERS_FILES | {KUBELET[1:]: (text, 0o600)})
    before = tree(net.root)
    net.reconcile(net.directory(replace(NONE_PLAN, files=FILES), SOURCES))
    net.podlan("undo")
    assert tree(net.root) == before


def of_scripts(net, plan):
    scripts = {"boot.sh": boot_script(plan), "install.sh": install_script(plan)}
    files = {"plan.json": json_text(encode(plan)), **scripts, **SOURCES}
    directory = net.home / f"scripts-{len(plan.routes)}-{len(plan.probes)}"
    for name, content in (files | {"manifest.json": manifest({"node": plan.node}, files)}).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


@pytest.mark.parametrize("lost", ["state", "state and copy"])
@pytest.mark.parametrize("plan", [DUAL_PLAN, MOVE_PLAN], ids=["shim", "move"])
def test_without_its_state_podlan_recognizes_what_it_owns_and_cuts_nobody_off(net, plan, lost):
    lay(net)
    before = network(net)
    net.reconcile(net.directory(replace(plan, files=FILES), SOURCES))
    net.ip("route", "add", "192.0.2.0/24", "via", PEER, "proto", "112")
    (net.root / "var/lib/podlan/state.json").unlink()
    if lost == "state and copy":
        shutil.rmtree(net.root / "etc/podlan")
    with net.pinging("peer", NODE) as counts:
        done = net.podlan("undo")
    assert counts[0] == counts[1]
    assert ("PL688" in done.stderr) == (lost == "state and copy")
    assert "macvlan0" not in net.ip("link")
    assert "192.0.2.0" not in net.ip("route")
    assert [
        key for key in network(net) if network(net)[key] != before[key] and plan is DUAL_PLAN and key[1] == "route"
    ] == []
    assert net.reaches("node", "198.51.100.1")
    assert (net.root / CNI[1:]).exists() == (lost == "state and copy")
    assert net.podlan("undo").stdout.startswith("nothing to undo")


def test_a_default_route_stays_where_nobody_knows_of_the_one_before(net):
    """The state that follows a lost one has no routes that were displaced: all fits, so the run displaces nothing."""
    directory = net.directory(MOVE_PLAN)
    net.reconcile(directory)
    (net.root / "var/lib/podlan/state.json").unlink()
    net.reconcile(directory)
    assert "PL686" in net.podlan("undo").stderr
    assert net.reaches("node", "198.51.100.1")


def test_a_node_whose_child_others_deleted_has_a_route_all_the_time(net):
    before = net.state()
    net.reconcile(MOVE_PLAN)
    net.ip("link", "del", "macvlan0")
    with net.pinging("node", "198.51.100.1") as counts:
        lines = net.podlan("undo").stdout.splitlines()
    assert counts[0] == counts[1]
    assert net.state() == before
    assert lines[0] == f"+ ip route add default via {GATEWAY} dev eth0 proto 3"
    assert lines[1].startswith("+ ip route delete default")


@pytest.mark.parametrize("command", ["set eth0 down", "del eth0"])
def test_a_route_of_an_interface_that_is_away_is_told_of(net, command):
    net.reconcile(MOVE_PLAN)
    net.batch("node", [f"link {command}"])
    assert "the route to 0.0.0.0/0 via 172.16.129.254 cannot be given back: eth0 is" in net.podlan("undo").stderr
    assert "macvlan0" not in net.ip("link")
    assert net.podlan("undo").stdout.startswith("nothing to undo")


def test_a_copy_that_is_a_link_goes_and_what_it_leads_to_stays(net):
    lay(net)
    before = tree(net.root)
    directory = net.directory(replace(SHIM_PLAN, files=FILES), SOURCES)
    (net.root / "etc/podlan").mkdir()
    (net.root / "etc/podlan/node").symlink_to(directory)
    net.reconcile()
    net.podlan("undo")
    assert tree(net.root) == before
    net.reconcile(directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_undo_that_is_told_to_end_takes_all_back(net, number):
    lay(net)
    net.reconcile(net.directory(replace(MOVE_PLAN, files=FILES), SOURCES))
    before = net.state(), tree(net.root)
    name = signal.Signals(number).name
    ended = traced(net, None, f"inject=unlinkat:signal={name}:when=1", calls=CALLS)
    assert ended.returncode == 1
    assert f"failed, rolled back: ended by {name}" in ended.stderr
    assert (net.state(), tree(net.root)) == before


def test_an_undo_and_reconciles_take_turns(net):
    directory = net.directory(MOVE_PLAN)
    commands = [["undo"], ["reconcile", directory]] * 2
    with net.pinging("peer", NODE) as counts:
        runs = [subprocess.Popen(net.podlan_argv(*command), stdout=subprocess.PIPE) for command in commands]
        for run in runs:
            run.communicate()
            assert run.returncode == 0
        net.podlan("undo")
    assert counts[0] == counts[1]


def test_a_state_that_cannot_be_read_is_refused(net):
    net.reconcile(SHIM_PLAN)
    path = net.root / "var/lib/podlan/state.json"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    before = net.state(), tree(net.root)
    assert "it is not what podlan wrote" in net.podlan("undo", code=4).stderr
    assert (net.state(), tree(net.root)) == before


def test_a_step_that_fails_takes_all_back(net):
    lay(net)
    net.reconcile(net.directory(replace(MOVE_PLAN, files=FILES), SOURCES))
    before = net.state(), tree(net.root)
    systemd = net.root / "etc/systemd"
    program = shlex.join(map(str, net.podlan_argv("undo")[4:]))
    script = f"mount --bind {systemd} {systemd} && mount -o remount,bind,ro {systemd} && exec {program}"
    argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-c", script)
    with net.pinging("peer", NODE) as counts:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "failed, rolled back: rm -f" in done.stderr
    assert (net.state(), tree(net.root)) == before
    assert counts[0] == counts[1]
    assert net.reconcile().stdout.startswith("nothing to do")


CALLS = "sendto,renameat,rename,unlinkat,unlink,rmdir"


def changes(net, directory=None):
    """Give each call by which a reconcile, without a directory an undo, changes something; some of them."""
    return changes_of(net, directory, calls=CALLS)[:: int(os.environ.get("PODLAN_KILL_STEP", "4"))]


def killed(net, call, directory=None):
    name, number = call
    ended = traced(net, directory, f"inject={name}:signal=SIGKILL:when={number}", calls=CALLS)
    assert ended.returncode == -signal.SIGKILL, (call, ended)
    assert net.reaches("peer", NODE), call


def test_an_undo_killed_anywhere_is_finished_by_the_next_run(net):
    """Killed at every change or so, of the kernel and of files; a reconcile brings the plan back as well."""
    lay(net)
    before = net.state(), tree(net.root)
    directory = net.directory(replace(MOVE_PLAN, files=FILES), SOURCES)
    net.reconcile(directory)
    planned = net.state(), tree(net.root)
    calls = changes(net)
    assert len(calls) > 5
    for turn, call in enumerate(calls):
        net.reconcile(directory)
        killed(net, call)
        if turn % 2:
            net.reconcile(directory)
            found = net.state(), tree(net.root)
            assert found[0] == planned[0], call
            assert {**found[1], "var/lib/podlan/state.json": 0} == {**planned[1], "var/lib/podlan/state.json": 0}
        net.podlan("undo")
        assert (net.state(), tree(net.root)) == before, call
        assert net.podlan("undo").stdout.startswith("nothing to undo")


def test_a_reconcile_killed_anywhere_is_undone(net):
    lay(net)
    before = net.state(), tree(net.root)
    directory = net.directory(replace(MOVE_PLAN, files=FILES), SOURCES)
    calls = changes(net, directory)
    net.podlan("undo")
    for call in calls:
        killed(net, call, directory)
        net.podlan("undo")
        assert (net.state(), tree(net.root)) == before, call


def test_a_watch_that_lives_is_named_and_one_that_was_killed_is_not(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory) as watch:
        before = net.state()
        said = f"podlan reconcile --watch runs here as process {watch.pid}, and would repair what is undone"
        assert said in net.podlan("undo", code=1).stderr
        assert said in net.podlan("undo", "--dry-run", code=1).stderr
        assert net.state() == before
        with watching(net, directory) as other:
            assert f"processes {watch.pid}, {other.pid}" in net.podlan("undo", code=1).stderr
            other.signal(signal.SIGKILL)
            other.ended_with()
            other.code = 0
        assert f"process {watch.pid}," in net.podlan("undo", code=1).stderr
    net.podlan("undo")
    assert "macvlan0" not in net.ip("link")


FAKE = """#!/bin/sh
echo "$@" >> {home}/calls
case "$*" in
    *show*) printf 'MainPID=0\\nActiveState=active\\n' ;;
    "$(cat {home}/broken 2> /dev/null)") echo "Job failed." >&2; exit 1 ;;
esac
"""


def on_the_host(net, *words, code=0, frozen=""):
    """Run podlan on / of a private mount namespace, where /etc, /run and /var/lib are the test's own."""
    binds = [f"mount --bind {net.root}/{name} /{name}" for name in ("etc", "run", "var/lib")]
    binds += [f"mount --bind {frozen} {frozen} && mount -o remount,bind,ro {frozen}"] if frozen else []
    program = shlex.join([sys.executable, "-m", "podlan.node", *map(str, words)])
    argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-e", "-c")
    done = subprocess.run(
        [*argv, "\n".join([*binds, f"exec {program}"])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{net.home}/bin:{os.environ['PATH']}"},
    )
    assert done.returncode == code, done
    calls = net.home / "calls"
    said = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return done, [line for line in said if "show" not in line]


def test_units_of_podlan_are_stopped_first_and_those_that_read_its_files_are_restarted_last(net):
    lay(net)
    (net.root / "run/systemd/system").mkdir(parents=True)
    systemctl = net.home / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(FAKE.format(home=net.home), encoding="utf-8")
    systemctl.chmod(0o755)
    before = tree(net.root)
    directory = net.directory(replace(SHIM_PLAN, files=FILES), SOURCES)
    restarts = ["daemon-reload", "try-restart containerd.service", "try-restart kubelet.service"]
    stop = "stop podlan-reconcile.service"

    assert on_the_host(net, "reconcile", directory)[1] == restarts
    planned = tree(net.root)
    done, calls = on_the_host(net, "undo", "--dry-run")
    assert done.stdout.splitlines()[0] == f"systemctl {stop}"
    assert calls == []

    (net.home / "broken").write_text(stop, encoding="utf-8")
    assert "systemctl stop podlan-reconcile.service: Job failed." in on_the_host(net, "undo", code=1)[0].stderr
    (net.home / "broken").unlink()
    # It is stopped, then a file cannot be removed: it starts again, without waiting, since it waits for its turn.
    assert on_the_host(net, "undo", code=1, frozen="/etc/default")[1] == [
        stop,
        "start --no-block podlan-reconcile.service",
    ]
    assert tree(net.root) == planned

    (net.home / "broken").write_text("try-restart kubelet.service", encoding="utf-8")
    done, calls = on_the_host(net, "undo")
    assert calls == [stop, *restarts]
    assert "PL627" in done.stderr
    assert json.loads((net.root / "var/lib/podlan/state.json").read_text(encoding="utf-8"))["restart"]
    (net.home / "broken").unlink()
    assert on_the_host(net, "undo")[1] == ["try-restart kubelet.service"]
    assert tree(net.root) == before

    on_the_host(net, "reconcile", directory)
    done, calls = on_the_host(net, "undo", "--no-restart")
    assert calls == [stop]
    assert "to do by hand: systemctl try-restart kubelet.service" in done.stdout
    assert on_the_host(net, "undo")[1] == []


def test_a_reconcile_that_removes_a_file_restarts_who_read_it(net):
    lay(net)
    net.reconcile(net.directory(replace(NONE_PLAN, files=FILES), SOURCES))
    done = net.reconcile(NONE_PLAN)
    for unit in ("kubelet", "containerd"):
        assert f"to do by hand: systemctl try-restart {unit}.service" in done.stdout


def test_the_state_of_an_earlier_podlan_is_read(net):
    lay(net)
    net.reconcile(net.directory(replace(NONE_PLAN, files=FILES), SOURCES))
    path = net.root / "var/lib/podlan/state.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for record in document["files"]:
        for name in ("restart", "created", "mode", "assigned", "made"):
            del record[name]
    path.write_text(json.dumps(document), encoding="utf-8")
    net.podlan("undo")
    assert not (net.root / "var/lib/podlan").exists()
    assert "node-ip" not in (net.root / KUBELET[1:]).read_text(encoding="utf-8")
