"""README shows what `make demo` prints: the example site's nodes, its matrix, the verdict."""

import re
from pathlib import Path

import pytest
from ready import podlan

pytestmark = pytest.mark.kernel

REPOSITORY = Path(__file__).parents[2]


def test_readme_shows_what_the_demo_of_the_example_site_prints():
    done = podlan(REPOSITORY, "lab", "demo", "site")
    assert done.returncode == 0, done
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```\n(lab demo-.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    # As on a terminal, where the matrix on stdout comes before stderr's last line; name and seconds are each run's own.
    *head, tail = done.stderr.splitlines(keepends=True)
    own = re.compile(r"demo-\d+|\d+\.\d s")
    assert own.sub("", "".join([*head, done.stdout, tail])) == own.sub("", shown)
    five = re.findall(r"(\d+/\d+) +\d+  ok ", done.stdout)[:5]
    assert five == ["24/24", "6/6", "24/24", "0/12", "12/12"]
