"""Flags and blocks merged into text that others wrote."""

import re
import shlex
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    "blanks around the sign": ('ARGS = "--v=2"\n', f'ARGS = "--v=2 {BOTH}"\n'),
    "another variable within": ('ARGS="$OTHER ${X} --v=2"\n', f'ARGS="$OTHER ${{X}} --v=2 {BOTH}"\n'),
    "a negative value of its own word": (
        'ARGS="--max-pods -1 --v"\n',
        'ARGS="--max-pods=10 --v --network-plugin=cni"\n',
    ),
    "a quoted value of its own word": (
        "ARGS=\"--max-pods '11 0' --v\"\n",
        'ARGS="--max-pods=10 --v --network-plugin=cni"\n',
    ),
    "a quoted flag with blanks": (
        'ARGS="--network-plugin=\\"a b\\" --v"\n',
        'ARGS="--network-plugin=cni --v --max-pods=10"\n',
    ),
    "blanks at the end": ('ARGS="--v=2  "\n', f'ARGS="--v=2  {BOTH}"\n'),
    "within another variable": ('B="x\nARGS=--y\n"\n', f'B="x\nARGS=--y\n"\nARGS="{BOTH}"\n'),
    "on a continued line": ("B=x \\\nARGS2=--y\n", f'B=x \\\nARGS2=--y\nARGS="{BOTH}"\n'),
    "a continued line at the end": ("B=x \\\n", f'B=x \\\n\nARGS="{BOTH}"\n'),
    "exported behind": ('ARGS="--v=2"; export ARGS\n', f'ARGS="--v=2 {BOTH}"; export ARGS\n'),
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


GUESSES = {
    "open": 'ARGS="--v=2\n',
    "pieces": "ARGS='--a'\"--b\"\n",
    "words behind the quotes": 'ARGS="--a" --b\n',
    "bare with quotes": "ARGS=--x='a b'\n",
    "bare with a comment": "ARGS=--v=2 # why\n",
    "bare with a command": "ARGS=--v=2; export ARGS\n",
    "bare with a backslash": "ARGS=--x=a\\ b\n",
    "added to": 'ARGS="--v=2"\nARGS+=" --w=3"\n',
    "behind another": "A=1 ARGS=--v=2\n",
    "in a condition": '[ -e /x ] && ARGS="--v=2"\n',
    "declared": 'declare -x ARGS="--v=2"\n',
    "behind a byte order mark": '\ufeffARGS="--v=2"\n',
    "below a comment that continues": '# why \\\nARGS="--v=2"\n',
    "a quote within that is open": 'ARGS="--x=it\'s"\n',
    "another variable is open": 'B="x\nARGS=--v=2\n',
    "exported, which systemd ignores": 'export ARGS="--v=2"\n',
}


@pytest.mark.parametrize("text", GUESSES.values(), ids=GUESSES)
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


def test_lines_that_end_in_two_characters_keep_doing_so():
    text = '# kubelet\r\nARGS="--v=2"\r\nB=1\r\n'
    assert merge_flags(text, "ARGS", FLAGS) == f'# kubelet\r\nARGS="--v=2 {BOTH}"\r\nB=1\r\n'
    assert merge_flags("B=1\r\n", "ARGS", FLAGS) == f'B=1\r\nARGS="{BOTH}"\r\n'
    block = BLOCK.replace("\n", "\r\n")
    assert merge_block(f"a\r\n{block}b\r\n", (), executable=True) == "a\r\nb\r\n"


# What a person may have written: each line with what it adds to, or takes from, the others.
LINES = st.sampled_from(
    [
        "# a comment\n",
        "; another\n",
        "#ARGS=--no\n",
        "\n",
        "   \n",
        "OTHER=1\n",
        "OTHER='a b'\n",
        'OTHER="a\\\n b"\n',
        'OTHER="ARGS=--no"\n',
        "MY_ARGS=--no\n",
        "OTHER=a\\\n\n",
        "  export MORE=2\n",
    ]
)
WORDS = st.lists(
    st.sampled_from(
        [
            "--v=2",
            "--max-pods=110",
            "--max_pods=5",
            "--max-pods 110",
            "--max-pods",
            "--max-pods-x=1",
            "--network-plugin kubenet",
            "--node-labels=a=b,c=d",
            "-v 3",
            "--offset=-3",
            "--max-pods -3",
        ]
    ),
    min_size=1,  # environment.d, unlike EnvironmentFile=, takes an empty value for none
    max_size=5,
)
BLANKS = st.sampled_from([" ", "  ", " \\\n  "])
NESTED = st.sampled_from(["", "--x='a b'", "--network-plugin='a b'", '--x=\\"a b\\"', '--max-pods=\\"7\\"'])


