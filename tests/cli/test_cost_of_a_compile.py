"""What a compile costs, in figures that no busy machine changes: podlan's function calls, and system calls."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COUNTING = Path(__file__).parents[1] / "support/counting.py"
NOTED = Path(__file__).with_name("cost-of-a-compile.txt")
RENEW = "if this is meant: make counts, and say in the commit what it buys"


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    file = tmp_path_factory.mktemp("counted") / NOTED.name
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, str(COUNTING), str(file)], check=True, env=env)
    return file.read_text(encoding="utf-8")


def rows(text):
    """Give the last but one and the last figure of every line that is a total."""
    found = re.findall(r"^(\w.*?) {2,}.*?([0-9.]+) +([0-9.]+)$", text, re.MULTILINE)
    return {(index, name): (float(one), float(two)) for index, (name, one, two) in enumerate(found)}


def test_a_compile_costs_what_is_noted_call_by_call(counted):
    """A call too many for each of 10,000 nodes is seen here, long before a clock could tell it from noise."""
    noted = NOTED.read_text(encoding="utf-8")
    if sys.version_info[:2] == (3, 11):
        changes = "\n".join(difflib.unified_diff(noted.splitlines(), counted.splitlines(), "noted", "now", lineterm=""))
        assert not changes, f"{RENEW}\n{changes}"
    else:
        # Other versions inline other functions and open files in other ways; none costs much more.
        for name, (count, _) in rows(counted).items():
            most = rows(noted)[name][0] * 1.15 + 20
            assert count <= most, f"{name[1]}: {count}, at most {most:.0f} here; {RENEW}"


def test_ten_times_the_nodes_cost_no_more_than_ten_times_the_calls(counted):
    functions = counted.partition("\n\n")[0].splitlines()[1:]
    assert len(functions) > 20
    for line in functions:
        # A hundredth for records of one hash, which are compared: there are more of them among more.
        assert float(line.split()[-1]) <= 10.1, f"this grows faster than the nodes:\n{line}"
