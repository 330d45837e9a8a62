"""`podlan diff` as people and CI call it: sites, outputs, git revisions; text, Markdown and JSON."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from handmade import cni, files
from hypothesis import given, settings
from hypothesis import strategies as st
from ready import podlan

from podlan.review.comparing import compare
from podlan.review.differences import review
from podlan.review.forms import form
from podlan.review.sides import Side, load
from podlan.review.telling import COMMENT_LIMIT, as_markdown, as_text

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-199], routes: []}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 10}
nodes: {}
"""


class Repository:
    """The project as a git repository with a branch main."""

    def __init__(self, project) -> None:
        self.project = project
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> None:
        who = {
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        }
        env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(["git", *arguments], cwd=self.project.path, check=True, capture_output=True, env=env)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change")


@pytest.fixture
def repository(project):
    project.compile()
    repository = Repository(project)
    repository.commit()
    return repository


def test_a_site_its_output_and_its_revision_do_not_differ(project, repository):
    assert repository
    for old, new in (("site", "output"), ("main:site", "output"), ("main:output", "site"), ("main:output", "output")):
        assert project.run("diff", old, new).stdout == "no difference: 3 stay as they are\n"


def test_a_pull_request_is_told_node_by_node_the_riskiest_first(project, repository):
    assert repository
    project.change("node-2: {address: 10.0.0.2}", "node-2: {address: 10.0.0.2, ranges: [10.0.0.64-79]}")
    project.change("  node-3: {address: 10.0.0.3}", "  node-4: {address: 10.0.0.4}")
    assert project.run("diff", "main:site", "site", code=3).stdout == (
        "3 nodes change: 1 new, 1 removed (16 addresses leave), 1 with slices moved (16 addresses leave);"
        " 1 stays as it is\n"
        "\n"
        "node-2\n"
        "  medium  slice moved                    10.0.0.0/24: 10.0.0.32-47 -> 10.0.0.64-79"
        " (16 addresses leave: pods there keep their addresses until they end; new pods get others)\n"
        "  low     host routes to own pods        -10.0.0.32/28, +10.0.0.64/28"
        " (on podlan's own link; nothing else of the host is touched)\n"
        "\n"
        "node-3\n"
        "  medium  node removed                   slice 10.0.0.48-63 of 10.0.0.0/24"
        " (16 addresses leave; what podlan did on the node stays there until somebody undoes it)\n"
        "\n"
        "node-4\n"
        "  none    new node                       slice 10.0.0.80-95 of 10.0.0.0/24 (nothing runs there yet)\n"
    )


def test_an_upgrade_that_is_the_same_on_every_node_is_told_once(project, repository):
    assert repository
    project.change('"1.31"', '"1.29"')
    said = project.run("diff", "main:output", "site", code=3).stdout
    assert said.startswith("3 nodes change: 3 restarts; 0 stay as they are\n\n")
    assert said.count("3 nodes: node-1, node-2, node-3") == said.count("/etc/default/kubelet:") == 1


def test_markdown_is_a_summary_a_table_and_folded_details(project, repository):
    assert repository
    project.change("  node-3: {address: 10.0.0.3}", "  node-4: {address: 10.0.0.4}")
    assert project.run("diff", "main:site", "site", "--format", "markdown", code=3).stdout == (
        "### podlan: 2 nodes change: 1 new, 1 removed (16 addresses leave); 2 stay as they are\n"
        "\n"
        "| risk | change | nodes | |\n"
        "|---|---|--:|---|\n"
        "| medium | node removed | 1 | 16 addresses leave |\n"
        "| none | new node | 1 |  |\n"
        "\n"
        "<details><summary>node removed: 1 node</summary>\n"
        "\n"
        "- **`node-3`**\n"
        "  - medium, node removed: `slice 10.0.0.48-63 of 10.0.0.0/24`: 16 addresses leave; what podlan did on the"
        " node stays there until somebody undoes it\n"
        "\n"
        "</details>\n"
        "\n"
        "<details><summary>new node: 1 node</summary>\n"
        "\n"
        "- **`node-4`**\n"
        "  - none, new node: `slice 10.0.0.64-79 of 10.0.0.0/24`: nothing runs there yet\n"
        "\n"
        "</details>\n"
        "\n"
        "All of it: `podlan diff main:site site`\n"
    )


def test_json_has_every_number_of_the_summary_and_every_change(project, repository):
    assert repository
    project.change("node-2: {address: 10.0.0.2}", "node-2: {address: 10.0.0.2, ranges: [10.0.0.64-79]}")
    said = json.loads(project.run("diff", "main:site", "site", "--format", "json", code=3).stdout)
    assert said["summary"]["moved"] == 1
    assert said["summary"]["leaving"] == 16
    (node,) = said["nodes"]
    assert node["node"] == "node-2"
    assert node["changes"][0] == {
        "kind": "slice-moved",
        "risk": "medium",
        "what": "10.0.0.0/24: 10.0.0.32-47 -> 10.0.0.64-79",
        "cost": "16 addresses leave: pods there keep their addresses until they end; new pods get others",
        "leaves": ["10.0.0.32-10.0.0.47"],
        "leaving": 16,
        "taken": [],
        "restarts": [],
    }


