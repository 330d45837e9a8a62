"""Bad input and a node that is not ready: a clear error, the exit code of its kind, and nothing changed."""

import json
import os
import subprocess
from dataclasses import replace

import pytest
from click.testing import CliRunner
from lan import CHILD, GATEWAY, MOVE_PLAN, NODE, NONE_PLAN, SHIM_PLAN, write_directory, write_manifest

from podlan.node._errors import BadDirectory
from podlan.node.command import node
from podlan.node.directory import load
from podlan.plan import Address, BadPlan, Cni, EnvFlags, File, Link, Plan, Route

kernel = pytest.mark.kernel


def refused(net, directory, code, *words):
    before = net.state()
    for options in ([], ["--dry-run"]):
        error = net.reconcile(directory, *options, code=code).stderr
        assert error.startswith("error: ")
        for word in words:
            assert word in error
    assert net.state() == before
    assert not (net.root / "var/lib/podlan/state.json").exists()


def edited(directory, **keys):
    """Change plan.json and the manifest with it, as somebody who means it would."""
    document = json.loads((directory / "plan.json").read_text(encoding="utf-8")) | keys
    (directory / "plan.json").write_text(json.dumps(document), encoding="utf-8")
    return directory


@kernel
def test_a_directory_that_is_none_is_refused(net, tmp_path):
    refused(net, tmp_path / "nowhere", 4, "nowhere", "output/nodes/")
    (tmp_path / "empty").mkdir()
    refused(net, tmp_path / "empty", 4, "manifest.json is missing")
    (tmp_path / "file").touch()
    refused(net, tmp_path / "file", 4, "not a directory")


@kernel
def test_a_tampered_file_is_refused(net):
    refused(net, edited(net.directory(SHIM_PLAN), addresses=[]), 4, "plan.json", "SHA-256 differs")


@kernel
def test_a_missing_master_is_waited_for(net):
    plan = Plan("node-1", links=(Link("eth9", "master"),))
    refused(net, plan, 75, "there is no interface eth9", "PL603")


@kernel
def test_a_master_that_comes_late_is_found(net):
    plan = Plan("node-1", links=(Link("late0", "master"), replace(CHILD, master="late0")))
    argv = net.reconcile_argv(net.directory(plan), "--wait", "20")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        net.batch("node", ["link add late0 type veth peer name late1", "link set late0 up", "link set late1 up"])
        output, _ = run.communicate()
    assert run.returncode == 0
    assert "ip link add link late0" in output


@kernel
def test_an_address_of_the_system_is_waited_for_and_never_added(net):
    net.ip("addr", "flush", "dev", "eth0")
    net.ip("addr", "add", "172.16.129.77/24", "dev", "eth0")
    refused(net, MOVE_PLAN, 75, f"eth0 does not have {NODE}/24 (but 172.16.129.77/24)", "PL604")


@kernel
def test_a_name_that_others_use_is_refused(net):
    net.batch("node", ["link add macvlan0 type veth peer name other"])
    refused(net, SHIM_PLAN, 1, "macvlan0 exists and is no macvlan (veth)", "PL608")


@kernel
def test_a_child_of_another_master_is_refused(net):
    net.batch("node", ["link add m0 type veth peer name m1", "link add macvlan0 link m0 type macvlan mode bridge"])
    refused(net, SHIM_PLAN, 1, "is a child of m0", "PL608")


@kernel
def test_a_master_that_another_child_has_for_itself_is_refused(net):
    net.batch("node", ["link add other link eth0 type macvlan mode passthru"])
    refused(net, SHIM_PLAN, 1, "other has eth0 for itself", "PL607")


@kernel
def test_a_master_that_is_down_is_waited_for_where_routes_need_it(net):
    net.batch("node", ["link set eth0 down"])
    refused(net, MOVE_PLAN, 75, "eth0 is down", "PL605")
    assert "warning[PL620]: eth0 is down" in net.reconcile(SHIM_PLAN).stderr


@kernel
def test_a_bridge_port_cannot_be_a_master(net):
    net.batch("node", ["link add br9 type bridge", "link set eth0 master br9"])
    refused(net, SHIM_PLAN, 1, "eth0 is a port of br9", "PL606")


@kernel
def test_a_route_of_others_is_not_taken_over(net):
    net.ip("route", "add", "172.16.129.112/29", "via", GATEWAY, "proto", "static")
    refused(net, SHIM_PLAN, 1, "172.16.129.112/29", "PL609")


