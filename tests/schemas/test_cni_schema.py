"""schemas/cni.schema.json: every CNI file that podlan writes fits it, and what is wrong in shape does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from podlan import pipeline
from podlan.cli.schemas import SCHEMAS

ROOT = Path(__file__).parents[2]
ORACLE = ROOT / "tests/oracle"
JSON = re.compile(r"^```json[ \w]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMAS["cni.schema.json"]())
RANGE = {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.16", "rangeEnd": "10.0.0.31", "gateway": "10.0.0.254"}


def mutations() -> dict[str, list[str]]:
    """Give the CNI files of every case of the oracle, by the case's title."""
    found = {}
    for file in sorted(ORACLE.glob("*.md")):
        for section in re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            title = section.partition("\n")[0]
            found[f"{file.stem}: {title}"] = re.findall(
                r"^```json[ \w]*\n(.*?)^```$", section, re.MULTILINE | re.DOTALL
            )
    return found


MUTATIONS = mutations()
BEYOND = {
    "an address compared with another": (
        "ranges: The network address in a range",
        "ranges: The broadcast address in a range",
        "ranges: The subnet-router anycast address in a range",
        "ranges: The gateway in a range",
        "ranges: Nothing but the gateway in a range",
        "ranges: No gateway, and the first address in a range",
        "ranges: A range that ends before it begins",
        "ranges: A range that begins outside its subnet",
        "ranges: A range that ends outside its subnet",
        "ranges: A pool outside its subnet",
        "ranges: Overlapping ranges of one node",
        "ranges: Overlapping sets",
        "ranges: No ends",
        "ranges: A DNS server in a range",
        "ranges: A router in a range",
        "routes: A gateway outside the subnet",
        "routes: A gateway that is the network address",
        "routes: A gateway that is the broadcast address",
        "routes: A route through a router elsewhere",
        "routes: A next hop that is the broadcast address",
        "routes: A next hop that is the network address",
        "routes: A route to the pods' own subnet",
        "routes: A route to a part of the pods' own subnet",
        "routes: A route to the pods' own subnet through another router",
    ),
    "one part compared with another": (
        "links: An MTU too small for IPv6",
        "links: A second pod on a master that passes through",
        "links: Two addresses for one pod of a master that passes through",
        "networks: Two sets of one family with an old cniVersion",
        "ranges: Two sets of one family",
        "routes: Two default routes",
        "routes: Two routes to one network",
        "routes: Two routes to one network in IPv6",
        "routes: A destination of the other family",
        "routes: A route, and no gateway",
        "routes: A route without a next hop that is no default route",
        "routes: A key of a later version",
    ),
    "what another node, the node itself or the cluster is": (
        "links: A shim on a master that passes through",
        "links: A jumbo MTU on an ordinary master",
        "links: A master that is not there",
        "networks: A newer cniVersion than the plugins'",
        "networks: An IPAM plugin that is not there",
        "networks: Another dataDir on one node",
        "ranges: Two nodes with the same range",
        "ranges: The node's own address in a range",
        "ranges: More pods than addresses",
        "ranges: More nodes than addresses",
        "ranges: Overlapping subnets of two masters",
        "ranges: A cluster's DNS server in a range",
        "routes: Services on addresses of the LAN",
        "routes: A route to the Services' network",
    ),
    "what was there before": ("networks: Another name than before", "networks: Another dataDir than before"),
    "a key that is there twice: JSON's readers keep the last": ("ranges: Ranges given twice",),
    "allowed by the plugins since 0.8": ("links: No master",),
}
"""Mutations that are right in shape: what a schema would have to know to refuse them."""
UNSEEN = {title for titles in BEYOND.values() for title in titles}


def fits(text: str) -> bool:
    return VALIDATOR.is_valid(json.loads(text))


