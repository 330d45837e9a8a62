"""Branches and merges with real git: what it joins without a word, podlan checks again."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

ENV = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


class Repository:
    """A site under git: every node in a file of its own, so that only the lock can conflict."""

    def __init__(self, project) -> None:
        self.project = project
        project.change(
            "  node-1: {address: 10.0.0.1}\n  node-2: {address: 10.0.0.2}\n  node-3: {address: 10.0.0.3}\n", ""
        )
        project.change("nodes:\n", "")
        for number in (1, 5, 9):
            self.node(f"node-{number}")
        self.git("init", "-q", "-b", "main")
        self.commit("base")

    def git(self, *arguments, code=0, when=None):
        times = {} if when is None else {"GIT_AUTHOR_DATE": f"{when} +0000", "GIT_COMMITTER_DATE": f"{when} +0000"}
        env = {**os.environ, **ENV, **times}
        done = subprocess.run(
            ["git", *arguments], cwd=self.project.path, env=env, text=True, capture_output=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def node(self, name, **keys):
        written = ", ".join(f"{key}: {value}" for key, value in keys.items())
        (self.project.site / f"{name}.yaml").write_text(f"nodes:\n  {name}: {{{written}}}\n", encoding="utf-8")

    def commit(self, message, when=None):
        self.project.compile()
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message, when=when)

    def branch(self, name, *nodes):
        self.git("checkout", "-q", "-b", name, "main")
        for node in nodes:
            self.node(node)
        self.commit(f"add {' '.join(nodes)}")

    def lines(self, kind="slice"):
        text = self.project.lock.read_text(encoding="utf-8")
        return {line.split(" ")[2]: line.split(" ")[3] for line in text.splitlines() if line.startswith(f"{kind} ")}


@pytest.fixture
def repository(project):
    return Repository(project)


def test_branches_that_add_different_nodes_merge_without_a_conflict_and_the_merge_is_refused_until_decided(repository):
    """Both took the next free range; git joins their lines without a word, since they stand apart."""
    repository.branch("ours", "node-3")
    repository.branch("theirs", "node-7")
    assert repository.lines()["node-7"] == "10.0.0.64-10.0.0.79"
    repository.git("checkout", "-q", "ours")
    repository.git("merge", "-q", "theirs", "-m", "merge")
    assert repository.lines()["node-3"] == repository.lines()["node-7"]
    said = repository.project.compile(code=1).stderr
    assert "node-3 and node-7 both hold 10.0.0.64-79 of lan" in said
    assert "--base REV" in said
    assert "--keep node-3 or --keep node-7" in said
    repository.project.compile("--base", "ours~1")
    assert repository.lines()["node-3"] == "10.0.0.64-10.0.0.79"
    assert repository.lines()["node-7"] == "10.0.0.80-10.0.0.95"
    assert len(set(repository.lines("shim").values())) == 5
    repository.project.compile("--check")


def test_keep_says_who_stays_where_no_base_tells(repository):
    repository.branch("ours", "node-3")
    repository.branch("theirs", "node-7")
    repository.git("merge", "-q", "ours", "-m", "merge")
    repository.project.compile("--keep", "node-7")
    assert repository.lines()["node-7"] == "10.0.0.64-10.0.0.79"
    assert repository.lines()["node-3"] == "10.0.0.80-10.0.0.95"
    assert not repository.lines("quarantine")


def test_a_conflict_that_git_leaves_in_the_lock_is_read_as_both_sides(repository):
    repository.branch("ours", "node-3a")
    repository.branch("theirs", "node-3b")
    repository.git("merge", "theirs", "ours", "-m", "merge", code=1)
    text = repository.project.lock.read_text(encoding="utf-8")
    assert "<<<<<<<" in text
    said = repository.project.compile(code=1).stderr
    assert "note[PL502]" in said
    assert "node-3b and node-3a both hold" in said
    assert repository.project.lock.read_text(encoding="utf-8") == text
    repository.project.compile("--base", "ours")
    assert "<<<<<<<" not in repository.project.lock.read_text(encoding="utf-8")
    assert repository.lines()["node-3a"] == "10.0.0.64-10.0.0.79"
    assert repository.lines()["node-3b"] == "10.0.0.80-10.0.0.95"
    repository.project.compile("--check")


def test_a_removal_and_an_addition_beside_it_merge_to_a_lock_that_holds(repository):
    """Neighbouring lines conflict for git; both sides together are what is meant."""
    repository.git("checkout", "-q", "-b", "removes", "main")
    (repository.project.site / "node-5.yaml").unlink()
    repository.commit("remove node-5")
    repository.branch("adds", "node-2")
    repository.git("merge", "-q", "removes", "-m", "merge", code=1)
    repository.project.compile()
    repository.project.compile("--check")
    assert repository.lines("quarantine")["node-5"]
    assert set(repository.lines()) == {"node-1", "node-2", "node-9"}


def test_quarantine_ends_by_age_as_git_remembers_it(repository):
    now = int(time.time())
    for node, days in (("node-5", 40), ("node-9", 3)):
        (repository.project.site / f"{node}.yaml").unlink()
        repository.commit(f"remove {node}", when=now - days * 86400)
    said = repository.project.run("release", "site", "--older-than", "30d").stdout
    assert {line.rpartition("once ")[2] for line in said.splitlines()} == {"node-5's"}
    assert set(repository.lines("quarantine")) == {"node-9"}
    assert repository.project.run("release", "site", "--older-than", "30d").stdout == ""


def test_what_is_not_committed_has_no_age_yet(repository):
    (repository.project.site / "node-5.yaml").unlink()
    repository.project.compile()
    assert "nothing of that age" in repository.project.run("release", "site", "--older-than", "0h").stderr


def test_a_base_that_is_none_is_a_clear_error(repository):
    assert "git cannot give podlan.lock of nowhere" in repository.project.compile("--base", "nowhere", code=4).stderr
    said = repository.project.compile("--base", "--upload-pack=x", code=4).stderr
    assert "git cannot give" in said


def test_without_a_repository_git_s_own_words_say_so(project, monkeypatch):
    monkeypatch.setenv("GIT_DISCOVERY_ACROSS_FILESYSTEM", "1")  # else it may end at /tmp's own, with other words
    project.compile()
    assert "not a git repository" in project.compile("--base", "main", code=4).stderr
    assert "git cannot give" in project.run("release", "site", "--older-than", "1d", code=4).stderr


@pytest.mark.parametrize("arguments", [["release", "site"], ["release", "site", "--older-than", "soon"]])
def test_release_asks_whose_and_how_old(project, arguments):
    project.run(*arguments, code=2)
