"""schemas/ is what the models say, and an independent validator agrees with podlan about it."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
from corpus_cases import CASES, Case
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from podlan.cli.schemas import SCHEMAS
from podlan.inventory import Inventory, _section, _values
from podlan.source import read_site

ROOT = Path(__file__).parents[2]
SITE = SCHEMAS["site.schema.json"]()
VALIDATOR = jsonschema.Draft202012Validator(SITE)
SHAPE = {"PL101", "PL102", "PL103", "PL104", "PL105"}
NOTE = "PL007"
"""The note about the slow parser, which says nothing about the shape."""
BEYOND = {
    "Missing sections": "a site may be split over files, so that no section is required of one",
    "No version, and no site": "as above",
    "Sections with nothing in them": "as above: another file may have the entries",
    "Networks with host bits within an octet": "arithmetic on bits",
    "A range that ends before it begins": "a comparison of numbers",
    "A fraction that is whole": "to JSON Schema 8.0 is the integer 8",
}
"""Cases of the corpus that are wrong in a way that no schema can say, and why."""


def named(**definitions: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{holder}.{key}", spec)
        for holder, definition in definitions.items()
        for key, spec in definition["properties"].items()
    ]


FIELDS = named(site=SITE, **SITE["$defs"])


def subschemas(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [one for item in node for one in subschemas(item)]
    if not isinstance(node, dict):
        return []
    below = [one for key, item in node.items() if key not in ("examples", "default") for one in subschemas(item)]
    return [node, *below]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_committed_schema_is_fresh(name):
    assert json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8")) == SCHEMAS[name](), "run: make schemas"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name]())


@pytest.mark.parametrize("site", [ROOT / "site", ROOT / "tests/howto/site"])
def test_every_site_here_fits_the_schema(site):
    VALIDATOR.validate(read_site(site).data)


def test_every_compiled_plan_fits_the_schema():
    validator = jsonschema.Draft202012Validator(SCHEMAS["plan.schema.json"]())
    plans = sorted((ROOT / "output/nodes").glob("*/plan.json"))
    assert plans
    for plan in plans:
        validator.validate(json.loads(plan.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("name", "spec"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_key_is_explained_and_shows_what_may_stand_there(name, spec):
    del name
    assert len(spec["description"]) > 15
    assert "title" not in spec, "a title made from the key says nothing"
    is_choice = "enum" in spec or "const" in spec or "boolean" in spec.get("type", ())
    assert is_choice or spec["examples"]
    if isinstance(spec.get("additionalProperties"), dict):
        assert {"pattern", "enum"} & spec["propertyNames"].keys(), "any name would do"
    for part in subschemas(spec):
        assert len(part.get("pattern", "")) < 200 or "patternErrorMessage" in part, "nobody reads such a pattern"


def test_every_default_of_the_models_is_in_the_schema():
    for model in (Inventory, *sections()):
        for key, field in keys_of(model).items():
            if not field.is_required() and field.get_default() is not None:
                assert "default" in spec_of(model, key), (model, key)


def test_nothing_but_known_keys_may_stand_anywhere():
    assert all(holder["additionalProperties"] is False for holder in (SITE, *SITE["$defs"].values()))


def sections() -> list[type]:
    found = [_section.Section]
    for section in found:
        found += section.__subclasses__()
    return [section for section in found if section.__name__ in SITE["$defs"]]


def test_every_section_is_looked_at():
    assert sorted(section.__name__ for section in sections()) == sorted(SITE["$defs"])


def keys_of(model: Any) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def spec_of(model: type, key: str) -> dict[str, Any]:
    holder = SITE if model is Inventory else SITE["$defs"][model.__name__]
    return holder["properties"][key]


def test_every_example_and_every_default_is_valid_to_the_schema_and_to_podlan():
    for model in (Inventory, *sections()):
        for key, field in keys_of(model).items():
            spec = spec_of(model, key)
            part = VALIDATOR.evolve(schema={**spec, "$defs": SITE["$defs"]})
            reader = TypeAdapter(Annotated[field.annotation, Field(), *field.metadata])
            items = [[item] for item in spec.get("items", {}).get("examples", ())]
            defaults = [spec["default"]] if "default" in spec else []
            # A name in a list has to be one of the site's; that is no matter of shape.
            for value in (*spec.get("examples", ()), *items, *defaults):
                part.validate(value)
                reader.validate_python(value, strict=True)


@pytest.mark.parametrize("case", [one for one in CASES if one.codes <= {NOTE}], ids=lambda case: case.name)
def test_what_podlan_accepts_the_schema_accepts(case, tmp_path):
    case.write(tmp_path)
    VALIDATOR.validate(read_site(tmp_path).data)


def is_about_shape(case: Case) -> bool:
    return bool(case.codes & SHAPE) and case.codes <= SHAPE | {NOTE}


@pytest.mark.parametrize("case", [one for one in CASES if is_about_shape(one)], ids=lambda case: case.name)
def test_what_podlan_refuses_for_its_shape_the_schema_refuses(case, tmp_path):
    case.write(tmp_path)
    assert VALIDATOR.is_valid(read_site(tmp_path).data) == (case.title in BEYOND)


def test_what_no_schema_can_say_is_in_the_corpus():
    assert BEYOND.keys() <= {case.title for case in CASES if is_about_shape(case)}


IPS = st.ip_addresses() | st.sampled_from(("::", "::1", "fe80::1", "ff02::1", "::fffe:1:2", "127.0.0.1")).map(
    lambda text: IPv6Address(text) if ":" in text else IPv4Address(text)
)
SPELLED = st.one_of(
    IPS.map(str),
    IPS.map(lambda ip: ip.exploded),
    IPS.map(lambda ip: str(ip).upper()),
    st.builds(
        lambda ip, low: f"{ip.exploded.rsplit(':', 2)[0]}:{low}", st.ip_addresses(v=6), st.ip_addresses(v=4)
    ),  # the last bits as in IPv4
    st.builds("".join, st.lists(st.sampled_from(["0", "1", "ffff", ":", "::", "."]), max_size=20)),
)
LENGTHS = st.integers(0, 128).map(str) | st.sampled_from(["", "00", "024", "33", "129", "-1"])
NETWORKS = st.one_of(
    st.builds(lambda ip, length: f"{ip}/{length}", SPELLED, LENGTHS),
    st.builds(
        lambda ip, length: str(ip_network((ip, length % (ip.max_prefixlen + 1)), strict=False)), IPS, st.integers(0)
    ),
)
BLANKS = st.sampled_from(["", " ", "\t", "  "])
RANGES = st.one_of(
    NETWORKS,
    SPELLED,
    st.builds(
        "".join,
        st.tuples(BLANKS, SPELLED, BLANKS, st.just("-"), BLANKS, SPELLED | st.integers(0, 300).map(str), BLANKS),
    ),
)
WORDS = st.text(st.sampled_from("abzAZ09-_.@+=: /\n\u202e\u00fc"), max_size=20)
PARTS = st.sampled_from(["v", "0", "1", ".", ".", "-rc", "+k3s1", "123456789", "1234567890"])
BYTES = st.integers(0, 255).map("{:02x}".format) | st.sampled_from(["AB", "0", "g0"])
WRITTEN: dict[str, st.SearchStrategy[str]] = {
    "HostAddress": SPELLED,
    "ServerAddress": SPELLED,
    "Cidr": NETWORKS,
    "LanCidr": NETWORKS,
    "Range": RANGES,
    "VersionText": st.lists(PARTS, max_size=8).map("".join),
    "Mac": st.lists(BYTES, min_size=5, max_size=7).map(":".join),
    "InterfaceName": WORDS | st.sampled_from(["lo", "all", "default", "lo0", "default1"]),
    "Reason": st.text(max_size=20),
    "Name": WORDS,
    "NodeName": WORDS,
    "NetworkName": WORDS,
    "Domain": WORDS,
    "AbsolutePath": WORDS.map("/{}".format),
    "FileName": WORDS.map("{}.conf".format),
    "RuleCode": st.from_regex(r"PL[0-9]{2,4}"),
}
EXACT = WRITTEN.keys() - {"Cidr", "LanCidr", "Range", "Reason"}
"""Values of which a pattern can say everything."""


@pytest.mark.parametrize("kind", WRITTEN)
@given(data=st.data())
def test_the_schema_refuses_no_value_that_podlan_accepts(kind, data):
    written = data.draw(WRITTEN[kind])
    reader = TypeAdapter(getattr(_values, kind))
    schema = {**reader.json_schema()}
    # In ECMA 262 `$` is the end of the text; to Python's re, which jsonschema uses, it is also before a last newline.
    schema["pattern"] = re.sub(r"\$$", r"\\Z", schema["pattern"])
    fits = jsonschema.Draft202012Validator(schema).is_valid(written)
    try:
        reader.validate_python(written, strict=True)
    except ValidationError:
        assert not (fits and kind in EXACT)
    else:
        assert fits


@given(st.integers(0, 32), st.ip_addresses(v=4))
def test_the_schema_finds_host_bits_in_whole_octets(length, address):
    network = IPv4Network((address, length), strict=False)
    up_to_the_octet = IPv4Network((address, -(-length // 8) * 8), strict=False)
    pattern = TypeAdapter(_values.Cidr).json_schema()["pattern"]
    assert bool(re.search(pattern, f"{address}/{length}")) == (address == up_to_the_octet.network_address)
    assert re.search(pattern, str(network))


@given(st.integers(0, 112), st.integers(1, 0xFFFF))
def test_the_schema_finds_host_bits_in_the_last_group(length, last):
    pattern = TypeAdapter(_values.Cidr).json_schema()["pattern"]
    network = IPv6Network((0xFD00 << 112, length), strict=False)
    assert re.search(pattern, str(network))
    assert not re.search(pattern, f"{network.network_address + last}/{length}")


def test_the_example_names_its_schema_for_editors():
    first = (ROOT / "site/site.yaml").read_text(encoding="utf-8").splitlines()[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / "site" / path).resolve() == ROOT / "schemas/site.schema.json"
