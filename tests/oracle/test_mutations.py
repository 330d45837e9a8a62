"""What real plugins answer to mistakes, beside what podlan says of the inventory that would lead to them.

The Markdown files here are the record and the test. Before the first `##` stands the site that all cases of a file
share; under each `##` heading:

- `json`: the CNI configuration as a plugin reads it, one block a node (``json a`` names the node); the plugins are
  Debian's, and every node has a master eth0 with 10.0.0.1/24 and a default route. A `setup` block before it holds
  lines of `ip` that run on the node.
- `answer`: what the plugin said to the first ADDs, each for a pod of its own, until one was refused; and what CHECK
  said where it was.
- `yaml`: the sections of the site in which the same mistake stands (and `lock`, the lock beside it), and `refused`:
  the codes with which podlan refuses or warns; or `unsayable`: why no inventory can hold this mistake.

PODLAN_CORPUS_UPDATE=1 writes answers and codes anew, for a person to review.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from podlan import pipeline

if TYPE_CHECKING:
    from real_plugins import Answer, Machine

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent
BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^(?=\w+:)", re.MULTILINE)
NODE = ("address add 10.0.0.1/24 dev eth0", "route add default via 10.0.0.254 dev eth0")
PODS = 3


class Block(NamedTuple):
    kind: str
    node: str
    text: str


@dataclass(frozen=True)
class Case:
    file: Path
    title: str
    shared: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        return f"{self.file.stem}: {self.title}"

    def all(self, kind: str) -> list[Block]:
        return [block for block in self.blocks if block.kind == kind]

    def text(self, kind: str) -> str:
        return "".join(block.text for block in self.all(kind))

    @property
    def site(self) -> str:
        """The shared site with this case's sections instead of its own."""
        own = SECTION.split(self.text("yaml"))
        names = {section.partition(":")[0] for section in own}
        kept = [section for section in SECTION.split(self.shared) if section.partition(":")[0] not in names]
        return "".join([*kept, *own])

    def update(self, kind: str, text: str) -> None:
        body = self.file.read_text(encoding="utf-8")
        start = body.index(f"## {self.title}\n")
        at = body.index(f"```{kind}\n", start) + len(f"```{kind}\n")
        self.file.write_text(body[:at] + text + body[body.index("```", at) :], encoding="utf-8")


def cases() -> list[Case]:
    found = []
    for file in sorted(HERE.glob("*.md")):
        head, *sections = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        ((_, _, shared),) = BLOCK.findall(head)
        for section in sections:
            title, _, body = section.partition("\n")
            found.append(Case(file, title, shared, tuple(Block(*block) for block in BLOCK.findall(body))))
    return found


CASES = cases()
SAYABLE = [case for case in CASES if not case.all("unsayable")]


def answered(machine: Machine, case: Case, store: Path) -> str:
    """Let every node attach its pods, and tell what the plugins said."""
    machine.wire("eth0", *NODE, *case.text("setup").splitlines())
    said = []
    for number, block in enumerate(case.all("json")):
        name = f"{block.node}: " if block.node else ""
        # Two nodes are two machines: their host-locals know nothing of each other.
        lines = attached(machine, block.text, store / (block.node or "node"), number * PODS)
        said += [f"{name}{line}\n" for line in lines]
    return "".join(said)


def attached(machine: Machine, text: str, store: Path, first: int) -> list[str]:
    said = []
    for pod in range(first, first + PODS):
        answer = machine.call("ADD", text, pod, store)
        said.append(f"ADD {told(answer, machine)}")
        if answer.refused:
            break
        if pod == first:
            said += first_pod(machine, text, pod, store, answer)
    return said


def first_pod(machine: Machine, text: str, pod: int, store: Path, answer: Answer) -> list[str]:
    """Tell the routes that the kernel has then, and what CHECK finds wrong, where the version has it."""
    ways = [f"{target} via {gateway}" if gateway else target for target, gateway in machine.routes(pod)]
    said = [f"  routes: {', '.join(ways) or 'none'}"]
    checked = machine.call("CHECK", text, pod, store, result=answer.said)
    too_old = "config version does not allow CHECK" in checked.error
    return said if too_old or not checked.refused else [*said, f"  CHECK {told(checked, machine)}"]


def told(answer: Answer, machine: Machine) -> str:
    if answer.refused:
        error = re.sub(rf"{machine.net.prefix}[\w-]+", "POD", answer.error)
        error = re.sub(r"0x[0-9a-f]+", "0x...", error)  # an address in the plugin's own memory
        return f"fails with {answer.said['code']}: {error}"
    return f"gives {', '.join(answer.addresses) or 'no address'}"


def expect(case: Case, kind: str, now: str) -> None:
    """Compare with the record, or write it."""
    if "PODLAN_CORPUS_UPDATE" in os.environ:
        case.update(kind, now)
    else:
        assert now == case.text(kind)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_real_plugins_answer_as_recorded(machine, case, tmp_path):
    expect(case, "answer", answered(machine, case, tmp_path))


@pytest.mark.parametrize("case", SAYABLE, ids=lambda case: case.name)
def test_podlan_refuses_the_inventory_that_says_the_same(case, tmp_path):
    (tmp_path / "site.yaml").write_text(case.site, encoding="utf-8")
    if case.all("lock"):
        (tmp_path / "podlan.lock").write_text(case.text("lock"), encoding="utf-8")
    found = [finding for finding in pipeline.check(tmp_path).findings if finding.severity.value != "note"]
    codes = sorted({finding.code for finding in found})
    shared = case.site.count("\n") - case.text("yaml").count("\n")
    assert any(finding.place and finding.place.line > shared for finding in found), "it speaks of what the case says"
    expect(case, "refused", "".join(f"{code}\n" for code in codes))


@pytest.mark.parametrize("file", sorted(HERE.glob("*.md")), ids=lambda file: file.stem)
def test_the_site_that_the_cases_share_has_no_mistake(file, tmp_path):
    shared = next(case.shared for case in CASES if case.file == file)
    (tmp_path / "site.yaml").write_text(shared, encoding="utf-8")
    assert [finding for finding in pipeline.check(tmp_path).findings if finding.severity.value != "note"] == []


def test_every_case_has_an_answer_and_a_word_of_podlans():
    for case in CASES:
        assert case.all("json"), case.name
        assert len(case.all("answer")) == 1, case.name
        kinds = {block.kind for block in case.blocks}
        assert ("unsayable" in kinds) != ({"yaml", "refused"} <= kinds), case.name
