"""From a source to a site: what could not be read is never called missing."""

from __future__ import annotations

import os

import pytest

from podlan import pipeline
from podlan.inventory import load
from podlan.source import read_site

SITE = """\
version: 1
site: lab
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: []}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
"""
NODES = "nodes:\n  a: {address: 10.0.0.1}\n"


def codes(directory):
    return [finding.code for finding in pipeline.check(directory).findings]


def test_a_site_in_two_files_is_a_site(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    (tmp_path / "nodes.yaml").write_text(NODES, encoding="utf-8")
    site, findings = load(read_site(tmp_path))
    assert not findings
    assert [node.name for node in site.nodes] == ["a"]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (b"site: [lab\n", "PL002"),
        (b"<<<<<<< HEAD\nsite: lab\n", "PL002"),
        (b"site: &x lab\n", "PL004"),
        (b"? [a]\n: b\n", "PL011"),
        (b"site: sch\xf6n\n", "PL010"),
        (b"- site\n", "PL009"),
    ],
)
@pytest.mark.parametrize("rest", [NODES, "nodes:\n  a: {profiles: [old]}\n", "profiles: {}\n"])
def test_a_file_that_cannot_be_read_is_the_only_thing_to_say(tmp_path, written, code, rest):
    (tmp_path / "a.yaml").write_bytes(written)
    (tmp_path / "b.yaml").write_text(rest, encoding="utf-8")
    assert codes(tmp_path) == [code]


def test_what_is_wrong_in_the_files_that_could_be_read_is_still_said(tmp_path):
    (tmp_path / "a.yaml").write_text("site: [lab\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("nodes:\n  a: {addres: 10.0.0.1}\nsubnets:\n  lan: {}\n", encoding="utf-8")
    assert codes(tmp_path) == ["PL002", "PL102", "PL101"]


def test_a_file_that_is_left_out_by_its_kind_is_not_missed_either(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    (tmp_path / "nodes.yaml").write_text("nodes:\n  a: {profiles: [old]}\n", encoding="utf-8")
    os.mkfifo(tmp_path / "profiles.yaml")
    assert codes(tmp_path) == ["PL015"]


def test_a_second_document_may_hold_what_is_missing(tmp_path):
    (tmp_path / "site.yaml").write_text(f"version: 1\n---\n{SITE}", encoding="utf-8")
    assert codes(tmp_path) == ["PL005"]
