"""A lab that cannot be, or no longer is, whole ends in a message, a documented exit code, and nothing left."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from how_to import FAST
from ready import podlan
from traces import ROOT, machine, traces, unchanged

from podlan import pipeline
from podlan.lab import verify
from podlan.lab.life import down, opened, up
from podlan.lab.namespaces import in_node
from podlan.lab.report import as_text
from podlan.lab.topology import topology

pytestmark = pytest.mark.kernel

PODLAN = [sys.executable, "-m", "podlan", "lab"]
SITE = str(Path(__file__).parents[2] / "site")

STRANGE = ("0", "net", "stranger-1", "1.2.example-x.org", ".".join(["x" * 63] * 3 + ["y" * 61]))
NAMED = """\
version: 1
site: strange
cluster: {kubernetes: "1.31", runtime: containerd}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.64-10.0.0.191], routes: [{dst: 0.0.0.0/0}]}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 4}
nodes:
"""


def lab(*words, code=0):
    done = podlan(Path.cwd(), "lab", *words)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done


def take_away(file):
    subprocess.run(["umount", file], check=True)


def test_namespaces_that_somebody_took_away_are_named_by_all_that_needs_them(build, name):
    home, _ = build(only=("node-1", "node-2"), options=dataclasses.replace(FAST, pods=2))
    on = ("--name", name)
    lost = f"lab {name} has lost the namespaces of "

    subprocess.run(in_node(home, "node-1", "umount", "/run/netns/pod-2"), check=True)
    assert f"{lost}node-1/pod-2, which" in lab("verify", *on, code=4).stderr
    assert f"{lost}node-1/pod-2, which" in lab("exec", *on, "node-1/pod-2", "--", "true", code=4).stderr
    lab("exec", *on, "node-1/pod-1", "--", "true")
    lab("fault", "cut", *on, "node-2")
    assert f"{lost}node-1/pod-2, which" in lab("fault", "mend", *on, code=4).stderr

    take_away(home.path / "nodes/node-2/net")
    (home.path / "nodes/node-2/net").unlink()
    take_away(home.path / "net/gateway")
    told = f"{lost}gateway, node-2, node-1/pod-2, which somebody unmounted or deleted; take it down: podlan lab down"
    assert told in lab("verify", *on, code=4).stderr
    assert told in lab("fault", "delete-shim", *on, "node-2", code=4).stderr
    for place in ("node-2", "node-2/pod-1", "gateway"):
        assert f"{lost}{place}, which" in lab("exec", *on, place, "--", "true", code=4).stderr
        assert f"{lost}{place}, which" in lab("shell", *on, place, code=4).stderr

    assert lab("down", *on).stderr == f"lab {name}: removed\n"
    assert traces(name) == []


def test_two_labs_are_each_others_neighbours_and_not_more(name):
    names = (f"{name}-a", f"{name}-b")
    try:
        builders = [subprocess.Popen([*PODLAN, "up", SITE, "--name", one, "--pods", "1"]) for one in names]
        assert [builder.wait(timeout=120) for builder in builders] == [0, 0]
        told = [subprocess.Popen([*PODLAN, "verify", "--name", one], stdout=subprocess.DEVNULL) for one in names]
        assert [one.wait(timeout=120) for one in told] == [0, 0]
        assert "which with --name" in lab("verify", code=2).stderr
        lab("down", "--name", names[0])
        assert traces(names[0]) == []
        lab("verify", "--name", names[1])
    finally:
        for one in names:
            with opened(one) as there:
                down(there)


def test_what_a_podlan_leaves_that_was_killed_before_it_had_built_anything_is_listed_and_removed(name):
    code = "import sys, time; from podlan.lab.life import opened"
    code += "\nwith opened(sys.argv[1]): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE) as killed:
        killed.stdout.readline()
        assert name not in lab("list").stdout, "it is at work, and may be about anything"
        killed.send_signal(signal.SIGKILL)
    assert f"{name}  not up" in lab("list").stdout
    assert f"no lab {name} is up here" in lab("verify", "--name", name, code=4).stderr
    lab("down", "--name", name)
    assert traces(name) == []


def test_what_is_no_labs_is_left_alone(name):
    with opened(name):  # so that the directory is there
        stray = ROOT / f"not {name}"
        stray.touch()
        try:
            assert stray.name not in lab("list").stdout
        finally:
            stray.unlink()


@pytest.mark.parametrize("options", ["size=4k", "nr_inodes=2", "nr_inodes=30", "ro"])
def test_a_lab_for_which_run_has_no_room_is_none(name, options):
    """/run is another one here, in mounts of the test's own."""
    script = 'mount -t tmpfs -o "$0" none /run && "$@"; code=$?; find /run -mindepth 1 >&2; exit "$code"'
    up = [*PODLAN, "up", SITE, "--name", name]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, options, *up], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: "), line
    assert line.endswith("Read-only file system" if options == "ro" else "No space left on device"), line


