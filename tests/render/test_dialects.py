"""Golden files that people read: under each heading a node's facts, and what its kubelet and its runtime are told.

PODLAN_GOLDEN_UPDATE=1 writes the files anew, for a person to review. The node's slice is 10.0.0.16-31.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path

import pytest
from blueprints import blueprint
from ruamel.yaml import YAML

from podlan.render._kubelet import kubelet
from podlan.render._runtime import runtime

GOLDEN = Path(__file__).parent / "dialects.md"
SECTION = re.compile(
    r"^## (?P<title>[^\n]+)\n\n```yaml\n(?P<facts>.*?)^```\n\n```text\n(?P<told>.*?)^```$", re.MULTILINE | re.DOTALL
)
SECTIONS = {match["title"]: match for match in SECTION.finditer(GOLDEN.read_text(encoding="utf-8"))}


def told(facts: dict[str, object]) -> str:
    plan = blueprint(
        facts["cluster"],
        facts.get("cni"),
        role=facts.get("role", "worker"),
        addresses=tuple(map(ip_address, facts.get("addresses", ["10.0.0.1"]))),
        secondary=facts.get("secondary", False),
    )
    parts = []
    for artifact in (*runtime(plan), *kubelet(plan)):
        file = artifact.file
        head = f"{file.path}, read by {', '.join(file.restart)}\n"
        if file.env_flags is not None:
            body = f"{file.env_flags.variable}=\n" + "".join(f"  {flag}\n" for flag in file.env_flags.flags)
        else:
            body = artifact.content.decode()
        parts.append(head + "".join(f"  {line}".rstrip() + "\n" for line in body.splitlines()))
    return "\n".join(parts)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_node_s_kubelet_and_runtime_are_told_what_stands_there(title):
    section = SECTIONS[title]
    said = told(YAML(typ="safe").load(section["facts"]))
    if "PODLAN_GOLDEN_UPDATE" in os.environ:
        text = GOLDEN.read_text(encoding="utf-8")
        start = text.index("```text\n", text.index(f"## {title}\n")) + len("```text\n")
        GOLDEN.write_text(text[:start] + said + text[text.index("```\n", start) :], encoding="utf-8")
    else:
        assert said == section["told"]


def test_every_heading_is_a_case():
    assert len(SECTIONS) == GOLDEN.read_text(encoding="utf-8").count("\n## ")