@kernel
def test_a_route_that_could_not_be_given_back_is_not_replaced(net):
    net.ip("route", "replace", "default", "nexthop", "via", GATEWAY, "nexthop", "via", "172.16.129.253")
    refused(net, MOVE_PLAN, 1, "0.0.0.0/0", "PL610")


@kernel
def test_a_setting_that_the_kernel_has_not_is_refused(net):
    refused(net, replace(SHIM_PLAN, sysctls={"net/ipv4/conf/eth0/no_such": "1"}), 1, "no_such", "PL618")


@kernel
def test_without_the_capability_a_run_is_refused_and_a_preview_is_not(net):
    directory = net.directory(SHIM_PLAN)
    argv = net.reconcile_argv(directory)
    bounded = [*argv[:4], "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", *argv[4:]]
    run = subprocess.run(bounded, capture_output=True, text=True, check=False)
    assert run.returncode == 4
    assert "CAP_NET_ADMIN is missing [PL601]; run podlan as root" in run.stderr
    preview = subprocess.run([*bounded, "--dry-run"], capture_output=True, text=True, check=False)
    assert preview.returncode == 0
    assert "ip link add" in preview.stdout


@kernel
def test_what_is_missing_but_harmless_is_a_warning(net):
    plan = replace(SHIM_PLAN, cni=Cni("/etc/cni/net.d/05-podlan.conflist", ("/opt/cni/bin/macvlan",)))
    (net.root / "etc/cni/net.d").mkdir(parents=True)
    (net.root / "etc/cni/net.d/00-other.conf").touch()
    done = net.reconcile(plan)
    assert "warning[PL611]: plugin binaries are missing" in done.stderr
    assert "containernetworking-plugins" in net.reconcile(plan, "--verbose").stderr
    assert "warning[PL612]" in done.stderr
    assert "00-other.conf comes before" in done.stderr


@kernel
def test_a_damaged_state_is_told_and_left(net):
    path = net.root / "var/lib/podlan/state.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    assert "state.json" in net.reconcile(SHIM_PLAN, code=4).stderr


@kernel
def test_nobody_else_can_hold_the_lock_of_the_runs(net):
    """Who can open the file can lock it: once by a looser mode, and no run would ever have its turn."""
    lock = net.root / "run/podlan/lock"
    lock.parent.mkdir(parents=True)
    lock.touch(0o666)
    net.reconcile(NONE_PLAN)
    assert lock.stat().st_mode & 0o777 == 0o600


def test_usage_errors_are_clicks_own(tmp_path):
    assert CliRunner().invoke(node, ["reconcile", "--no-such", str(tmp_path)]).exit_code == 2
    assert "Exit codes" in CliRunner().invoke(node, ["reconcile", "--help"]).output


BAD_PLANS = {
    "sysctl elsewhere": {"sysctls": {"kernel/core_pattern": "x"}},
    "sysctl with dots": {"sysctls": {"net/../kernel/core_pattern": "x"}},
    "sysctl with NUL": {"sysctls": {"net/a\0b": "x"}},
    "sysctl with a control character": {"sysctls": {"net/a\x01b": "x"}},
    "sysctl with half a character": {"sysctls": {"net/a\ud800b": "x"}},
    "value with half a character": {"sysctls": {"net/x": "\ud800"}},
    "interface with a control character": {"links": (Link("a\x1bb", "master"),)},
    "alias with half a character": {"links": (replace(CHILD, alias="\ud800"),)},
    "flag with half a character": {"files": (File("/etc/cni/x", env_flags=EnvFlags("A", ("--x=\ud800",))),)},
    "file elsewhere": {"files": (File("/etc/passwd", block=("x",)),)},
    "who may sign": {"files": (File("/etc/podlan/allowed_signers", block=("x",)),)},
    "the copy for the next boot": {"files": (File("/etc/podlan/node/plan.json", block=("x",)),)},
    "file with dots": {"files": (File("/etc/cni/../passwd", block=("x",)),)},
    "source with dots": {"files": (File("/etc/cni/x", source="../../etc/shadow"),)},
    "source absolute": {"files": (File("/etc/cni/x", source="/etc/shadow"),)},
    "mode for others": {"files": (File("/etc/cni/x", mode="0666", block=("x",)),)},
    "no content": {"files": (File("/etc/cni/x"),)},
    "two contents": {"files": (File("/etc/cni/x", block=("x",), env_flags=EnvFlags("A", ("--x",))),)},
    "unit as an option": {"files": (File("/etc/cni/x", block=("x",), restart=("--force",)),)},
    "interface too long": {"links": (Link("a" * 16, "master"),)},
    "interface with slash": {"links": (Link("a/b", "master"),)},
    "multicast mac": {"links": (replace(CHILD, mac="01:00:00:00:00:00"),)},
    "address without length": {"links": (CHILD,), "addresses": (Address("macvlan0", "172.16.129.199"),)},
    "address of no link": {"addresses": (Address("eth7", "172.16.129.199/32"),)},
    "host bits": {"links": (CHILD,), "routes": (Route("macvlan0", "172.16.129.110/30"),)},
    "mixed families": {"links": (CHILD,), "routes": (Route("macvlan0", "::/0", gateway=GATEWAY),)},
}


