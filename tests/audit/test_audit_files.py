"""Which files are read, whose they are, and what is wrong with each."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from cni_files import audited, codes, config, rng, write
from hypothesis import given, settings
from hypothesis import strategies as st

from podlan.audit import CODES, audit
from podlan.audit._gather import gather
from podlan.audit._positions import Positions

ONE, TWO = config([rng(1, 9)]), config([rng(10, 19)])


def owners(root, files, *paths):
    """Give the node of every file, by the file's path below root."""
    write(root, dict.fromkeys(files, ONE))
    found = gather([str(root / path) for path in paths] or [str(root)]).directories
    return {os.path.relpath(file.path, root): file.node for directory in found for file in directory.files}


@pytest.mark.parametrize(
    "files",
    [
        {"n1.conf": "n1", "n2.conflist": "n2", "n3.json": "n3"},
        {"n1/05-x.conf": "n1", "n2/05-x.conf": "n2"},
        {"n1/05-x.conf": "n1", "n1/10-y.conf": "n1", "n2/05-x.conf": "n2"},
        {"n1/macvlan.conf": "n1", "n2/macvlan.conf": "n2"},
        {"n1/net.d/x.conf": "n1", "n1/net.d/y.conf": "n1", "n2/net.d/x.conf": "n2"},
        {"n1/etc/cni/net.d/x.conf": "n1", "n1/etc/cni/multus/net.d/y.conf": "n1", "n2/etc/cni/net.d/x.conf": "n2"},
        {"n1/var/lib/rancher/k3s/agent/etc/cni/net.d/x.conf": "n1", "n2/etc/cni/net.d/x.conf": "n2"},
        {"a/n1.conf": "a/n1", "b/n1.conf": "b/n1", "b/n2.conf": "b/n2"},
        {"01-web.conf": "01-web", "02-db.conf": "02-db"},
        {"a/n1/etc/cni/net.d/x.conf": "a", "b/n1/etc/cni/net.d/x.conf": "b"},
    ],
)
def test_a_path_tells_the_node(tmp_path, files):
    assert owners(tmp_path, files) == files
    assert owners(tmp_path, files, *files) == files, "the same, where every file is named"


def test_one_nodes_own_directory_is_that_node(tmp_path):
    assert set(owners(tmp_path, ["n1/etc/cni/net.d/a.conf", "n1/etc/cni/net.d/b.conf"]).values()) == {"n1"}


def test_in_podlans_output_only_cni_files_are_read(tmp_path):
    files = {
        "nodes/n1/plan.json": {"version": 1, "node": "n1", "cni": {"file": "/opt/net/05.conf"}},
        "nodes/n1/manifest.json": {},
        "nodes/n1/rootfs/etc/kubernetes/kubelet.conf.d/20-podlan.conf": {"kind": "KubeletConfiguration"},
        "nodes/n1/rootfs/opt/net/05.conf": ONE,
        "nodes/n1/rootfs/etc/cni/multus/net.d/05.conf": {**TWO, "name": "second"},
        "nodes/n2/plan.json": {"version": 1, "node": "n2"},
    }
    report = audited(tmp_path, files)
    assert (report.findings, report.files, report.nodes) == ([], 2, 1)


def test_of_two_files_of_a_node_the_first_counts_and_it_is_said(tmp_path):
    report = audited(tmp_path, {"n1/net.d/10-b.conf": ONE, "n1/net.d/05-a.conf": TWO, "n2/net.d/05-a.conf": ONE})
    assert codes(report) == ["PL709"]
    assert "05-a.conf comes first" in report.findings[0].message


def test_a_broken_first_file_lets_the_second_in(tmp_path):
    files = {"n1/net.d/05-a.conf": "{", "n1/net.d/10-b.conf": ONE, "n2/net.d/05-a.conf": ONE}
    assert codes(audited(tmp_path, files)) == ["PL701", "PL720"]


