"""What podlan is fed: text near YAML, documents made of the inventory's own keys, and the corpus, broken."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from podlan.inventory import Inventory

CORPUS = Path(__file__).parents[1] / "corpus"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SITE: dict[str, Any] = {
    "version": 1,
    "site": "lab",
    "cluster": {"kubernetes": "1.31"},
    "cni": {"name": "pods"},
    "subnets": {"lan": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}, "lan6": {"cidr": "fd00::/64"}},
    "masters": {"uplink": {"interface": "eth0", "subnets": ["lan"], "podsPerNode": 8}},
    "profiles": {"old": {"cluster": {"kubernetes": "1.23"}}},
    "nodes": {"a": {"address": "10.0.0.1"}, "b": {"address": "10.0.0.2"}, "c": {}},
}
"""A site that podlan accepts; what is fuzzed stands near it, so that some of it reaches the last stage."""

LOCK = """\
podlan.lock 1
meta dataDir /run/podlan/ipam
meta name pods
meta site lab
quarantine lan old 10.0.0.64-10.0.0.71
quarantine lan old 10.0.0.72
shim lan a 10.0.0.253
shim lan b 10.0.0.252
slice lan a 10.0.0.8-10.0.0.15
slice lan b 10.0.0.16-10.0.0.23,10.0.0.32-10.0.0.39
"""

WORDS = [
    *(
        "- ",
        ": ",
        "? ",
        "\n",
        "\n  ",
        "\n    ",
        "  ",
        "---\n",
        "...\n",
        "<<: ",
        " #",
        "#",
        "!t ",
        "!!map ",
        "&a ",
        "*a",
    ),
    *("{", "}", "[", "]", ",", "|", ">", "|-", ">+", "'", '"', "@", "`", "%YAML 1.2\n", "%TAG ! x\n", "\\", "%"),
    *("\\x00", "\\ud800", "\\U0001f600", "\\n", "\\N", "\t", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\0", "\x0c"),
    *("\x7f", "é", "漢", "😀", "\ud800", "~", "null", "true", "1", "-1", "1.30", "1e999999", ".inf", "0x1", "1:20"),
    *("2024-01-02", "fd00::", "::", "10.0.0.1", "10.0.0.0/24", "10.0.0.8-15", "<<<<<<<", "=======", "x" * 10_000),
    *("version: 1\n", "site: lab\n", "nodes:\n", '"[key]"', "nodes", "lan", "podlan.lock"),
]
NEAR_YAML = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=40).map("".join)

NAMES = st.sampled_from(["lan", "lan6", "uplink", "a", "b", "c", "old", "n1.dc1", "PL203"]) | st.text(max_size=4)
VALUES = st.sampled_from(
    [
        *("10.0.0.0/24", "10.0.0.1", "10.0.0.8-15", "10.0.0.254", "10.0.0.8-10.0.0.23", "10.0.0.1/32", "0.0.0.0/0"),
        *(
            "fd00::/64",
            "fd00::1",
            "fd00::10-fd00::1f",
            "::",
            "::/0",
            "255.255.255.255",
            "10.0.0.1%eth0",
            "1.31",
            "v1.2.3",
        ),
        *("eth0", "macvlan0", "lo", "/opt/cni/bin", "05-x.conflist", "02:70:ac:10:81:c8", "x" * 10_000, "9" * 5_000),
    ]
)
WRONG = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | VALUES
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("[key]"), inner, max_size=3),
    max_leaves=6,
)


@cache
def of_schema(pointer: str = "") -> st.SearchStrategy[Any]:
    """Give data as the inventory's JSON Schema wants it, at times something else: so a new key is fuzzed, too."""
    schema = Inventory.model_json_schema()
    return _of(schema["$defs"][pointer] if pointer else schema)


def _of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    right = _right(schema)
    return st.integers(0, 7).flatmap(lambda number: WRONG if number == 0 else right)


def _right(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"$ref": name}:
            found = st.deferred(lambda: of_schema(name.rpartition("/")[2]))
        case {"anyOf": several}:
            found = st.one_of([_of(one) for one in several])
        case {"const": value}:
            found = st.just(value)
        case {"enum": values}:
            found = st.sampled_from(values)
        case {"properties": properties}:
            found = _some_of({key: _of(value) for key, value in properties.items()})
        case {"additionalProperties": dict(entry)}:
            found = st.dictionaries(NAMES, _of(entry), max_size=3)
        case {"patternProperties": entries}:
            found = st.dictionaries(NAMES, st.one_of([_of(entry) for entry in entries.values()]), max_size=3)
        case {"items": item}:
            found = st.lists(_of(item), max_size=3)
        case _:
            found = _scalar(schema)
    return found


def _scalar(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "integer":
            least, most = schema.get("minimum", 0), schema.get("maximum", 300)
            return st.integers(least, least + 32) | st.integers(least - 1, most + 1)
        case "string":
            return VALUES | st.sampled_from(schema.get("examples", ["lan", "uplink", "old"]))
        case "boolean":
            return st.booleans()
        case _:
            return WRONG


def _some_of(keys: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    chosen = st.lists(st.sampled_from(sorted(keys)), max_size=4, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keys[name] for name in names}))


def laid_over(base: Any, other: Any) -> Any:
    """Merge mappings deeply; everything else is replaced."""
    if isinstance(base, dict) and isinstance(other, dict):
        return base | {key: laid_over(base.get(key), value) for key, value in other.items()}
    return other


SITES = of_schema().map(lambda other: laid_over(SITE, other))
"""Data near a valid site."""


def block_style(data: Any, indent: int = 0) -> str:
    """Write data as people do: mappings as lines, their scalars without quotes."""
    if isinstance(data, dict) and data:
        lines = (f"{' ' * indent}{key}:{_behind(value, indent + 2)}" for key, value in data.items())
        return "".join(lines)
    return f"{' ' * indent}{data if isinstance(data, str) else flow_style(data)}\n"


def _behind(value: Any, indent: int) -> str:
    return "\n" + block_style(value, indent) if isinstance(value, dict) and value else " " + block_style(value)


def flow_style(data: Any) -> str:
    """Write data as JSON, which is YAML, too."""
    return json.dumps(data, ensure_ascii=False)


STYLES = st.sampled_from([block_style, flow_style])


@cache
def corpus(kind: str) -> list[str]:
    """Give the blocks of a kind (`yaml`, `lock`) in the readable corpus."""
    texts = (file.read_text(encoding="utf-8") for file in sorted(CORPUS.glob("*.md")))
    return [body for text in texts for name, body in _BLOCK.findall(text) if name == kind]


@st.composite
def broken(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Break a text as editors, merges and slips of the hand do."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        lines = text.splitlines(keepends=True) or [""]
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["delete", "repeat", "swap", "insert", "remove", "indent", "splice", "words"])):
            case "delete":
                del lines[at]
            case "repeat":
                lines.insert(other, lines[at])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "insert":
                column = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:column] + draw(st.sampled_from(WORDS)) + lines[at][column:]
            case "remove":
                column = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:column] + lines[at][column + 1 :]
            case "indent":
                lines[at] = " " * draw(st.integers(0, 6)) + lines[at].lstrip(" ")
            case "splice":
                rest = draw(texts).splitlines(keepends=True)
                lines[at:] = rest[draw(st.integers(0, len(rest))) :]
            case "words":
                words = re.split(r"(\W+)", lines[at])
                words[draw(st.integers(0, len(words) - 1))] = draw(VALUES | NAMES)
                lines[at] = "".join(words)
        text = "".join(lines)
    return text
