"""A scaffold is a valid site, whatever was answered; questions are for terminals, and half a site is for nobody."""

from __future__ import annotations

import itertools
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import everything
from ready import podlan

from podlan import pipeline
from podlan.cli._init import init
from podlan.cli.scaffold import QUESTIONS, Answers, site_text
from podlan.source import read_site

PODLAN = (sys.executable, "-m", "podlan")
CTRL_C, CTRL_D = "\x03", "\x04"


def dialogue(project, *arguments, lines=(), code=0):
    """Run podlan on a terminal of its own: `lines` are (start of a question, what is typed), in order, else Enter."""
    master, slave = pty.openpty()
    # Whoever runs the tests in the background may have SIGINT ignored, which children inherit.
    command = ["env", "--default-signal=INT", "setsid", "--ctty", *PODLAN, *arguments]
    said, typed, left = "", "", list(lines)
    with subprocess.Popen(command, cwd=project.path, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        try:
            while chunk := read(master, again=CTRL_C if typed == CTRL_C and "aborted" not in said else ""):
                said += chunk
                question = re.search(r"(?m)^(.*[\])]): \Z", said)
                if question:
                    answers = left and question[1].startswith(left[0][0])
                    typed = left.pop(0)[1] if answers else ""
                    os.write(master, (typed if typed in (CTRL_C, CTRL_D) else f"{typed}\n").encode())
        finally:
            os.close(master)  # hangs up, so that a program that still waits ends
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not left, said
    return said.replace("\r\n", "\n")


def read(master, again):
    """Wait for what is said next. A signal between a question and the read that follows it is noticed by neither."""
    while again and not select.select([master], [], [], 1)[0]:
        os.write(master, again.encode())
    try:
        return os.read(master, 65536).decode(errors="replace")
    except OSError:  # EIO: whoever held the terminal has gone
        return ""


def test_a_new_site_is_valid_and_compiles(project):
    said = project.run("init", "new").stdout
    assert "next: podlan check new" in said
    project.run("check", "new", "--strict")
    assert "podlan.lock text eol=lf" in (project.path / "new/.gitattributes").read_text(encoding="utf-8")
    project.run(
        "init", "more", "--subnet", "172.16.129.0/24", "--node", "a=172.16.129.101", "--node", "b=172.16.129.102"
    )
    assert "2 nodes" in project.run("compile", "more", "-o", "out").stdout


def test_every_example_in_the_comments_is_one_that_podlan_takes(project):
    project.run("init", "new", "--node", "a=192.168.1.10")
    file = project.path / "new/site.yaml"
    text, count = re.subn(r"# ((serviceCIDR|clusterDNS|avoid|plugins): )", r"\1", file.read_text(encoding="utf-8"))
    assert count == 4
    file.write_text(text, encoding="utf-8")
    assert pipeline.check(file).findings == []
    project.run("init", "empty")
    file = project.path / "empty/site.yaml"
    text, count = re.subn(r"\{\}\n#(  node-1.*)\n#", r"\n\1\n", file.read_text(encoding="utf-8"))
    assert count == 1
    file.write_text(text, encoding="utf-8")
    assert set(pipeline.check(file).source.get(("nodes",))) == {"node-1", "node-2"}
    assert pipeline.check(file).findings == []


NETWORKS = st.sampled_from(["10.1.2.0/24", "172.17.4.0/22", "192.168.7.64/27", "10.0.0.8/29", "fd00:1::/64"])


@st.composite
def options(draw):
    """Options of which each is well formed by itself."""
    subnet = draw(NETWORKS)
    network = ip_network(subnet)
    hosts = st.integers(1, min(network.num_addresses - 2, 200)).map(lambda number: str(network[number]))
    one_of = {question.option: st.sampled_from(question.choices) for question in QUESTIONS if question.choices}
    one_of |= {
        "--gateway": hosts,
        "--kubernetes": st.sampled_from(["1.16", "1.23", "1.24.3", "1.29", "1.30", "v1.34.1"]),
        "--interface": st.sampled_from(["eth0", "bond0.7", "on", "0x1"]),
        "--service-cidr": st.sampled_from(["none", "10.96.0.0/12", "10.43.0.0/16,fd00:43::/112"]),
        "--avoid": st.sampled_from(["none", "172.17.0.0/16", "192.168.200.0/24, 192.168.201.0/24"]),
        "--pods": st.sampled_from(["1", "3", "16", "64"]),
        "--node": hosts.map("node-1={}".format),
        "--site": st.sampled_from(["dc1", "true", "12", "1e3"]),
    }
    words = ["--subnet", subnet]
    for option, values in one_of.items():
        if draw(st.booleans()):
            words += [option, draw(values)]
    if draw(st.booleans()):
        words += ["--node", f"7.example={draw(hosts)}"]
    return words


@settings(deadline=None)
@given(options())
def test_whatever_is_answered_gives_a_site_without_a_finding_or_nothing(words):
    with TemporaryDirectory() as temporary:
        directory = Path(temporary, "site")
        done = CliRunner().invoke(init, [str(directory), *words])
        if done.exit_code == 0:
            assert pipeline.check(directory).findings == []
        else:
            assert done.exit_code == 2, done.output
            assert not directory.exists()


@pytest.mark.parametrize("subnet", ["10.1.2.0/24", "fd00:1::/64"])
@pytest.mark.parametrize("access", ["shim", "move", "none"])
def test_every_runtime_and_distribution_goes_with_every_host_access(tmp_path, subnet, access):
    named = {question.key: question.choices for question in QUESTIONS}
    for runtime, distribution in itertools.product(named["runtime"], named["distribution"]):
        directory = tmp_path / f"{runtime}-{distribution}"
        kubernetes = "1.16" if runtime == "docker" else "1.31"
        words = ["--subnet", subnet, "--kubernetes", kubernetes, "--host-access", access, "--runtime", runtime]
        node = f"a={ip_network(subnet)[5]}"
        done = CliRunner().invoke(init, [str(directory), *words, "--distribution", distribution, "--node", node])
        if (access, subnet) == ("move", "fd00:1::/64"):
            assert (done.exit_code, "take shim or none" in done.output) == (2, True), done.output
        else:
            assert done.exit_code == 0, done.output
            assert pipeline.check(directory).findings == []


@given(st.text(max_size=20))
def test_a_value_is_read_back_as_it_was_typed(text):
    with TemporaryDirectory() as temporary:
        file = Path(temporary, "site.yaml")
        file.write_text(site_text(Answers(site=text, interface=text, avoid=(text,), kubernetes=text)), encoding="ascii")
        source = read_site(file)
    assert not source.findings
    assert source.get(("site",)) == source.get(("cluster", "kubernetes")) == text
    assert source.get(("masters", "uplink", "interface")) == text
    assert source.get(("cluster", "avoid")) == [text]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--subnet", "10.0.0.1/24"], ["--subnet", "host bits", "the network is 10.0.0.0/24"]),
        (["--subnet", "10.0.0.0"], ["--subnet", "is not a network", "prefix length"]),
        (["--subnet", "10.0.0.0/31"], ["--subnet", "too small"]),
        (["--subnet", "10.0.0.0/30"], ["--subnet"]),
        (["--gateway", "10.0.0.1"], ["--gateway", "outside the subnet", "192.168.1.0/24"]),
        (["--gateway", "192.168.1.255"], ["--gateway", "broadcast"]),
        (["--gateway", ""], ["--gateway", "empty"]),
        (["--node", "a"], ["--node", "is not NAME=ADDRESS", "node-1="]),
        (["--node", "a="], ["--node", "is not NAME=ADDRESS"]),
        (["--node", "A=192.168.1.5"], ["--node", "'A' is not a valid name"]),
        (["--node", "a=10.0.0.5"], ["--node", "10.0.0.5 of a is not inside lan (192.168.1.0/24)"]),
        (["--node", "a=192.168.1.5", "--node", "b=192.168.1.5"], ["--node", "b has the address"]),
        (["--node", "a=192.168.1.5", "--node", "a=192.168.1.6"], ["--node", "twice"]),
        (["--node", "a=192.168.1.1"], ["give --gateway", "192.168.1.1, the gateway"]),
        (["--site", "a b"], ["--site", "'a b' is not valid"]),
        (["--site", "\x1b[2J\U0001f980"], ["--site", "is not valid"]),
        (["--interface", 'x"; rm -rf / #'], ["--interface", "is not valid"]),
        (["--interface", "lo"], ["--interface", "loopback"]),
        (["--kubernetes", "new"], ["--kubernetes", "is not a version", "1.31"]),
        (["--runtime", "rkt"], ["--runtime", "containerd"]),
        (["--pods", "0"], ["--pods", "less than 1"]),
        (["--pods", "many"], ["--pods", "whole number"]),
        (["--pods", "500"], ["--pods", "exhausted"]),
        (["--service-cidr", "192.168.0.0/16"], ["--service-cidr", "overlaps lan"]),
        (["--service-cidr", "10.96.0.0/12", "--host-access", "none"], ["--service-cidr", "shim"]),
        (["--cluster-dns", "169.254.20.10"], ["--cluster-dns", "link-local"]),
        (["--subnet", "fd00::/64", "--host-access", "move"], ["--host-access", "take shim or none"]),
    ],
)
def test_a_wrong_option_is_refused_by_name_and_writes_nothing(project, arguments, words):
    before = everything(project.path)
    said = " ".join(project.run("init", "deep/new", *arguments, code=2).stderr.split())
    assert all(word in said for word in words), said
    assert "\x1b" not in said
    assert everything(project.path) == before


