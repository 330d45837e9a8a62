"""Releasing takes lines of the quarantine off the lock and touches nothing else."""

from __future__ import annotations

import pytest


@pytest.fixture
def parted(project):
    """A site that two nodes have left."""
    project.compile()
    for number in (2, 3):
        project.change(f"  node-{number}: {{address: 10.0.0.{number}}}\n", "")
    project.compile()
    return project


def lines(project):
    return project.lock.read_text(encoding="utf-8").splitlines()


def test_a_release_edits_only_lines_of_the_quarantine(parted):
    """Neither a newcomer's slice nor the order of the lines is its business."""
    parted.change("nodes:\n", "nodes:\n  newcomer: {pods: 1}\n")
    text = lines(parted)
    parted.lock.write_text("\n".join([text[0], *reversed(text[1:])]) + "\n", encoding="utf-8")
    before = lines(parted)
    said = parted.run("release", "site", "node-2").stdout.splitlines()
    gone = [line for line in before if line.startswith("quarantine lan node-2 ")]
    assert lines(parted) == [line for line in before if line not in gone]
    assert len(said) == len(gone) == 2
    assert all(line.endswith(" of lan, once node-2's") for line in said)


@pytest.mark.parametrize("text", ["version: [", "version: 1\n", "nodes: {node-1: {address: nonsense}}\n", ""])
def test_a_release_needs_no_right_inventory(parted, text):
    parted.write(text)
    assert "released" in parted.run("release", "site", "node-2").stdout
    assert not any("quarantine lan node-2" in line for line in lines(parted))


def test_a_release_of_a_lock_that_cannot_be_read_changes_nothing(parted):
    parted.lock.write_text(parted.lock.read_text(encoding="utf-8") + "slice lan\n", encoding="utf-8")
    before = parted.tree()
    assert "error[PL501]" in parted.run("release", "site", "node-2", code=1).stderr
    assert parted.tree() == before


def test_a_slip_of_the_pen_releases_nothing(parted):
    before = parted.tree()
    said = parted.run("release", "site", "node-2", "nod-3", code=1).stderr
    assert "neither site/podlan.lock nor its site knows a node nod-3" in said
    assert parted.tree() == before


@pytest.mark.parametrize("node", ["node-1", "newcomer"])
def test_a_node_without_quarantine_is_no_error(parted, node):
    parted.change("nodes:\n", "nodes:\n  newcomer: {pods: 1}\n")
    before = parted.tree()
    assert f"nothing of {node} is quarantined" in parted.run("release", "site", node).stderr
    assert parted.tree() == before


def test_without_a_lock_nothing_is_quarantined(project):
    assert "nothing of node-1 is quarantined" in project.run("release", "site", "node-1").stderr
    assert not project.lock.exists()
