"""The node's program in one file: what a plain Python runs where nothing is installed."""

import subprocess
import sys
from pathlib import Path

import pytest
from lan import SHIM_PLAN
from trial import Host, compiled

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "podlan-node.pyz"
    subprocess.run([sys.executable, ROOT / ".ci/node_archive.py", path], check=True)
    return path


def test_it_reconciles_a_node_with_no_package_in_reach(net, archive):
    """-I and -S keep the virtual environment and every site directory out."""
    directory = net.directory(SHIM_PLAN)
    program = [Path(sys.executable).resolve(), "-I", "-S", archive, "reconcile", "--root", net.root, directory]
    assert "+ ip link add link eth0 name macvlan0" in net.run("node", *program).stdout
    assert "nothing to do" in net.run("node", *program).stdout


def test_it_puts_pods_on_a_node_and_takes_them_away(net, archive, tmp_path):
    node = Host(net, compiled(tmp_path) / "node-1")
    program = [Path(sys.executable).resolve(), "-I", "-S", archive, "verify", "--root", node.root]
    assert net.run("node", *program).stdout.endswith("\n\neverything is as the plans promise\n")
    assert node.is_clean()


def test_it_holds_nothing_of_the_compiler(archive):
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", archive], check=True, capture_output=True, text=True
    )
    assert "podlan/node/reconcile.py" in listed.stdout
    assert not [line for line in listed.stdout.splitlines() if "podlan/inventory" in line or "pydantic" in line]


def test_a_warning_says_that_the_boot_hook_calls_a_program_that_is_not_there(net):
    directory = ROOT / "output/nodes/node-1"
    said = net.reconcile(directory, "--dry-run").stderr
    assert "PL622" in said
    assert f"{net.root}/etc/systemd/system/podlan-reconcile.service calls {net.root}/usr/local" in said
    program = net.root / "usr/local/sbin/podlan-node.pyz"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert "PL622" not in net.reconcile(directory, "--dry-run").stderr