def test_a_site_that_is_one_file_brings_its_lock_from_the_revision(project, repository):
    """Without the lock the newcomer, sorted first, would take the first slice."""
    project.change("nodes:\n", "nodes:\n  a: {address: 10.0.0.9}\n")
    project.compile()
    repository.commit()
    assert "4 stay" in project.run("diff", "main:site/site.yaml", "site/site.yaml").stdout
    assert "4 stay" in project.run("diff", "main:site/site.yaml", "output").stdout


def test_a_path_of_a_revision_may_be_relative_or_the_whole_tree(project, repository):
    assert repository
    for argument in ("main:./", "main:.", "main:site/", "main:"):
        told = podlan(project.site, "diff", argument, "../output")
        assert told.stdout == "no difference: 3 stay as they are\n", told.stderr


def test_what_export_ignore_and_line_end_rules_hide_from_git_archive_is_compared_too(project, repository):
    (project.path / ".gitattributes").write_text("*.yaml export-ignore text eol=crlf\n", encoding="utf-8")
    repository.commit()
    assert "3 stay" in project.run("diff", "main:site", "output").stdout


def test_an_existing_path_is_a_path_even_with_a_colon(project):
    project.compile()
    project.out.rename(project.path / "main:output")
    assert "3 stay" in project.run("diff", "main:output", "site").stdout


@pytest.mark.parametrize(
    ("argument", "code", "says"),
    [
        ("nowhere", 2, "there is no nowhere here"),
        ("", 2, "there is no"),
        ("nobranch:site", 4, "nobranch is no revision of this repository"),
        ("--help:site", 4, "is no revision"),
        ("main:nowhere", 4, "main has no nowhere"),
        ("main:../site", 4, "main has no ../site"),
    ],
)
def test_an_argument_that_names_nothing_is_a_clear_error(project, repository, argument, code, says):
    assert repository
    said = project.run("diff", "--", argument, "output", code=code)
    assert says in said.stderr
    assert not said.stdout


def test_a_revision_outside_a_repository_is_a_clear_error(project):
    project.compile()
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(project.path.parent)}
    said = project.run("diff", "main:site", "output", code=4, env=env)
    assert "not a git repository" in said.stderr


def test_a_machine_without_git_is_a_clear_error(project):
    project.compile()
    said = project.run("diff", "main:site", "output", code=4, env={**os.environ, "PATH": "/nonexistent"})
    assert "git cannot be run" in said.stderr


def test_the_findings_of_a_site_with_errors_are_printed_where_they_stand_in_the_revision(project, repository):
    project.change("10.0.0.2}", "10.0.0.1}")
    repository.commit()
    said = project.run("diff", "main:site", "site", code=1)
    assert "error: main:site does not compile" in said.stderr
    assert "main:site/site.yaml:15:21: error[PL204]" in said.stderr
    assert not said.stdout
    values = json.loads(project.run("diff", "site", "main:site", "--format", "json", code=1).stdout)
    assert values["findings"][0]["place"]["file"] == "site/site.yaml"


def test_a_broken_lock_beside_a_single_file_is_named_as_it_is_in_the_revision(project, repository):
    project.lock.write_text("hello\n", encoding="utf-8")
    repository.commit()
    assert (
        "main:site/podlan.lock:1:1: error[PL501]" in project.run("diff", "main:site/site.yaml", "site", code=1).stderr
    )


def test_an_output_with_a_missing_file_is_a_clear_error(project):
    project.compile()
    (project.out / "nodes/node-2/boot.sh").unlink()
    said = project.run("diff", "site", "output", code=4)
    assert "cannot compare output/nodes/node-2: boot.sh is not there" in said.stderr


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"files": 7}', '{"files": {"../../../secret": ""}}'])
def test_an_output_with_a_broken_manifest_is_a_clear_error(project, manifest):
    project.compile()
    (project.out / "nodes/node-2/manifest.json").write_text(manifest, encoding="utf-8")
    assert "output/nodes/node-2/manifest.json" in project.run("diff", "site", "output", code=4).stderr


def test_no_symbolic_link_leads_out_of_an_output(project, repository):
    secret = project.path / "secret"
    secret.write_text("{}", encoding="utf-8")
    target = project.out / "nodes/node-2/boot.sh"
    target.unlink()
    target.symlink_to(secret)
    assert "symbolic link" in project.run("diff", "site", "output", code=4).stderr
    repository.commit()
    assert "boot.sh is not there" in project.run("diff", "site", "main:output", code=4).stderr
    (project.path / "away").mkdir()
    (project.out / "nodes/node-3/rootfs").rename(project.path / "away/rootfs")
    (project.out / "nodes/node-3/rootfs").symlink_to(project.path / "away/rootfs")
    target.unlink()
    target.write_text("x", encoding="utf-8")
    assert "rootfs is a symbolic link" in project.run("diff", "site", "output", code=4).stderr