@pytest.mark.parametrize("case", BAD_PLANS)
def test_a_plan_that_reaches_where_it_must_not_is_refused(tmp_path, case):
    with pytest.raises((BadPlan, BadDirectory)):
        load(str(write_directory(tmp_path / "in", Plan("node-1", **BAD_PLANS[case]))))


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "a\nb", "../x"])
def test_a_manifest_that_names_no_file_is_refused(tmp_path, name):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    write_manifest(directory, "node-1", {"plan.json": (directory / "plan.json").read_bytes(), name: b""})
    with pytest.raises(BadDirectory, match="not a path below") as refusal:
        load(str(directory))
    assert str(refusal.value).isprintable(), "it can be shown"


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800"])
def test_a_node_without_a_name_is_refused(tmp_path, name):
    with pytest.raises(BadPlan) as refusal:
        load(str(write_directory(tmp_path / "in", Plan(name))))
    assert str(refusal.value).isprintable(), "it can be shown"


def test_a_newer_plan_is_refused(tmp_path):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    edited(directory, version=99)
    files = {name: (directory / name).read_bytes() for name in ("plan.json", "boot.sh")}
    write_manifest(directory, "node-1", files)
    with pytest.raises(BadPlan, match="newer"):
        load(str(directory))
    write_manifest(directory, "node-2", files)
    text = (directory / "manifest.json").read_text(encoding="utf-8")
    (directory / "manifest.json").write_text(text.replace('"version": 1', '"version": 2'), encoding="utf-8")
    with pytest.raises(BadDirectory, match="upgrade"):
        load(str(directory))


def test_the_plan_of_another_node_is_refused(tmp_path):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    write_manifest(directory, "node-2", {"plan.json": (directory / "plan.json").read_bytes()})
    with pytest.raises(BadDirectory, match="node-2"):
        load(str(directory))


@pytest.mark.parametrize("name", ["", "plan.json", "manifest.json"])
def test_what_others_can_write_is_refused(tmp_path, name):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    (directory / name).chmod(0o777)
    with pytest.raises(BadDirectory, match="others can write"):
        load(str(directory))


@pytest.mark.parametrize("way", ["writable", "owned", "by a link", "by a link of others", "sticky"])
def test_a_directory_that_others_could_exchange_is_refused(tmp_path, way):
    """Who can write what leads to it can put another root-owned directory there: the other node's, an old one."""
    between = tmp_path / "between"
    path = write_directory(between / "in", SHIM_PLAN)
    between.chmod(0o1777 if way == "sticky" else 0o755)
    if way == "sticky":
        assert load(str(path)).plan == load(f"{between}/../between/./in").plan
        return
    if way.startswith("by a link"):
        (tmp_path / "links").mkdir()
        (tmp_path / "links/in").symlink_to("../between/in")
        path = tmp_path / "links/in"
        assert load(str(path)).plan.node == "node-1", "as long as it is root's"
    match way:
        case "by a link of others":
            os.chown(path, 65534, 65534, follow_symlinks=False)
        case "owned":
            os.chown(between, 65534, 65534)
        case _:
            between.chmod(0o777)
    with pytest.raises(BadDirectory, match=r"others can write|belongs to user 65534"):
        load(str(path))


def test_what_belongs_to_others_is_refused(tmp_path):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    os.chown(directory / "plan.json", 65534, 65534)
    with pytest.raises(BadDirectory, match="belongs to user 65534"):
        load(str(directory))


def test_a_symbolic_link_in_the_directory_is_refused(tmp_path):
    directory = write_directory(tmp_path / "in", SHIM_PLAN)
    (directory / "boot.sh").rename(tmp_path / "boot.sh")
    (directory / "boot.sh").symlink_to(tmp_path / "boot.sh")
    with pytest.raises(BadDirectory, match="symbolic link"):
        load(str(directory))
