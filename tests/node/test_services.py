"""Units are restarted by systemctl, here a stand-in for it; one that does not restart is tried again."""

import json
import os
import shlex
import subprocess
from dataclasses import replace

import pytest
from lan import NONE_PLAN

from podlan.plan import File

pytestmark = pytest.mark.kernel

KUBELET = "/etc/default/kubelet"
PLAN = replace(
    NONE_PLAN,
    files=(
        File("/etc/systemd/system/podlan-reconcile.service", source="rootfs/unit"),
        File(KUBELET, block=("A=1",), restart=("kubelet.service", "crio.service")),
    ),
)
FAKE = """#!/bin/sh
echo "$@" >> {home}/calls
if [ "$2" = kubelet.service ] && [ -e {home}/broken ]; then
    echo 'Job for kubelet.service failed.' >&2
    echo 'See "systemctl status kubelet.service".' >&2
    exit 1
fi
"""


class Host:
    """The node's program on / of a private mount namespace, where /etc, /run and /var/lib are the test's own."""

    def __init__(self, net):
        self.net = net
        self.home = net.home
        self.directory = net.directory(PLAN, {"rootfs/unit": b"[Unit]\n"})
        for name in ("etc/systemd/system", "run/systemd/system", "var/lib", "bin"):
            (self.home / name).mkdir(parents=True)
        self.systemctl = self.home / "bin/systemctl"
        self.systemctl.write_text(FAKE.format(home=self.home), encoding="utf-8")
        self.systemctl.chmod(0o755)

    def reconcile(self, *options, code=0):
        binds = [f"mount --bind {self.home}/{name} /{name}" for name in ("etc", "run", "var/lib")]
        program = shlex.join(map(str, self.net.reconcile_argv(self.directory, *options, root="/")[4:]))
        argv = self.net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-e", "-c")
        done = subprocess.run(
            [*argv, "\n".join([*binds, f"exec {program}"])],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{self.home}/bin:{os.environ['PATH']}"},
        )
        assert done.returncode == code, done
        return done

    def calls(self):
        """Give what systemctl was called with since the last question."""
        calls = self.home / "calls"
        said = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return said

    def waiting(self):
        return json.loads((self.home / "var/lib/podlan/state.json").read_text(encoding="utf-8"))["restart"]


@pytest.fixture
def host(net):
    return Host(net)


def test_units_are_restarted_once(host):
    done = host.reconcile()
    assert done.stderr == ""
    assert "+ systemctl try-restart kubelet.service" in done.stdout
    assert host.calls() == ["daemon-reload", "try-restart kubelet.service", "try-restart crio.service"]
    assert host.reconcile().stdout == "nothing to do: node-1 is as planned\n"
    assert host.calls() == []


def test_a_unit_that_does_not_restart_is_told_and_tried_again_until_it_does(host):
    (host.home / "broken").touch()
    done = host.reconcile()
    assert "warning[PL627]: systemctl try-restart kubelet.service: Job for kubelet.service failed. See" in done.stderr
    assert "the next run tries this again" in done.stderr
    assert "+ systemctl try-restart crio.service" in done.stdout
    assert "# the next run tries again: systemctl try-restart kubelet.service" in done.stdout
    assert (host.home / KUBELET[1:]).exists(), "what was applied stays"
    assert host.waiting() == ["kubelet.service"]
    host.calls()

    assert "try-restart kubelet.service" in host.reconcile("--check", code=3).stdout
    assert host.calls() == []
    assert "PL627" in host.reconcile().stderr
    assert host.calls() == ["try-restart kubelet.service"]

    (host.home / "broken").unlink()
    done = host.reconcile()
    assert done.stdout == "+ systemctl try-restart kubelet.service\n"
    assert done.stderr == ""
    assert host.waiting() == []
    assert host.reconcile("--check").stdout == "# nothing to do: node-1 is as planned\n"


def test_a_systemctl_that_is_not_there_is_told(host):
    host.systemctl.write_text("#!/no/such/program\n", encoding="utf-8")
    assert "PL627" in host.reconcile().stderr
    assert host.waiting() == ["daemon-reload", "kubelet.service", "crio.service"]


def test_nothing_is_restarted_where_that_is_not_wanted(host):
    done = host.reconcile("--no-restart")
    assert "to do by hand: systemctl try-restart kubelet.service" in done.stdout
    assert host.calls() == []
    assert host.waiting() == []


def test_a_new_unit_is_started_at_once_and_never_again(host):
    unit = "/etc/systemd/system/podlan-cni-dhcp.service"
    daemon = File(unit, source="rootfs/unit", wanted_by=("multi-user.target",), start=True)
    host.directory = host.net.directory(replace(PLAN, files=(daemon,)), {"rootfs/unit": b"[Unit]\n"})
    assert "+ systemctl start podlan-cni-dhcp.service" in host.reconcile().stdout
    assert host.calls() == ["daemon-reload", "start podlan-cni-dhcp.service"]
    host.reconcile()
    assert host.calls() == []