def test_what_is_there_stays(project):
    before = everything(project.path)
    assert "it holds" in project.run("init", "site", code=2).stderr
    assert everything(project.path) == before


def test_a_fresh_git_repository_is_as_good_as_empty(project):
    subprocess.run(["git", "init", "-q", "new"], cwd=project.path, check=True)
    project.run("init", "new")
    project.run("check", "new", "--strict")


def test_without_an_answer_a_terminal_gives_what_a_pipe_gives(project):
    said = dialogue(project, "init", "asked/same")
    assert all(question.asks in said for question in QUESTIONS)
    assert "?" not in project.run("init", "piped/same").stdout
    silent = dialogue(project, "init", "silent/same", "--yes")
    assert silent.startswith("wrote silent/same/site.yaml")
    trees = [everything(project.path / name) for name in ("asked", "piped", "silent")]
    assert trees[0] == trees[1] == trees[2]


def test_a_terminal_on_one_side_only_is_asked_nothing(project):
    master, slave = pty.openpty()
    for name, streams in (
        ("in", {"stdin": slave, "stdout": subprocess.PIPE}),
        ("out", {"stdin": subprocess.DEVNULL, "stdout": slave}),
    ):
        subprocess.run([*PODLAN, "init", name], cwd=project.path, check=True, **streams)
        assert (project.path / name / "site.yaml").exists()
    os.close(slave)
    os.close(master)


