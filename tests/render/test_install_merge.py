"""install.sh merges into others' files as reconcile does, byte for byte, whichever awk the node has."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import podlan.render
from podlan.node.merge import BEGIN, END, Unmergeable, merge_block, merge_flags

PROGRAM = Path(podlan.render.__file__).parent / "templates/merge.awk"
AWKS = {"awk": ["awk"], "busybox awk": ["busybox", "awk"]}
VARIABLE = "KUBELET_EXTRA_ARGS"

FLAGS = st.sampled_from(
    ["--node-ip=10.0.0.1", "--max-pods=18", "--max_pods=9", "--v=2", "-v", "--network-plugin=cni", "--fail-swap-on"]
)
WORDS = st.one_of(
    FLAGS,
    st.sampled_from(
        ["--max-pods", "18", "-1", "--foo='a b'", "'--x=1 2'", '\\"--v=2\\"', "--y=a\\ b", "\\", "$X", "#"]
    ),
)
BLANKS = st.sampled_from([" ", " ", " ", "  ", "\t", " \\\n", "\\\n", "\x0b", "\r", ""])
VALUES = st.lists(st.tuples(st.one_of(FLAGS, WORDS), BLANKS), max_size=6).map(
    lambda parts: "".join(map("".join, parts))
)
ASSIGNMENTS = st.builds(
    "{0}{1}{2}{3}{4}{3}{5}".format,
    st.sampled_from(["", "", "", "", " ", "export ", "# ", "a; "]),
    st.sampled_from([VARIABLE, VARIABLE, VARIABLE, "OTHER", f"{VARIABLE}_2", "export"]),
    st.sampled_from(["=", "=", "=", " = ", "+="]),
    st.sampled_from(['"', '"', "'", ""]),
    VALUES,
    st.sampled_from(["", "", "", " # why", "# why", ";", "x", " ", "\r", '"', "\\"]),
)
LINES = st.one_of(
    ASSIGNMENTS,
    ASSIGNMENTS,
    st.sampled_from(
        ["", "# e", "# a \\", "; b\\\r", BEGIN, END, f"{BEGIN} \r", "exit 0", " exit  0 # done", "\t", "x\r"]
    ),
    st.text(alphabet="ab='\"\\ \t#\x0c", max_size=12),
)
TEXTS = st.builds(
    str.__add__, st.lists(LINES, max_size=5).map("\n".join), st.sampled_from(["", "\n", "\r\n", "\\", "\n\n \n"])
)


def awk(argv: list[str], text: str, **what: str) -> str | None:
    """Give the merged text, None where it is refused."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", **what}
    done = subprocess.run(
        [*argv, "-f", PROGRAM], input=f"{text}x".encode(), capture_output=True, check=False, env=environment
    )
    assert done.returncode == bool(done.stderr), done
    return None if done.returncode else done.stdout.decode()


@pytest.mark.parametrize("argv", AWKS.values(), ids=AWKS)
@example(text=f'{VARIABLE}="--x --v=3 --v=3"\n', flags=["--v=2"], dropped=[])
@example(text=f'OTHER="a \n{VARIABLE}=b"\n{VARIABLE}=c', flags=["--v=2"], dropped=["b"])
@given(text=TEXTS, flags=st.lists(FLAGS, max_size=3), dropped=st.lists(FLAGS, max_size=3))
@settings(deadline=None, max_examples=150)
def test_flags_are_merged_as_reconcile_merges_them(argv, text, flags, dropped):
    try:
        expected = merge_flags(text, VARIABLE, tuple(flags), tuple(dropped))
    except Unmergeable:
        expected = None
    told = {"VARIABLE": VARIABLE, "FLAGS": "\n".join(flags), "DROPPED": "\n".join(dropped)}
    assert awk(argv, text, WHAT="flags", **told) == expected


@pytest.mark.parametrize("argv", AWKS.values(), ids=AWKS)
@example(text=f"{BEGIN}\n{END}\n{END}\n", lines=["a"], mode=True)
@example(text="a\nexit 0\n\n exit 0 # b\n\t\n", lines=["a"], mode=True)
@given(text=TEXTS, lines=st.lists(st.sampled_from(["sh boot.sh", "a 'b' \\n"]), max_size=2), mode=st.booleans())
@settings(deadline=None, max_examples=150)
def test_a_block_is_merged_as_reconcile_merges_it(argv, text, lines, mode):
    try:
        expected = merge_block(text, tuple(lines), executable=mode)
    except Unmergeable:
        expected = None
    assert awk(argv, text, WHAT="block", BLOCK="\n".join(lines), HASH_BANG="1" if mode else "") == expected


def test_a_value_whose_blanks_awk_cannot_tell_is_refused():
    assert awk(["awk"], f'{VARIABLE}="--v=2\N{NO-BREAK SPACE}--x"\n', WHAT="flags", VARIABLE=VARIABLE) is None