def test_multus_may_call_every_file_beside_its_own(tmp_path):
    multus = {"name": "multus", "type": "multus", "delegates": [{**TWO, "name": "own"}]}
    files = {"n1/net.d/00-multus.conf": multus, "n1/net.d/05-a.conf": ONE, "n2/net.d/05-a.conf": config([rng(9, 10)])}
    report = audited(tmp_path, files)
    clash, names = sorted(report.findings, key=lambda finding: finding.code)
    assert clash.message == "n1 and n2 could both hand out 10.0.0.9-10"
    assert names.code == "PL735", "every pod of n1 gets the first delegate's network"


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path, {"n1/05-x.conf": ONE})
    (tmp_path / "n2").symlink_to("n1")
    (tmp_path / "n1/loop").symlink_to("..")
    assert codes(audit([str(tmp_path)])) == ["PL720"], "a link's name may be a node's"


def test_nothing_proves_nothing(tmp_path):
    report = audited(tmp_path, {"readme.txt": "", ".git/x.conf": ONE})
    assert (codes(report), report.failed) == (["PL712"], True)


def test_other_files_are_noted_where_nobody_said_they_were_cni(tmp_path):
    others = {"resolv.conf": "nameserver 10.0.0.1\n", "x.json": [1], "y.json": {"a": 1}, "n1.conf": ONE}
    report = audited(tmp_path, others)
    assert (codes(report), report.failed) == (["PL702"] * 3, False)
    assert codes(audit([str(tmp_path / "resolv.conf")])) == ["PL701"]
    assert codes(audit([str(tmp_path / "y.json")])) == ["PL703"]


