"""A scaffold is a valid site, with the attributes that keep the lock's bytes."""

from __future__ import annotations

import pytest


def test_a_new_site_is_valid_and_compiles(project):
    said = project.run("init", "new").stdout
    assert "next: podlan check new" in said
    project.run("check", "new", "--strict")
    assert "podlan.lock text eol=lf" in (project.path / "new/.gitattributes").read_text(encoding="utf-8")
    project.run(
        "init", "more", "--subnet", "172.16.129.0/24", "--node", "a=172.16.129.101", "--node", "b=172.16.129.102"
    )
    assert "2 nodes" in project.run("compile", "more", "-o", "out").stdout


def test_a_site_of_ipv6_is_valid_too(project):
    project.run("init", "six", "--subnet", "fd00::/64", "--node", "a=fd00::5")
    project.run("compile", "six", "-o", "out")


def test_answers_that_are_no_site_are_found_at_once(project):
    assert "PL206" in project.run("init", "bad", "--node", "a=192.168.1.1", code=1).stderr
    nasty = 'x"; rm -rf / #'
    assert "PL104" in project.run("init", "nasty", "--interface", nasty, code=1).stderr


@pytest.mark.parametrize("arguments", [["site"], ["new", "--subnet", "10.0.0.1/24"], ["new", "--node", "a"]])
def test_what_is_there_stays_and_nonsense_is_refused(project, arguments):
    before = project.tree()
    project.run("init", *arguments, code=2)
    assert project.tree() == before
