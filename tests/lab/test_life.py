"""Labs come and go as wholes, whatever happens to the podlan that builds them."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from traces import ROOT, machine, processes_with, traces, unchanged

from podlan.lab import Options, down, verify
from podlan.lab.command import default_name
from podlan.lab.errors import BadName, ForeignLab
from podlan.lab.life import opened
from podlan.lab.state import Home

pytestmark = pytest.mark.kernel

DRIVE = [sys.executable, str(Path(__file__).with_name("drive.py"))]


def lab(*words, **environment):
    return subprocess.run(
        [*DRIVE, *words], capture_output=True, text=True, check=False, env=os.environ | environment, timeout=60
    )


def started(*words, **environment):
    return subprocess.Popen(
        [*DRIVE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def hang(name):
    return {"RECONCILE": f"echo >/run/reached; sleep {sixty(name)}"}


def sixty(name):
    """A minute's sleep that can be told from those of other tests."""
    return f"60.{abs(hash(name))}"


def wait_for(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def reconciling(name):
    return lambda: len(list(ROOT.glob(f"{name}/nodes/*/root/run/reached"))) == 3


@pytest.fixture
def clean():
    before = machine()
    yield
    assert unchanged(before)


def test_up_verify_and_down_are_commands_of_their_own(name):
    built = lab("up", "shim", "--name", name)
    assert (built.returncode, built.stdout) == (0, ""), built.stderr
    assert f"lab {name}: 3 nodes reconciled, 6 pods, " in built.stderr
    assert processes_with(f"/podlan-lab/{name}") == []
    verified = lab("verify", "shim", "--name", name)
    assert verified.returncode == 0, verified.stdout
    assert "跨主机容器互通" in verified.stdout
    removed = lab("down", "shim", "--name", name)
    assert (removed.returncode, removed.stderr) == (0, f"lab {name}: removed\n")
    assert traces(name) == []
    assert lab("down", "shim", "--name", name).stderr == f"lab {name}: nothing to remove\n"


def test_a_broken_promise_ends_verify_with_one_and_is_a_failure_in_junit(name):
    assert lab("up", "shim", "--name", name, "--pods", "1", NODES="node-1").returncode == 0
    verify = ("verify", "shim", "--name", name, "--format")
    good = lab(*verify, "junit")
    assert (good.returncode, failing(good.stdout)) == (0, []), good
    two_answer = "for name in eth0 macvlan0; do echo 0 >/proc/sys/net/ipv4/conf/$name/arp_filter; done"
    inside = ["nsenter", f"--net={ROOT / name / 'nodes/node-1/net'}", "sh", "-c", two_answer]
    subprocess.run(inside, check=True)
    bad = lab(*verify, "junit")
    assert (bad.returncode, failing(bad.stdout)) == (1, ["one MAC answers for an IPv4 address"]), bad
    assert lab(*verify, "json").returncode == 1


def failing(text):
    """Give the suites of a JUnit document that have failures; all together must have tried something."""
    suites = ET.fromstring(text).findall("testsuite")  # noqa: S314 - our own output
    assert sum(int(suite.get("tests")) for suite in suites) > 5
    return [suite.get("name") for suite in suites if suite.get("failures") != "0"]


def test_a_second_up_of_a_name_is_refused_and_harms_nothing(name):
    assert lab("up", "none", "--name", name, "--pods", "0", NODES="node-1").returncode == 0
    assert f"lab {name} is up already" in lab("up", "none", "--name", name).stderr
    assert lab("verify", "none", "--name", name).returncode == 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_up_is_busy_until_it_is_interrupted_and_then_leaves_nothing(name, end):
    builder = started("up", "none", "--name", name, **hang(name))
    wait_for(reconciling(name))
    assert f"process {builder.pid} works on lab {name} now" in lab("down", "none", "--name", name).stderr
    builder.send_signal(end)
    builder.send_signal(end)
    _, err = builder.communicate(timeout=60)
    assert (builder.returncode, err) == (128 + end, "")
    assert traces(name) == []
    assert processes_with(sixty(name)) == []


@pytest.mark.usefixtures("clean")
def test_demos_show_the_matrix_do_not_disturb_each_other_and_leave_nothing():
    for demo in [started("demo", "shim", NODES="node-1 node-2") for _ in range(2)]:
        out, err = demo.communicate(timeout=60)
        assert demo.returncode == 0, err
        assert "everything is as the plans promise" in out
        assert traces(f"demo-{demo.pid}") == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing(end):
    demo = started("demo", "shim", **hang("demo"))
    name = f"demo-{demo.pid}"
    wait_for(reconciling(name))
    demo.send_signal(end)
    demo.send_signal(end)  # an impatient second one changes nothing
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 128 + end, err
    assert "Traceback" not in err
    assert traces(name) == []


@pytest.mark.usefixtures("clean")
def test_a_demo_can_be_interrupted_at_any_time():
    for tenths in range(1, 11, 2):
        demo = started("demo", "shim", NODES="node-1 node-2")
        time.sleep(tenths / 10)
        demo.terminate()
        _, err = demo.communicate(timeout=60)
        assert demo.returncode in {0, 143, -signal.SIGTERM}, err
        assert "Traceback" not in err
        assert traces(f"demo-{demo.pid}") == []


@pytest.mark.usefixtures("clean")
def test_the_next_demo_removes_what_a_killed_one_has_left():
    demo = started("demo", "shim", **hang("demo"))
    name = f"demo-{demo.pid}"
    wait_for(reconciling(name))
    demo.kill()
    demo.wait()
    assert lab("demo", "none", "--pods", "0", NODES="node-1").returncode == 0
    assert traces(name) == []
    demo.communicate()


@pytest.mark.parametrize("next_command", ["up", "down"])
def test_the_next_command_removes_what_a_killed_up_has_left(name, next_command):
    builder = started("up", "shim", "--name", name, **hang(name))
    wait_for(reconciling(name))
    builder.kill()
    builder.wait()
    done = lab(next_command, "shim", "--name", name)
    assert done.returncode == 0, done.stderr
    assert processes_with(sixty(name)) == []
    assert (ROOT / name / "state.json").exists() == (next_command == "up")
    builder.communicate()


def test_an_up_that_is_killed_at_any_time_is_cleaned_up_after(name):
    for hundredths in range(5, 95, 15):
        builder = started("up", "none", "--name", name, "--pods", "1", NODES="node-1 node-2")
        time.sleep(0.1 + hundredths / 100)
        builder.kill()
        builder.communicate()
        assert lab("down", "none", "--name", name).returncode == 0
        assert traces(name) == []


def test_an_interrupted_verify_leaves_the_lab_as_it_was(name):
    assert lab("up", "none", "--name", name, "--pods", "1", NODES="node-1").returncode == 0
    verifying = started("verify", "none", "--name", name)
    wait_for(lambda: children(verifying.pid))  # it waits a second for a pod that does not reach its host
    verifying.send_signal(signal.SIGINT)
    _, err = verifying.communicate(timeout=60)
    assert (verifying.returncode, err) == (130, "")
    assert processes_with("lab/_ping.py") == []
    assert lab("verify", "none", "--name", name).returncode == 0


def children(pid):
    """Tell whether it has started what makes the tries."""
    own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(b"_ping.py" in Path("/proc", child, "cmdline").read_bytes() for child in own)


def test_a_sites_default_name_is_its_own():
    one, other = default_name(Path("/srv/a/site")), default_name(Path("/srv/b/site"))
    assert one != other
    assert one == default_name(Path("/srv/a/../a/site"))
    assert Home(one).path.name.startswith("site-")
    assert Home(default_name(Path("/srv/Ünïcode site, 数据中心"))).name


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.lock", "-a", "x" * 41])
def test_a_name_that_would_not_do_as_a_directory_is_refused(name):
    with pytest.raises(BadName):
        Home(name)


def test_a_lab_with_a_strange_state_can_still_be_taken_down(build, name):
    home, _ = build("none", only=("node-1",), options=Options(pods=0))
    home.state.write_text('{"nodes": 1}')
    with opened(name) as lab, pytest.raises(ForeignLab, match=f"cannot read the state of lab {name}"):
        verify(lab)
    with opened(name) as lab:
        assert [type(problem) for problem in down(lab)] == [ForeignLab]
    assert traces(name) == []
