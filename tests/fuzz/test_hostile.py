"""Inputs that somebody made to hurt: each ends soon, in findings or an error with its own text."""

from __future__ import annotations

from itertools import cycle, islice

import pytest
from documents import LOCK, SITE, flow_style
from judging import judge

MILLION = 1_000_000
HEAD = "version: 1\nsite: lab\n"

NESTED = {
    "braces": "{a: ",
    "brackets": "[",
    "braces and brackets": "[{a: ",
    "dashes": "- ",
    "question marks": "? ",
    "keys behind dashes": "- a: ",
    "quotes in brackets": "['",
    "closing brackets": "]",
    "tags": "!",
    "anchors": "&",
}

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

FILES = {
    "a laughing billion": LAUGHS,
    "a merge key": HEAD + "cni: {<<: {name: pods}}\n",
    "a merge key with an alias": "x: &x {a: 1}\n<<: *x\n",
    "many anchors": "".join(f"- &a{number} x\n" for number in range(10_000)),
    "a hundred thousand keys": "".join(f"k{number}: 1\n" for number in range(MILLION // 10)),
    "a key a hundred thousand times": "nodes:\n" + "  a: {}\n" * (MILLION // 10),
    "a thousand values left out": "nodes: {a: {" + "pods:,\n" * 1000 + "}}",
    "more values than are read": "[" + "a," * 2 * MILLION + "]",
    "a scalar of ten million characters": "site: " + "x" * 10 * MILLION,
    "a quoted scalar of ten million": 'site: "' + "x" * 10 * MILLION + '"\n',
    "a block scalar of a million lines": "site: |\n" + "  x\n" * MILLION,
    "a line of ten million words": HEAD + "cni: " + "x " * 5 * MILLION,
    "a comment of three million characters": "#" + "x" * 3 * MILLION + "\n" + HEAD,
    "three million empty lines": "\n" * 3 * MILLION,
    "a key of a million characters": "? " + "k" * MILLION + "\n: 1\n" + HEAD,
    "names of ten thousand characters": HEAD + f"nodes:\n  ? {'n' * 10_000}\n  : {{{'k' * 1000}: 1}}\n",
    "an address of a million characters": HEAD + "nodes: {a: {address: '" + "1" * MILLION + "'}}\n",
    "many directives": "".join(f"%TAG !a{number}! x\n" for number in range(MILLION // 10)) + "---\n" + HEAD,
    "many documents": "---\na: 1\n" * (MILLION // 10),
    "an unknown directive": "%NOT 1\n---\n" + HEAD,
    "the directive of a later YAML": "%YAML 1.3\n---\n" + HEAD,
    "the directive of YAML 9": "%YAML 9999999999999999999999.0\n---\n" + HEAD,
    "a tag with a directive": "%TAG !x! tag:x,2000:\n---\na: !x!y z\n",
    "an integer of 5,000 digits": HEAD + "nodes: {a: {pods: " + "9" * 5000 + "}}\n",
    "a negative one": HEAD + "nodes: {a: {pods: -" + "9" * 5000 + "}}\n",
    "a float of 5,000 digits": HEAD + "nodes: {a: {pods: " + "9" * 5000 + ".5}}\n",
    "a float as a version": HEAD + "cluster: {kubernetes: " + "9" * 5000 + ".5}\n",
    "a version of 5,000 digits": HEAD + "cluster: {kubernetes: '1." + "9" * 5000 + "'}\n",
    "a huge exponent": HEAD + "nodes: {a: {pods: 1e999999}}\n",
    "the largest version": f"version: {2**63}\n",
    "infinity": "version: .inf\nsite: .nan\n",
    "dates": "version: 2024-01-02\nsite: 2024-01-02 03:04:05\n",
    "keys that are no text": "1: 1\ntrue: 2\n1.5: 3\nnull: 4\n2024-01-02: 5\n~: 6\n",
    "a list for a key": "? [a, b]\n: 1\n",
    "no key at all": ": 1\n",
    "dots in keys": 'a.b: 1\n"nodes.a": {}\n"nodes[0]": {}\nnodes: {a.b: {"address.x": 1}, ".": {}, "..": {}}\n',
    "pydantic's own word for a key": '"[key]": 1\nnodes: {"[key]": {"[key]": 1}}\n',
    "quotes and breaks in a name": 'nodes: {"a\\"]\\n\\t\\0[b": {x: 1}}\n',
    "escapes of half characters": 'site: "\\ud800"\n',
    "escapes of half characters beside what is slow": 'site: "\\ud800\\U0000dfff"\nx: {a: fd00::1}\n',
    "an escape beyond Unicode": 'site: "\\UFFFFFFFF"\nx: {a: fd00::1}\n',
    "raw half characters": "site: \ud800\n",
    "a NUL": HEAD + "cni: {name: a\0b}\n",
    "control characters": "site: a\x0cb\x1cc\x07d\x7f\n",
    "a line feed of Unicode in a comment": HEAD + "# hidden\u2028boot: rc.local\n",
    "NEL for line ends": "version: 1\x85site: lab\x85",
    "CRLF": HEAD.replace("\n", "\r\n"),
    "CR alone": HEAD.replace("\n", "\r") + "x: [\r",
    "mixed line ends": "version: 1\r\nsite: lab\rcni: {\nname\r\n",
    "a byte order mark": "\ufeff" + HEAD,
    "two byte order marks": "\ufeff\ufeff" + HEAD,
    "a byte order mark inside": HEAD + "\ufeffcni: {name: pods}\n",
    "UTF-16": HEAD.encode("utf-16"),
    "UTF-16, the other way": "\ufeff".encode("utf-16-be") + HEAD.encode("utf-16-be"),
    "UTF-32": HEAD.encode("utf-32"),
    "UTF-8 cut off": HEAD.encode() + b"\xf0\x9f",
    "UTF-8 that is too long": HEAD.encode() + b"\xc0\xaf",
    "nothing": "",
    "one space": " ",
    "tabs": "\t\n\t\n",
    "what the slow parser is not asked to read": "x: {a: fd00::1}\n" + "nodes:\n" + "  a: {}\n" * (MILLION // 2),
    "what the slow parser stops reading": "x: {a: fd00::1}\ny: [" + "a," * (MILLION // 4) + "]\n",
}


@pytest.mark.parametrize("opening", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("size", [1_000, 3 * MILLION])
def test_no_nesting_is_too_deep(opening, size):
    judge({"site.yaml": "x: " + "".join(islice(cycle(opening), size))})


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_no_file_hurts(content):
    judge({"site.yaml": content})


def test_a_site_is_too_large_as_a_whole_not_file_by_file():
    assert judge({f"{number}.yaml": "#" + "x" * 40 * MILLION for number in range(2)}) is None
    assert judge({"site.yaml": "[" * 100 * MILLION}) is None


@pytest.mark.parametrize(
    "lines",
    [
        "x" * 10 * MILLION,
        "\n" * MILLION,
        "slice lan a 10.0.0.8\n" * 1000,
        "quarantine lan a " + ",".join(["10.0.0.8-10.0.0.15"] * (MILLION // 10)),
        f"slice lan a {'9' * 5000}-{'9' * 5000}",
        "slice lan a ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "<<<<<<< ours\n" * 100_000,
        "slice lan a\u202810.0.0.8\x0c\x1c\x85\r",
        "\0",
    ],
    ids=lambda lines: repr(lines[:20]),
)
def test_no_lock_hurts(lines):
    judge({"site.yaml": flow_style(SITE), "podlan.lock": LOCK + lines})
