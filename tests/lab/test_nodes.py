"""What a node of a lab is, and what it is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import podlan
from podlan.lab import Options, node
from podlan.lab.errors import FlagsLost, PluginFailed, PluginsMissing, ReconcileFailed, WrongAddress
from podlan.lab.namespaces import in_node, in_pod

pytestmark = pytest.mark.kernel

ONE = ("node-1",)


def inside(home, script):
    return subprocess.run(in_node(home, "node-1", "sh", "-c", script), capture_output=True, text=True, check=False)


def test_a_node_has_its_own_files_and_none_of_the_machines(build):
    home, _ = build("none", only=ONE, options=Options(pods=0))
    for path in ("/etc/fstab", "/etc/systemd", "/run/systemd", "/run/podlan-lab/", "/var/lib/dpkg"):
        assert inside(home, f"test -e {path}").returncode, path
    assert inside(home, "cat /etc/hostname").stdout == "node-1\n"
    assert inside(home, "ls /sys/class/net").stdout.split() == ["eth0", "lo"]
    assert "05-podlan.conflist" in inside(home, "ls /etc/cni/net.d").stdout


def test_a_node_can_write_nothing_of_the_machines(build, tmp_path):
    home, _ = build("none", only=ONE, options=Options(pods=0))
    for directory in ("/", "/usr", "/usr/bin", "/root", "/opt/cni/bin"):
        written = inside(home, f"touch {directory}/podlan-lab-was-here")
        assert "Read-only file system" in written.stderr, directory
    assert inside(home, f"mkdir -p {tmp_path} && touch {tmp_path}/x /etc/x /run/x /opt/x /var/lib/x").returncode == 0
    assert not (tmp_path / "x").exists()


def test_flags_that_were_there_before_are_still_there(build):
    home, _ = build(only=ONE, options=Options(pods=0))
    flags = inside(home, "cat /etc/default/kubelet").stdout
    assert "--v=2" in flags
    assert "--node-ip=172.16.129.101" in flags


def test_flags_that_reconcile_loses_are_an_error(build):
    lose = ("sh", "-c", "echo KUBELET_EXTRA_ARGS= >/etc/default/kubelet")
    with pytest.raises(FlagsLost, match="/etc/default/kubelet lacks --v=2"):
        build(only=ONE, options=Options(reconcile=lose))


def test_pods_get_the_compiled_ranges_addresses(build):
    _, state = build()
    assert [pod.addresses for pod in state.pods] == [
        ("172.16.129.110",),
        ("172.16.129.111",),
        ("172.16.129.128",),
        ("172.16.129.129",),
        ("172.16.129.160",),
        ("172.16.129.161",),
    ]


def test_a_plain_configuration_file_works_too(build):
    home, state = build("none", form="conf", only=ONE)
    assert len(state.pods) == 2
    shown = subprocess.run(
        in_pod(home, "node-1", "node-1/pod-1", "ip", "-4", "-o", "address", "show", "eth0"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "172.16.129.110/24" in shown.stdout


def test_plugins_are_where_the_plan_expects_them_wherever_that_is(build):
    _, state = build("none", bin_dir="/usr/libexec/podlan-lab-test/cni", only=ONE, options=Options(pods=1))
    assert len(state.pods) == 1


def test_a_failed_attachment_tells_the_plugins_own_words_and_leaves_nothing(build):
    with pytest.raises(PluginFailed) as failed:
        build("none", mode="nonsense", only=ONE, options=Options(pods=1))
    assert failed.value.plugin == "macvlan"
    assert "unknown macvlan mode" in str(failed.value)


def test_a_full_range_is_told_in_the_plugins_words(build):
    with pytest.raises(PluginFailed, match=r"no IP addresses available in range set: 172\.16\.129\.110-172"):
        build("none", only=ONE, options=Options(pods=11))


def test_nodes_that_give_out_the_same_address_are_found(build):
    same = [[{"subnet": "172.16.129.0/24", "rangeStart": "172.16.129.110", "rangeEnd": "172.16.129.119"}]]
    with pytest.raises(WrongAddress, match=r"172\.16\.129\.110: pod node-1/pod-1 has it too"):
        build("none", ranges=same, options=Options(pods=1))


def test_a_node_that_fails_to_reconcile_shows_its_output(build):
    fail = ("sh", "-c", "echo the reason >&2; exit 4")
    with pytest.raises(ReconcileFailed, match=r"(?s)node node-\d: 'podlan reconcile' ended with 4.*the reason"):
        build(options=Options(reconcile=fail))


def test_missing_plugins_are_named_with_their_package(build, tmp_path):
    with pytest.raises(PluginsMissing, match=r"host-local, macvlan in .*containernetworking-plugins"):
        build(options=Options(plugins=tmp_path))


def test_podlan_may_itself_lie_where_nodes_have_directories_of_their_own(tmp_path):
    """A clone and its interpreter in /tmp, which every node hides under a /tmp of its own."""
    assert tmp_path.is_relative_to("/tmp")  # noqa: S108 - pytest made it
    clone, venv = tmp_path / "clone", tmp_path / "venv"
    shutil.copytree(Path(podlan.__file__).parent, clone / "podlan", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = Path(click.__file__).parent.parent
    next(venv.glob("lib/*/site-packages")).joinpath("here.pth").write_text(f"{clone}\n{packages}\n")
    python = venv / "bin/python"
    where = f"import podlan.plan; assert podlan.__file__.startswith({str(clone)!r})"
    run = " ".join(str(python) if word == sys.executable else word for word in node.RECONCILE)
    how = f'{python} -c "{where}" && exec {run} "$0"'
    shown = subprocess.run(
        [python, Path(__file__).with_name("drive.py"), "demo", "shim", "--pods", "1"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RECONCILE": how},
    )
    assert shown.returncode == 0, shown.stderr
