"""Writes docs/findings.md: `python -m podlan.cli.findings FILE`. Its text is what `podlan rule` prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.cli._rule import explanations, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Explanation

SITE = """\
version: 1
site: lab
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
nodes:
  node-1: {address: 10.0.0.1}
  node-2: {address: 10.0.0.2}
"""
"""The site that every example is laid over; nothing is wrong with it."""

_INTRODUCTION = """\
# What podlan finds

<!-- Written by `make docs` from the rules' own texts. -->

Every finding has a code that never changes its meaning. `podlan rule CODE` prints what stands here.

The examples are laid over this site, `site/site.yaml`. A section that an example gives (`nodes:`, `subnets:`, ...)
stands in place of the site's. A block that begins with `# NAME` is a whole file of the site, one that begins with
`podlan.lock` is its lock, and lines with `$` are typed beside the directory `site`. What an example does not give
again under *Instead* stays as it was.
"""


def page() -> str:
    """Give the page: the site of the examples, a table of contents, and a section for each code."""
    groups = grouped(explanations())
    parts = [_INTRODUCTION, f"```yaml\n{SITE}```\n", *_contents(groups)]
    for name, ones in groups.items():
        parts.append(f"## {name}\n")
        parts += map(_section, ones)
    return "\n".join(parts)


def _contents(groups: dict[str, list[Explanation]]) -> Iterator[str]:
    for name, ones in groups.items():
        rows = "".join(f"| [{one.code}](#{one.code.lower()}) | {one.title} |\n" for one in ones)
        yield f"**{name}**\n\n| code | what |\n|---|---|\n{rows}"


def _section(explanation: Explanation) -> str:
    # The heading is the code alone, since it becomes the anchor, and a title may be bettered.
    return f"### {explanation.code}\n\n**{explanation.title}**\n\n{explanation.markdown()}\n"


def main(file: Path) -> None:
    """Write the page."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