@st.composite
def assignments(draw):
    quote = draw(st.sampled_from(['"', "'", ""]))
    words = draw(WORDS)
    if quote == '"' and (nested := draw(NESTED)):
        words.insert(draw(st.integers(0, len(words))), nested)
    if not quote:
        words = words[:1] if " " not in words[0] else ["--v=2"]
    blank = " " if quote == "'" else draw(BLANKS)
    return f"{draw(st.sampled_from(['', '  ']))}ARGS={quote}{blank.join(words)}{quote}\n"


@st.composite
def env_files(draw):
    lines = draw(st.lists(st.one_of(LINES, assignments()), max_size=6))
    text = "".join(lines)
    return text if draw(st.booleans()) else text.removesuffix("\n")


def as_systemd_reads(text, home):
    """Give what systemd's own parser of such files makes of it."""
    (home / "environment.d").mkdir(exist_ok=True)
    (home / "environment.d" / "x.conf").write_text(text, encoding="utf-8")
    environment = {"XDG_CONFIG_HOME": str(home), "HOME": str(home)}
    generator = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"
    printed = subprocess.run([generator], env=environment, capture_output=True, text=True, check=True).stdout
    return as_a_shell_reads(printed, home)


def as_a_shell_reads(text, home):
    file = home / "file"
    file.write_text(text, encoding="utf-8")
    script = f'. {file}; printf \'%s\\0\' "$ARGS" "$OTHER" "$MY_ARGS"'
    printed = subprocess.run(["bash", "-c", script], env={}, capture_output=True, text=True, check=True).stdout
    return dict(zip(("ARGS", "OTHER", "MY_ARGS"), printed.split("\0"), strict=False))


def merged(words):
    """What the arguments must be: the first of each name is podlan's, its later ones and their values are gone."""
    result, wanted, skip = [], {flag.partition("=")[0]: flag for flag in FLAGS}, False
    done = set()
    for index, word in enumerate(words):
        if skip:
            skip = False
            continue
        name = word.partition("=")[0].replace("_", "-")
        if name not in wanted:
            result.append(word)
            continue
        following = words[index + 1] if index + 1 < len(words) else "-"
        skip = "=" not in word and (not following.startswith("-") or following[1:2].isdigit())
        if name not in done:
            result.append(wanted[name])
            done.add(name)
    return result + [flag for name, flag in wanted.items() if name not in done]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=env_files())
def test_systemd_and_the_shell_read_the_flags_and_all_else_as_before(tmp_path, text):
    after = merge_flags(text, "ARGS", FLAGS)
    for reads in (as_systemd_reads, as_a_shell_reads):
        if reads is as_a_shell_reads and re.search(r"^;", text, re.MULTILINE):
            continue  # a comment to systemd alone
        before, now = reads(text, tmp_path), reads(after, tmp_path)
        assert shlex.split(now["ARGS"]) == merged(shlex.split(before["ARGS"]))
        assert {**now, "ARGS": ""} == {**before, "ARGS": ""}
    assert merge_flags(after, "ARGS", FLAGS) == after
    comments = [line for line in text.splitlines() if line.startswith(("#", ";"))]
    assert [line for line in after.splitlines() if line.startswith(("#", ";"))] == comments
    gone = merge_flags(after, "ARGS", (), FLAGS)
    assert not set(FLAGS) & set(shlex.split(as_systemd_reads(gone, tmp_path)["ARGS"]))


@settings(max_examples=300)
@given(text=st.text(alphabet="AR=GS\"'\\ \n\t#;-vx\r", max_size=40))
def test_any_text_is_merged_or_refused_and_a_second_time_stays(text):
    try:
        once = merge_flags(text, "ARGS", FLAGS)
    except Unmergeable:
        return
    assert merge_flags(once, "ARGS", FLAGS) == once
