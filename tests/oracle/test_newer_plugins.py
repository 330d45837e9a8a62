"""Options and a version of the form that Debian's plugins do not know yet; these tests need newer ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from real_networks import FILE, MULTUS, Wires, compiled
from test_networks import HEAD, STORAGE, SUBNETS, UPLINK, index_of, reaches, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[Wires]:
    made = Wires(tmp_path)
    try:
        yield made.up()
    finally:
        made.down()


def test_the_queue_of_broadcasts_is_as_long_as_asked(wires, tmp_path):
    files = compiled(site(UPLINK.replace("}", ", bcqueuelen: 2345}")), tmp_path / "site")
    pod = wires.attach(files, FILE, 0)
    assert not (answer := pod.add()).refused, answer
    assert "bcqueuelen 2345" in wires.ip("pod-0", "-d", "link", "show", "eth0")
    assert not (answer := pod.check()).refused, answer


def test_a_network_on_an_interface_of_the_pod(wires, tmp_path):
    inside = "inside: {interface: eth0, subnets: [store], podsPerNode: 4, secondary: true, linkInContainer: true, "
    files = compiled(site(UPLINK, f"{inside}hostAccess: {{via: none}}}}"), tmp_path / "site")
    first, second = wires.attach(files, FILE, 0), wires.attach(files, f"{MULTUS}/inside.conflist", 0, "net1")
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
        assert not (answer := one.check()).refused, answer
    assert f"net1@if{index_of(wires, 'eth0')}" in wires.ip("pod-0", "link", "show", "net1")
    assert not (answer := second.delete()).refused, answer


def test_sbr_takes_the_table_that_is_asked_for(wires, tmp_path):
    chained = STORAGE.replace("true}", "true, chain: [{type: sbr, table: 222}]}")
    files = compiled(site(UPLINK, chained), tmp_path / "site")
    first, second = wires.attach(files, FILE, 0), wires.attach(files, f"{MULTUS}/storage.conflist", 0, "net1")
    for one in (first, second):
        assert not (answer := one.add()).refused, answer
    assert "lookup 222" in wires.ip("pod-0", "rule")
    assert reaches(wires, "pod-0", "10.0.1.254", "-I", second.addresses[0])


def test_the_newest_form_is_taken_where_it_is_asked_for(wires, tmp_path):
    text = site(UPLINK).replace("binDir", 'cniVersion: "1.1.0", binDir')
    assert HEAD.replace("binDir", 'cniVersion: "1.1.0", binDir') + SUBNETS in text
    pod = wires.attach(compiled(text, tmp_path / "site"), FILE, 0)
    assert pod.config["cniVersion"] == "1.1.0"
    assert not (answer := pod.add()).refused, answer
    assert answer.said["cniVersion"] == "1.1.0"
    assert not (answer := pod.check()).refused, answer
    for verb in ("STATUS", "GC"):
        plugin = pod.config["plugins"][0]
        assert not (answer := pod.call(verb, plugin, None)).refused, json.dumps(answer.said)
    assert not (answer := pod.delete()).refused, answer
