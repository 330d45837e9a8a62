"""Whom a compiled plan names to be asked: the gateways first, by the link that leads to them, then the site's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from podlan import pipeline
from podlan.plan import Probe, decode

SITE = Path(__file__).parents[2] / "site/site.yaml"
ASKED = "probes: [172.16.129.1, 172.16.129.254], probeTimeout: 5"


def planned(tmp_path, via, node_says=""):
    text = SITE.read_text(encoding="utf-8").replace("via: shim}", f"via: {via}}}\n    probes: [172.16.129.1]")
    text = text.replace("node-3: {address: 172.16.129.103", f"node-3: {{address: 172.16.129.103{node_says}")
    (tmp_path / "site.yaml").write_text(text, encoding="utf-8")
    nodes = pipeline.compile_site(tmp_path / "site.yaml", tmp_path / "out", write=False).nodes
    return {name: decode(files["plan.json"].decode(), name).probes for name, files in nodes.items()}


@pytest.mark.parametrize(("via", "link"), [("shim", "eth0"), ("none", "eth0"), ("move", "macvlan0")])
def test_the_gateway_comes_first_and_is_asked_where_the_nodes_packets_to_it_go(tmp_path, via, link):
    plans = planned(tmp_path, via)
    assert plans["node-1"] == (Probe(link, "172.16.129.254"), Probe(link, "172.16.129.1"))


def test_a_node_has_its_own_probes_and_its_own_patience(tmp_path):
    plans = planned(tmp_path, "shim", f", masters: {{uplink: {{{ASKED}}}}}")
    assert plans["node-3"] == (Probe("eth0", "172.16.129.254", 5), Probe("eth0", "172.16.129.1", 5))
    silent = planned(tmp_path, "shim", ", masters: {uplink: {probes: []}}")
    assert silent["node-3"] == (Probe("eth0", "172.16.129.254"),)
    assert silent["node-2"] == plans["node-2"]