@pytest.mark.parametrize(
    "words",
    [
        ("up", SITE),
        ("demo", SITE),
        ("list",),
        *(
            (*verb, "--name", "any", *more)
            for verb, more in (
                (("verify",), ()),
                (("down",), ()),
                (("exec",), ("node-1", "--", "true")),
                (("shell",), ("node-1",)),
                (("fault", "cut"), ("node-1",)),
                (("fault", "mend"), ()),
            )
        ),
    ],
    ids=lambda words: "-".join(words[:2]) if words[0] == "fault" else words[0],
)
def test_who_is_not_root_is_told_to_be(words):
    before = machine()
    done = subprocess.run(["unshare", "--user", *PODLAN, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, ""), done
    assert done.stderr == "error: a lab makes network and mount namespaces, which only root may; run it with sudo\n"
    assert unchanged(before)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("podsPerNode", "podPerNode"), 1, "did you mean podsPerNode?"),
        (("  stranger-1:", "  gateway:"), 4, "a part of every lab is called gateway, too"),
    ],
    ids=["an error", "a name of the lab's own"],
)
def test_a_site_that_cannot_be_built_leaves_nothing(name, tmp_path, change, code, words):
    file = strange_site(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    assert words in lab("up", str(file), "--name", name, code=code).stderr
    assert traces(name) == []


def test_nodes_may_have_any_name_that_kubernetes_lets_them_have(name, tmp_path):
    file = strange_site(tmp_path)
    done = pipeline.compile_site(file, tmp_path / "out")
    with opened(name) as there:
        up(there, topology(done.checked.site, tmp_path / "out"), dataclasses.replace(FAST, pods=1))
        report = verify(there)
    assert report.ok, as_text(report)
    on = ("--name", name)
    for node in STRANGE:
        assert lab("exec", *on, node, "--", "cat", "/etc/hostname").stdout == f"{node}\n"
        assert "10.0.0." in lab("exec", *on, f"{node}/pod-1", "--", "ip", "-br", "-4", "address").stdout
    # A machine that is none of the site's has a name that is none of the site's.
    assert "stranger-2, has 10.0.0.1" in lab("fault", "duplicate", *on, "10.0.0.1").stderr
    assert "10.0.0.1" in lab("exec", *on, "stranger-2", "--", "ip", "-br", "-4", "address").stdout
    assert "10.0.0.3" in lab("exec", *on, "stranger-1", "--", "ip", "-br", "-4", "address").stdout
    lab("fault", "mend", *on)


def strange_site(directory):
    file = directory / "site.yaml"
    lines = [f'  "{node}": {{address: 10.0.0.{number}}}\n' for number, node in enumerate(STRANGE, start=1)]
    file.write_text(NAMED + "".join(lines).replace('"stranger-1"', "stranger-1"), encoding="utf-8")
    return file
