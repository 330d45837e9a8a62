"""The small values: what people write is taken as it is meant, or refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from podlan.inventory._models import Inventory
from podlan.inventory._values import parse_version

SITE = {
    "version": 1,
    "site": "lab",
    "cni": {"name": "pods"},
    "subnets": {"lan": {"cidr": "10.0.0.0/24"}},
    "masters": {"uplink": {"interface": "eth0", "subnets": ["lan"]}},
}


def with_value(path, value):
    """Give the site with another value, or another key where the path ends in None."""
    *way, last = path
    site = {key: dict(part) if isinstance(part, dict) else part for key, part in SITE.items()}
    here = site
    for step in way:
        here[step] = dict(here.get(step, {}))
        here = here[step]
    if last is None:
        here[value] = {}
    else:
        here[last] = value
    return site


PLACES = [
    (("site",), "lab"),
    (("cni", "name"), "pods"),
    (("cni", "confDir"), "/etc/cni/net.d"),
    (("cni", "binDir"), "/opt/cni/bin"),
    (("cni", "dataDir"), "/run/podlan/ipam"),
    (("cni", "fileName"), "05-podlan.conf"),
    (("cluster", "kubeletConfigDir"), "/etc/kubernetes/kubelet.conf.d"),
    (("cluster", "kubernetes"), "1.31"),
    (("masters", "uplink", "interface"), "eth0.100"),
    (("masters", "uplink", "hostAccess", "interface"), "shim0"),
    (("subnets", "lan", "was"), "office"),
    (("subnets", "lan", "cidr"), "10.0.0.0/24"),
    (("subnets", "lan", "gateway"), "10.0.0.1"),
    (("subnets", "lan", "dns", "domain"), "example.org"),
    (("nodes", None), "n1.example.org"),
    (("nodes", "n1", "was"), "n0"),
    (("profiles", None), "old"),
]


@pytest.mark.parametrize(("path", "value"), PLACES, ids=lambda part: str(part)[:40])
@pytest.mark.parametrize("added", ["\n", "\r", "\0", "\x1b[31m", "\u2028", " "])
def test_no_name_address_or_path_ends_in_a_character_that_nobody_sees(path, value, added):
    Inventory.model_validate(with_value(path, value))
    with pytest.raises(ValidationError):
        Inventory.model_validate(with_value(path, value + added))


@pytest.mark.parametrize("name", ["lo", "all", "default", ".", "..", "-x", "", "a/b", "a:b", "a" * 16])
def test_an_interface_has_a_name_that_is_one_interface_s_alone(name):
    with pytest.raises(ValidationError):
        Inventory.model_validate(with_value(("masters", "uplink", "interface"), name))


def patterns(model):
    return [
        field["pattern"]
        for definition in model.model_json_schema().get("$defs", {}).values()
        for field in definition.get("properties", {}).values()
        if "pattern" in field
    ]


def test_every_pattern_of_the_schema_speaks_of_the_whole_text():
    found = patterns(Inventory)
    assert found
    assert all(pattern.startswith("^") and pattern.endswith("$") for pattern in found)


@pytest.mark.parametrize("text", ["1." + "1" * 10, "1" * 5000 + ".1", "1.2." + "3" * 20])
def test_a_version_of_too_many_digits_is_refused(text):

    with pytest.raises(PydanticCustomError, match="more than 9 digits"):
        parse_version(text)


def test_a_version_s_suffix_does_not_matter():
    assert str(parse_version("v1.31.2+k3s1")) == "1.31.2"
    assert str(parse_version("1.31-rc.12345678901234")) == "1.31.0"