def test_a_site_with_a_directory_of_nodes_is_a_site(project):
    (project.site / "nodes").mkdir()
    text = project.file.read_text(encoding="utf-8")
    head, _, nodes = text.partition("nodes:\n")
    project.write(head)
    (project.site / "nodes/rack.yaml").write_text("nodes:\n" + nodes, encoding="utf-8")
    project.compile()
    assert "3 stay" in project.run("diff", "site", "output").stdout


def test_an_output_without_nodes_is_compared_too(project):
    (project.path / "empty/nodes").mkdir(parents=True)
    project.compile()
    assert "3 nodes change: 3 new" in project.run("diff", "empty", "output", code=3).stdout
    assert "no nodes on either side" in project.run("diff", "empty", "empty").stdout


def many(count: int) -> tuple[Side, Side]:
    """Two sides on which every node moves to a place of its own."""

    def conf(index: int, base: int):
        first = f"10.{base + index // 256}.{index % 256}"
        return cni(f"{first}.16-{first}.31", subnet="10.0.0.0/8")

    names = [f"node-{index}.rack-{index % 7}.example.com" for index in range(count)]
    old = {name: files(conf=conf(index, 0)) for index, name in enumerate(names)}
    return Side("old", old), Side("new", {name: files(conf=conf(index, 64)) for index, name in enumerate(names)})


def test_a_comment_about_a_thousand_nodes_fits_a_pull_request_and_says_what_it_leaves_out():
    text = as_markdown(review(*many(1000)))
    assert len(text) <= len(text.encode()) <= COMMENT_LIMIT
    assert len(text) > COMMENT_LIMIT * 0.95
    assert text.startswith("### podlan: 1000 nodes change: 1000 with slices moved (16000 addresses leave)")
    shown = text.count("- **`")
    assert f"\n{1000 - shown} more nodes do not fit here.\n" in text
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.endswith("All of it: `podlan diff old new`\n")


@pytest.mark.parametrize("limit", [700, 1000, 2000, 5000])
def test_whatever_the_limit_a_comment_keeps_it_and_closes_what_it_opens(limit):
    text = as_markdown(review(*many(40)), limit)
    assert len(text.encode()) <= limit
    assert text.count("<details>") == text.count("</details>")


def test_what_a_compiled_file_says_becomes_no_markup_and_no_mention():
    hostile = files(conf=cni("10.0.0.16-10.0.0.31", routes=["`</details>| @all\n# x\033[2J"]))
    result = review(Side("old", {"n": files()}), Side("a`b|c", {"n": hostile}))
    text = as_markdown(result)
    assert "'</details>/ @all" in text
    assert all(line.count("`") % 2 == 0 for line in text.splitlines())
    assert "\033" not in text + as_text(result)
    assert "\n# x" not in text


def test_text_that_is_no_text_is_printed_all_the_same(project):
    """JSON can hold half a character."""
    project.compile()
    conf = project.out / "nodes/node-1/rootfs/etc/cni/net.d/05-podlan.conflist"
    conf.write_text(conf.read_text(encoding="utf-8").replace('"eth0"', '"\\ud800"'), encoding="utf-8")
    for form_name in ("text", "json", "markdown"):
        assert "05-podlan.conflist" in project.run("diff", "site", "output", "--format", form_name, code=3).stdout


def test_colour_marks_the_risk_and_only_where_it_is_asked_for():
    result = review(Side("old", {"n": files()}), Side("new", {"n": files(conf=cni("10.0.0.32-10.0.0.47"))}))
    assert "\033" not in as_text(result)
    assert "\033[1;33mmedium\033[0m" in as_text(result, colour=True)


def test_a_comment_about_nothing_is_one_line_and_the_command():
    text = as_markdown(review(Side("old", {"n": files()}), Side("new", {"n": files()})))
    assert text == "### podlan: no difference: 1 stays as it is\n\nAll of it: `podlan diff old new`\n"


SIZES = st.lists(st.integers(1, 12), max_size=6)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.sampled_from(["shim", "none"]), st.sampled_from(["1.23", "1.29", "1.31"]))
def test_a_site_never_differs_from_itself(sizes, via, kubernetes):
    """Not as bytes, and not as what the bytes mean."""
    nodes = "".join(f"  n{number}: {{pods: {pods}}}\n" for number, pods in enumerate(sizes))
    text = (
        SITE.partition("nodes:")[0]
        .replace("1.31", kubernetes)
        .replace("podsPerNode: 10", f"hostAccess: {{via: {via}}}")
    )
    with TemporaryDirectory() as directory:
        Path(directory, "site.yaml").write_text(f"{text}nodes:\n{nodes}" if nodes else text, encoding="utf-8")
        one, other = load(directory), load(directory)
    assert len(one.nodes) == len(sizes)
    assert not review(one, other)
    for node, compiled in one.nodes.items():
        assert compare(form(node, compiled), form(node, other.nodes[node])) == ()