def test_a_wrong_answer_is_told_and_asked_again(project):
    lines = [
        ("The LAN's network", "10.7.0.1/24"),
        ("The LAN's network", "10.7.0.0/24"),
        ("The site's name", "my site"),
        ("The site's name", "dc7"),
        ("The LAN's gateway [10.7.0.1]", "10.8.0.1"),
        ("The LAN's gateway", "10.7.0.254"),
        ("The nodes' interface", "eth/0"),
        ("The nodes' interface", "ens3"),
        ("How Kubernetes was installed", "k4s"),
        ("How Kubernetes was installed", "k3s"),
        ("The container runtime", "docker"),
        ("How a host", "move"),
        ("Networks of Services", "10.7.0.0/16"),
        ("Networks of Services", "10.43.0.0/16"),
        ("A node", "a"),
        ("A node", "a=10.7.0.254"),
        ("A node", "a=10.7.0.10"),
        ("A node", "b=10.7.0.10"),
        ("A node", "b = 10.7.0.11"),
        ("A node", ""),
        ("Pod addresses a node [16]", "200"),
        ("Pod addresses a node", "32"),
    ]
    said = dialogue(project, "init", "new", lines=lines)
    for told in (
        "host bits set; the network is 10.7.0.0/24",
        "'my site' is not valid",
        "outside the subnet; the subnet is 10.7.0.0/24",
        "'eth/0' is not valid",
        "'k4s' is not one of",
        "10.7.0.0/16 of cluster.serviceCIDR overlaps lan",
        "'a' is not NAME=ADDRESS",
        "the address of a is 10.7.0.254, the gateway",
        "b has the address 10.7.0.10 of a",
        "exhausted",
    ):
        assert told in said.replace("\n", " "), told
    assert pipeline.check(project.path / "new").findings == []
    first = everything(project.path / "new")
    command = re.search(r"the same without questions:\n  podlan init new (.*)\n", said)
    assert command
    project.run("init", "again", *shlex.split(command[1]))
    assert everything(project.path / "again") == first


