"""The small values: what people write is taken as it is meant, or refused."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from podlan.inventory import _patterns
from podlan.inventory._models import Inventory
from podlan.inventory._values import parse_lan, parse_range, parse_version

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


FITTING = ["10.0.0.0/24", "1.0.0.0/8", "126.0.0.0/8", "223.255.255.0/24", "169.253.0.0/16", "64.0.0.0/3"]
FITTING += ["fd00::/64", "100::/64", "fc00::/7", "fe00::/9", "fec0::/10", "2000::/3"]
UNFIT = {
    "zero byte": ["0.0.0.0/8", "0.0.0.0/1", "::/120", "::/1", "64:ff9b:1::/48", "ff::/64"],
    "loopback": ["127.0.0.0/24", "126.0.0.0/7", "64.0.0.0/2"],
    "link-local": ["169.254.0.0/24", "168.0.0.0/7", "fe80::/64", "fe00::/8", "8000::/1"],
    "multicast": ["224.0.0.0/24", "224.0.0.0/3", "192.0.0.0/2", "ff02::/16"],
    "reserved": ["240.0.0.0/24", "255.255.255.0/24"],
}


@pytest.mark.parametrize("written", FITTING)
def test_a_lan_may_lie_beside_what_no_lan_has(written):
    assert str(parse_lan(written)) == written


@pytest.mark.parametrize(("kind", "written"), [(kind, one) for kind, found in UNFIT.items() for one in found])
def test_a_lan_holds_no_address_that_no_machine_can_have(kind, written):
    with pytest.raises(PydanticCustomError, match=f"holds .*{kind}"):
        parse_lan(written)


NEAR_UNFIT = st.sampled_from([ip_network(one).network_address for found in UNFIT.values() for one in found])


@given(NEAR_UNFIT | st.ip_addresses(), st.integers(0, 128), st.sampled_from([str, str.upper]), st.booleans())
@example(address=ip_network("fe00::/9").network_address, length=9, spell=str.upper, exploded=True)
def test_the_pattern_of_a_lan_says_all_that_its_parser_says_of_networks(address, length, spell, exploded):
    network = ip_network((address, length % (address.max_prefixlen + 1)), strict=False)
    text = spell(network.exploded if exploded else str(network))
    try:
        parse_lan(text)
    except PydanticCustomError:
        assert not re.search(_patterns.LAN, text)
    else:
        assert re.search(_patterns.LAN, text)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("10.0.0.16-", "'10.0.0.16-' has no last address"),
        ("-10.0.0.16", "'-10.0.0.16' has no first address"),
        ("fd00::1-f", "'fd00::1-f': 'f' is not an IP address"),
        ("10.0.0.16-300", "'10.0.0.16-300': '10.0.0.300' is not an IP address"),
        ("fd00::1-::ffff:1.2.3.4", "'fd00::1-::ffff:1.2.3.4': '::ffff:1.2.3.4' is an IPv4 address in IPv6 form"),
    ],
)
def test_what_is_wrong_with_a_range_is_told_of_the_whole_range(written, problem):
    with pytest.raises(PydanticCustomError) as caught:
        parse_range(written)
    assert str(caught.value) == problem