HOSTILE = {
    "empty": ("", "PL701"),
    "cut off": ('{"name": "pods", "ipam": {', "PL701"),
    "not a number": ('{"name": "p", "type": "macvlan", "mtu": NaN}', "PL701"),
    "a byte order mark": ("\ufeff" + json.dumps(ONE), "PL701"),
    "too deep": ('{"a":' * 100_000, "PL701"),
    "too large": (json.dumps(ONE) + " " * (1 << 20), "PL701"),
    "a huge number": ('{"name": "p", "type": "x", "mtu": ' + "9" * 5000 + "}", "PL701"),
    "half a character": (json.dumps({**ONE, "name": "\ud800\n"}), "PL703"),
    "no name": (json.dumps({**ONE, "name": ""}), "PL703"),
    "a name with a slash": (json.dumps({**ONE, "name": "a/b"}), "PL703"),
    "a name that is a number": (json.dumps({**ONE, "name": 5}), "PL703"),
    "no type": (json.dumps({**ONE, "type": None}), "PL703"),
    "a list in a .conf": (json.dumps({"cniVersion": "1.0.0", "name": "p", "plugins": [ONE]}), "PL703"),
    "text": ('"macvlan"', "PL703"),
    "two spellings": (json.dumps(config([rng(1, 9)], Routes=[], routes=[])), "PL706"),
    "no range": (json.dumps(config()), "PL704"),
    "an exclusion": (json.dumps(config([rng(1, 9, exclude=["10.0.0.3"])])), "PL707"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_runtime_or_plugin_refuses_is_an_error_with_a_place(tmp_path, name):
    text, code = HOSTILE[name]
    file = tmp_path / "n1/net.d/05.conf"
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    report = audit([str(tmp_path)])
    assert code in codes(report)
    assert report.failed
    assert all(finding.place for finding in report.findings)
    assert all(finding.message.isprintable() for finding in report.findings)


LISTS = {
    "a single one": (ONE, ["PL703"]),
    "no plugins": ({"name": "p", "plugins": []}, ["PL703"]),
    "plugins that are none": ({"name": "p", "plugins": {}}, ["PL703"]),
    "a plugin that is text": ({"name": "p", "plugins": ["macvlan"]}, ["PL703"]),
    "the name in another case": ({"Name": "p", "plugins": [ONE]}, ["PL703"]),
    "chained": ({"name": "p", "cniVersion": "1.0.0", "plugins": [ONE, {"type": "tuning"}]}, []),
    "without ipam": ({"name": "p", "plugins": [{"type": "loopback"}]}, ["PL710"]),
    "an empty ipam": ({"name": "p", "plugins": [{"type": "macvlan", "ipam": {}}]}, ["PL710"]),
    "dhcp": ({"name": "p", "plugins": [{"type": "macvlan", "ipam": {"type": "dhcp"}}]}, ["PL710"]),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_conflist_is_read_as_libcni_reads_it(tmp_path, name):
    written, expected = LISTS[name]
    assert codes(audited(tmp_path, {"n1/net.d/05.conflist": written})) == expected


def test_a_key_that_stands_twice_is_shown_at_both_places(tmp_path):
    text = json.dumps(ONE)[:-1] + ',\n "ipam": ' + json.dumps(TWO["ipam"]) + "}"
    report = audited(tmp_path, {"n1.conf": text})
    (finding,) = report.findings
    assert (finding.code, finding.place.line, finding.place.column) == ("PL705", 2, 2)
    assert (finding.also[0].line, finding.also[0].label) == (1, "this one is ignored")
    assert report.addresses == 10, "the last one counts"


def test_unknown_keys_are_told_once_each(tmp_path):
    report = audited(tmp_path, {"n1.conf": config([rng(1, 9, comment="x")], rangeStart="10.0.0.3", typo=1)})
    assert [finding.message for finding in report.findings] == [
        "host-local ignores 'rangeStart' here",
        "host-local ignores 'typo' here",
        "host-local ignores 'comment' here",
    ]


def test_a_gateway_outside_its_subnet_is_warned_of(tmp_path):
    assert codes(audited(tmp_path, {"n1.conf": config([rng(1, 9, gateway="10.9.0.1")])})) == ["PL732"]


def test_a_pipe_does_not_hold_the_audit_up(tmp_path):
    (tmp_path / "net.d").mkdir()
    os.mkfifo(tmp_path / "net.d/05.conf")
    assert codes(audit([str(tmp_path)])) == ["PL701"]


def test_a_dangling_link_is_no_silence(tmp_path):
    (tmp_path / "05.conf").symlink_to("gone")
    with pytest.raises(FileNotFoundError):
        audit([str(tmp_path)])


def test_positions_are_those_of_the_text():
    text = '{"a": [1, {"b\\"c": "x"}],\n "d": {}, "a": null}'
    positions = Positions(text)
    assert positions.of(("a", 1, 'b"c')) == (1, 20, 3)
    assert positions.of(("a", 1, 'b"c'), key=True) == (1, 12, 6)
    assert positions.of(("D",)) == (2, 7, 1)
    assert positions.of(("d", "missing")) == (2, 7, 1)
    assert positions.doubles == [(("a",), 1)]
    assert Positions("").of(("x",)) == (1, 1, 1)


KEYS = st.sampled_from(
    [
        "name",
        "type",
        "plugins",
        "ipam",
        "ranges",
        "subnet",
        "rangeStart",
        "gateway",
        "routes",
        "dst",
        "gw",
        "dataDir",
        "delegates",
        "cniVersion",
        "Subnet",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=3),
    st.sampled_from(
        ["host-local", "static", "macvlan", "multus", "10.0.0.0/24", "10.0.0.9", "fd00::/64", "::ffff:1.2.3.4"]
    ),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=25)


@settings(deadline=None, max_examples=300)
@given(VALUES, VALUES, st.sampled_from(["05.conf", "05.conflist"]))
def test_no_json_breaks_the_audit(value, ipam, name):
    if isinstance(value, dict):
        value["ipam"] = {"type": "host-local", **ipam} if isinstance(ipam, dict) else ipam
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / name
        file.write_text(json.dumps(value), encoding="utf-8")
        report = audit([str(file)])
    assert all(finding.code in CODES for finding in report.findings)


@given(st.text(max_size=40), st.binary(max_size=40))
def test_no_text_breaks_the_audit(text, content):
    with tempfile.TemporaryDirectory() as root:
        for name, written in (("a.conf", text.encode("utf-8", "surrogatepass")), ("plan.json", content)):
            (Path(root) / name).write_bytes(written)
        assert audit([root]).files == 2


def test_every_code_has_a_reason_of_one_line():
    assert list(CODES) == sorted(CODES)
    assert all(row.why and "\n" not in row.why and len(row.why) < 120 for row in CODES.values())
