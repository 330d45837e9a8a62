"""The way to a value, as findings write it, is read back; the models' keys are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podlan.inventory import Inventory
from podlan.review import schema
from podlan.review.writing import NotAPath, nearest, parse
from podlan.source import dotted

KEYS = st.text(st.characters(exclude_characters='"', exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.lists(KEYS | st.integers(0, 999), min_size=1, max_size=5))
def test_what_findings_write_is_read_back(steps):
    assert parse(dotted(tuple(steps))) == tuple(steps)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("cluster.kubernetes", ("cluster", "kubernetes")),
        ("nodes.node-2.ranges[0]", ("nodes", "node-2", "ranges", 0)),
        ("nodes['n1.dc1'].ranges", ("nodes", "n1.dc1", "ranges")),
        ('nodes["n1.dc1"].masters.uplink', ("nodes", "n1.dc1", "masters", "uplink")),
        ('["nodes"]["a"]', ("nodes", "a")),
    ],
)
def test_a_path_may_be_written_as_people_would(text, path):
    assert parse(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", "a..b", ".a", "a[", "a[x]", "a]b", 'a["b', "a b", "a.[0]", 'a"b"', "[0]b"]
)
def test_anything_else_is_a_clear_error(text):
    with pytest.raises(NotAPath, match="is neither an address nor a path"):
        parse(text)


def test_the_nearest_name_is_suggested_or_what_there_is():
    assert nearest("podPerNode", ["podsPerNode", "mode"]) == "did you mean podsPerNode?"
    assert nearest("zzz", ["a", "b"]) == "there is: a, b"
    assert nearest("zzz", map(str, range(20))) == "there is: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
    assert nearest("zzz", []) == ""


def test_every_key_of_the_models_is_known_with_its_default():
    spot = schema.at(("masters", "any", "hostAccess", "via"))
    assert spot is not None
    assert spot.default == "shim"
    assert schema.at(("subnets", "lan", "reserved", 0, "reason")) is not None
    assert schema.at(("subnets", "lan", "reserved", "reason")) is None
    assert schema.at(("cluster", "serviceCIDR", 0)) is not None
    assert schema.at(("cluster", "service_cidr")) is None
    assert set(schema.ROOT.keys) == {field.alias or name for name, field in Inventory.model_fields.items()}
