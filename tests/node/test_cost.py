"""What a run costs that finds nothing to do, in figures that no busy machine changes: modules, questions, writes."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOOR = ROOT / "tests/bench/netlink_floor.py"
LISTED = Path(__file__).with_name("modules-of-a-run.txt")
_CALLS = "execve,fork,vfork,clone,clone3,openat,sendto,sendmsg,mkdirat,unlinkat,renameat,renameat2,symlinkat"
_LINK = "RTM_GETLINK"

pytestmark = pytest.mark.kernel


@pytest.fixture
def settled(net):
    """A node on which the example site's first node is applied."""
    net.reconcile(ROOT / "output/nodes/node-1")
    return net


def imported(net, *program):
    told = net.run("node", sys.executable, "-X", "importtime", *program).stderr
    return {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}


def test_a_run_that_finds_nothing_to_do_imports_what_is_listed(settled):
    """Each module costs a fraction of a millisecond, and some cost ten: one that few runs need is imported by those."""
    anyway = imported(settled, FLOOR) | imported(settled, "-c", "import click")
    run = imported(settled, "-m", "podlan.node", "reconcile", "--root", settled.root)
    own = {name for name in run if name.startswith("podlan")}
    # Where there is no bytecode yet, the compiler looks up the names of characters.
    others = {name for name in run - anyway - own if not re.search(r"(^|\.)_|^encodings\.|^unicodedata$", name)}
    assert sorted(own | others) == LISTED.read_text(encoding="utf-8").split()


def test_a_run_that_finds_nothing_to_do_asks_the_kernel_little_and_writes_nothing(settled):
    trace = settled.home / "trace"
    run = (sys.executable, "-B", "-m", "podlan.node", "reconcile", "--root", settled.root)
    done = settled.run("node", "strace", "-f", "-o", trace, "-e", f"trace={_CALLS}", *run)
    assert done.stdout == "nothing to do: node-1 is as planned\n"
    calls = [line.partition(" ")[2].strip() for line in trace.read_text(encoding="utf-8").splitlines()]

    questions = Counter()
    for call in calls:
        if asked := re.search(r"nlmsg_type=(\w+).*?nlmsg_flags=(\S+?),", call):
            kind = _LINK if asked[1] == "0x12" else asked[1]  # strace knows a socket's protocol by its first answer
            questions[kind, "NLM_F_DUMP" in asked[2]] += 1
    assert questions == {
        ("RTM_GETLINK", True): 1,
        ("RTM_GETLINK", False): 2,  # the master, by the name in the plan and by its own
        ("RTM_GETADDR", True): 1,
        ("RTM_GETROUTE", True): 2,  # one a family
    }

    assert [call for call in calls if call.startswith("execve")] == calls[:1]
    changing = re.compile(r"(mkdir|unlink|rename|symlink|\w*fork|clone)|openat.*O_(WRONLY|RDWR|CREAT)")
    changes = [call for call in calls if changing.match(call)]
    assert len(changes) == 1, changes
    assert f'"{settled.root}/run/podlan/lock"' in changes[0]