def conf(**changes):
    ipam = {"type": "host-local", "ranges": [[RANGE]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/podlan/ipam"}
    whole = {"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": ipam}
    return {**whole, **changes}


def as_list(*chain, **changes):
    plugin = conf(**changes)
    head = {key: plugin.pop(key) for key in ("cniVersion", "name")}
    return {**head, "plugins": [plugin, *chain]}


@pytest.mark.parametrize("title", MUTATIONS)
def test_what_is_wrong_in_shape_does_not_fit_and_the_rest_is_listed(title):
    assert all(map(fits, MUTATIONS[title])) == (title in UNSEEN)


def test_no_title_is_listed_that_is_no_mutation():
    assert set(MUTATIONS) >= UNSEEN


def written_by_podlan():
    """Give the CNI files of the example and of every site that the tests compile as a whole."""
    return sorted((ROOT / "output/nodes").glob("*/rootfs/etc/cni/**/*.conf*"))


def test_every_cni_file_of_the_example_fits():
    files = written_by_podlan()
    assert files
    for file in files:
        VALIDATOR.validate(json.loads(file.read_text(encoding="utf-8")))


SITES = {"the how-to's": ROOT / "tests/howto/site", "the example's": ROOT / "site"}
SITE = """\
version: 1
site: lab
cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12]}
cni: {name: pods, plugins: {version: "1.6.0"}}
subnets:
  lan:
    cidr: 10.0.0.0/24
    gateway: 10.0.0.254
    routes: [{dst: 0.0.0.0/0}, {dst: 10.1.0.0/16, gw: 10.0.0.253}]
    dns: {nameservers: [10.0.0.53], domain: example.com, search: [example.com]}
  lan6: {cidr: "fd00:10::/64", gateway: "fd00:10::fe", routes: [{dst: "::/0"}]}
  back: {cidr: 10.2.0.0/24, routes: []}
  cold: {cidr: 10.3.0.0/24, routes: []}
masters:
  uplink:
    interface: eth0
    subnets: [lan, lan6]
    podsPerNode: 8
    mtu: 1400
    altname: uplink0
    chain:
      - {type: tuning, sysctl: {net.core.somaxconn: "1024"}, mtu: 1400, allmulti: true, txQLen: 1000}
      - {type: portmap, snat: true}
  storage:
    {interface: eth1, subnets: [back], podsPerNode: 8, secondary: true, bcqueuelen: 2000, hostAccess: {via: none},
     chain: [{type: sbr, table: 200}]}
  office: {interface: eth2, subnets: [cold], secondary: true, ipam: dhcp, hostAccess: {via: none}}
nodes:
  a: {masters: {uplink: {addresses: [10.0.0.1, "fd00:10::1"]}, storage: {}, office: {}}}
"""


@pytest.fixture
def everything(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    return tmp_path


def cni_files(site):
    compiled = pipeline.compile_site(site, site.parent / "nowhere", write=False)
    assert not compiled.failed, compiled.checked.findings
    for node, files in compiled.nodes.items():
        for path, content in files.items():
            if path.startswith("rootfs/etc/cni/") and path.endswith((".conf", ".conflist")):
                yield node, path, json.loads(content)


@pytest.mark.parametrize("name", SITES)
def test_every_cni_file_of_a_site_fits(name):
    files = list(cni_files(SITES[name]))
    assert files
    for _, _, content in files:
        VALIDATOR.validate(content)


def test_every_form_of_plugin_that_podlan_writes_fits(everything):
    files = [content for _, _, content in cni_files(everything)]
    for content in files:
        VALIDATOR.validate(content)
    types = {plugin["type"] for content in files for plugin in content["plugins"]}
    assert types == {"macvlan", "tuning", "portmap", "sbr"}
    assert {content["plugins"][0]["ipam"].get("type") for content in files} == {"host-local", "dhcp"}


def with_another(document, key):
    """Give every copy of a document in which one object has a key that nobody knows, and where."""
    if isinstance(document, dict):
        yield {**document, key: 1}
        for name, value in document.items():
            for changed in with_another(value, key):
                yield {**document, name: changed}
    if isinstance(document, list):
        for index, value in enumerate(document):
            for changed in with_another(value, key):
                yield [*document[:index], changed, *document[index + 1 :]]


def test_a_key_that_nobody_knows_fits_nowhere_in_what_podlan_writes(everything):
    """Plugins ignore such a key without a word: a misspelt one is as good as none."""
    tried = 0
    for _, _, content in cni_files(everything):
        for changed in with_another(content, "exclude"):
            tried += 1
            assert not VALIDATOR.is_valid(changed) or in_open_object(changed), changed
    assert tried > 20


def in_open_object(document):
    """Tell whether the unknown key stands in a map of names: sysctls and capabilities."""
    if isinstance(document, dict):
        return any(
            (name == "capabilities" and "exclude" in value) or in_open_object(value)
            for name, value in document.items()
            if isinstance(value, dict | list)
        )
    return isinstance(document, list) and any(in_open_object(value) for value in document)


def test_a_plugin_that_podlan_does_not_write_may_say_anything():
    VALIDATOR.validate({"cniVersion": "1.0.0", "name": "x", "type": "bridge", "isGateway": True, "ipam": {"any": 1}})
    VALIDATOR.validate(as_list({"type": "firewall", "backend": "nftables", "more": {"of": ["it"]}}))
    VALIDATOR.validate(conf(ipam={"type": "whereabouts", "range": "10.0.0.0/24", "exclude": ["10.0.0.1/32"]}))


def test_a_bandwidth_is_of_numbers():
    limits = {"type": "bandwidth", "ingressRate": 1000000, "ingressBurst": 1000000}
    VALIDATOR.validate(as_list(limits))
    assert not VALIDATOR.is_valid(as_list({**limits, "ingressRate": "1M"}))


def test_a_master_may_give_no_addresses_at_all():
    VALIDATOR.validate(conf(ipam={}))
    assert not VALIDATOR.is_valid(conf(ipam={"ranges": [[RANGE]]}))


def test_a_list_and_a_plugin_are_not_mixed():
    assert not VALIDATOR.is_valid({**as_list(), "type": "macvlan"})
    assert not VALIDATOR.is_valid({**as_list(), "plugins": []})
    assert not VALIDATOR.is_valid({**as_list(), "plugins": [{"master": "eth0"}]})


def test_everything_in_the_schema_is_described():
    def spoken(node, path):
        if isinstance(node, dict):
            for name, value in node.get("properties", {}).items():
                known = path.startswith("/then") or "$ref" in value or "not" in value or "pattern" in value
                assert known or value.get("description") or "const" in value, f"{path}/{name}"
            for name, value in node.items():
                spoken(value, f"{path}/{name}")
        elif isinstance(node, list):
            for value in node:
                spoken(value, path)

    for name, definition in SCHEMAS["cni.schema.json"]()["$defs"].items():
        assert definition["description"]
        spoken(definition.get("properties", {}), name)