def test_what_an_option_says_is_not_asked_and_an_answer_must_fit_it(project):
    options = ["--node", "a=10.7.0.1", "--gateway", "10.7.0.254", "--avoid", "none"]
    said = dialogue(
        project,
        *("init", "new", *options),
        lines=[("The LAN's network", ""), ("The LAN's network", "10.7.0.0/24")],
    )
    assert "is not inside lan (192.168.1.0/24)" in said.replace("\n", " ") or "outside the subnet" in said
    assert not any(question in said for question in ("The LAN's gateway", "A node", "Networks that the nodes"))
    assert pipeline.check(project.path / "new").findings == []
    assert "Invalid value for --node" in dialogue(project, "init", "other", "--node", "a=b", code=2)


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
@pytest.mark.parametrize("question", ["The LAN's network", "A node", "Pod addresses"])
def test_an_end_at_a_question_writes_nothing(project, question, key):
    before = everything(project.path)
    assert "nothing was written" in dialogue(project, "init", "deep/new", lines=[(question, key)], code=1)
    assert everything(project.path) == before


def disturbed(project, calls, what, number):
    """Run init into two new directories with one system call disturbed; give how it ended."""
    return podlan(project.path, "init", "deep/new", trace=[f"trace={calls}", f"inject={calls}:{what}:when={number}"])


CALLS = ["rename,renameat,renameat2", "fsync"]


@pytest.mark.parametrize("calls", CALLS)
def test_a_full_disk_leaves_nothing_behind(project, calls):
    before = everything(project.path)
    for number in itertools.count(1):
        done = disturbed(project, calls, "error=ENOSPC", number)
        if done.returncode == 0:
            break
        assert done.returncode == 4, done.stderr
        assert "No space left on device" in done.stderr
        assert everything(project.path) == before
    assert number > 2


@pytest.mark.parametrize("calls", CALLS)
def test_an_init_killed_at_any_call_is_finished_by_the_next(project, calls):
    for number in itertools.count(1):
        killed = disturbed(project, calls, "signal=KILL", number).returncode != 0
        site = project.path / "deep/new/site.yaml"
        if not site.exists():
            project.run("init", "deep/new")
        assert pipeline.check(site.parent).findings == []
        assert not killed or number < 9
        if not killed:
            break
        project.run("init", "whole/new")
        assert site.read_bytes() == (project.path / "whole/new/site.yaml").read_bytes()
        subprocess.run(["rm", "-r", "deep", "whole"], cwd=project.path, check=True)
    assert number > 2
