"""Flags and blocks merged into text that others wrote."""

import pytest

from podlan.node.merge import Unmergeable, merge_block, merge_flags

FLAGS = ("--network-plugin=cni", "--max-pods=10")
BOTH = "--network-plugin=cni --max-pods=10"

MERGES = {
    "no file yet": ("", f'ARGS="{BOTH}"\n'),
    "no variable yet": ("# kubelet\nOTHER=1\n", f'# kubelet\nOTHER=1\nARGS="{BOTH}"\n'),
    "no newline at the end": ("OTHER=1", f'OTHER=1\nARGS="{BOTH}"\n'),
    "commented out": ('#ARGS="--v=2"\n', f'#ARGS="--v=2"\nARGS="{BOTH}"\n'),
    "empty": ("ARGS=\n", f'ARGS="{BOTH}"\n'),
    "empty in quotes": ('ARGS=""\n', f'ARGS="{BOTH}"\n'),
    "others' flags stay in their order": ('ARGS="--v=2 --cloud=x"\nB=2\n', f'ARGS="--v=2 --cloud=x {BOTH}"\nB=2\n'),
    "single quotes": ("ARGS='--v=2'\n", f"ARGS='--v=2 {BOTH}'\n"),
    "unquoted": ("ARGS=--v=2\n", f'ARGS="--v=2 {BOTH}"\n'),
    "unquoted words": ("ARGS=--v=2 --w=3\n", f'ARGS="--v=2 --w=3 {BOTH}"\n'),
    "export": ('export ARGS="--v=2"\n', f'export ARGS="--v=2 {BOTH}"\n'),
    "another value is replaced where it stands": (
        'ARGS="--max-pods=110 --v=2"\n',
        'ARGS="--max-pods=10 --v=2 --network-plugin=cni"\n',
    ),
    "a value of its own word is replaced": (
        'ARGS="--max-pods 110 --v=2"\n',
        'ARGS="--max-pods=10 --v=2 --network-plugin=cni"\n',
    ),
    "written twice": (
        'ARGS="--max-pods=1 --v=2 --max-pods=2 --w"\n',
        'ARGS="--max-pods=10 --v=2 --w --network-plugin=cni"\n',
    ),
    "underscores": ('ARGS="--max_pods=1"\n', 'ARGS="--max-pods=10 --network-plugin=cni"\n'),
    "the last assignment counts": ('ARGS="--a"\nARGS="--b"\n', f'ARGS="--a"\nARGS="--b {BOTH}"\n'),
    "continued lines": ('ARGS="--v=2 \\\n  --w=3"\nB=2\n', f'ARGS="--v=2 \\\n  --w=3 {BOTH}"\nB=2\n'),
    "nested quotes": ("ARGS=\"--x='a b' --v=2\"\n", f"ARGS=\"--x='a b' --v=2 {BOTH}\"\n"),
    "a longer name is another flag": ('ARGS="--max-pods-x=1"\n', f'ARGS="--max-pods-x=1 {BOTH}"\n'),
    "a longer name is another variable": ('MY_ARGS="--v=2"\n', f'MY_ARGS="--v=2"\nARGS="{BOTH}"\n'),
    "a comment behind": ('ARGS="--v=2" # why\n', f'ARGS="--v=2 {BOTH}" # why\n'),
}


@pytest.mark.parametrize("case", MERGES)
def test_flags_are_merged_and_all_else_stays(case):
    before, after = MERGES[case]
    assert merge_flags(before, "ARGS", FLAGS) == after
    assert merge_flags(after, "ARGS", FLAGS) == after


def test_a_flag_that_is_no_longer_wanted_goes_unless_others_changed_it():
    text = 'ARGS="--v=2 --old=1 --kept=1"\n'
    assert merge_flags(text, "ARGS", ("--kept=1",), ("--old=1",)) == 'ARGS="--v=2 --kept=1"\n'
    assert merge_flags('ARGS="--old=2"\n', "ARGS", (), ("--old=1",)) == 'ARGS="--old=2"\n'


def test_the_next_flag_is_no_value():
    assert merge_flags('ARGS="--max-pods --v"\n', "ARGS", ("--max-pods=3",)) == 'ARGS="--max-pods=3 --v"\n'


@pytest.mark.parametrize(
    "text", ['ARGS="--v=2\n', "ARGS='--a'\"--b\"\n", "ARGS=--x='a b'\n"], ids=["open", "pieces", "bare with quotes"]
)
def test_what_would_have_to_be_guessed_is_refused(text):
    with pytest.raises(Unmergeable):
        merge_flags(text, "ARGS", FLAGS)


@pytest.mark.parametrize("flag", ["max-pods=1", "--a=b c", '--a="', "--a=$(x)", "--a=`x`", "--a=b\n--c"])
def test_a_flag_that_the_shell_would_read_otherwise_is_refused(flag):
    with pytest.raises(Unmergeable):
        merge_flags("", "ARGS", (flag,))


BLOCK = "# BEGIN podlan\n/bin/true\n# END podlan\n"
BLOCKS = {
    "no file yet": ("", f"#!/bin/sh\n{BLOCK}"),
    "at the end": ("#!/bin/sh\ntouch x\n", f"#!/bin/sh\ntouch x\n{BLOCK}"),
    "no newline at the end": ("#!/bin/sh\ntouch x", f"#!/bin/sh\ntouch x\n{BLOCK}"),
    "before the final exit": ("#!/bin/sh\ntouch x\nexit 0\n", f"#!/bin/sh\ntouch x\n{BLOCK}exit 0\n"),
    "before the final exit and blank lines": ("x\nexit 0\n\n\n", f"x\n{BLOCK}exit 0\n\n\n"),
    "not before an earlier exit": ("exit 0\ntouch x\n", f"exit 0\ntouch x\n{BLOCK}"),
    "in place of an older one": ("a\n# BEGIN podlan\nold\n# END podlan\nb\n", f"a\n{BLOCK}b\n"),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_a_block_stands_once_between_its_marks(case):
    before, after = BLOCKS[case]
    assert merge_block(before, ("/bin/true",), executable=True) == after
    assert merge_block(after, ("/bin/true",), executable=True) == after


def test_a_block_that_goes_leaves_the_rest():
    assert merge_block(f"a\n{BLOCK}b\n", (), executable=True) == "a\nb\n"


@pytest.mark.parametrize("text", ["# BEGIN podlan\n", "# END podlan\n# BEGIN podlan\n", BLOCK + BLOCK])
def test_damaged_marks_are_refused(text):
    with pytest.raises(Unmergeable):
        merge_block(text, ("x",), executable=True)
