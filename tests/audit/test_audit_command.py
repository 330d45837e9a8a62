"""`podlan audit` as people and CI call it; and podlan's own output, which must always be clean."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from cni_files import config, rng, write
from hypothesis import given, settings
from hypothesis import strategies as st

from podlan import pipeline
from podlan.audit import audit

ROOT = Path(__file__).parents[2]


def test_the_committed_output_is_clean(project):
    done = project.run("audit", str(ROOT / "output"))
    assert done.stdout == "3 files, 3 nodes, 42 addresses: none is handed out twice\n"
    assert not done.stderr


def test_a_compiled_project_is_clean_until_somebody_edits_a_file(project):
    project.compile()
    project.run("audit", "output")
    file = next(project.out.glob("nodes/node-1/rootfs/etc/cni/net.d/*"))
    other = next(project.out.glob("nodes/node-2/rootfs/etc/cni/net.d/*"))
    file.write_bytes(other.read_bytes())
    done = project.run("audit", "output", code=1)
    assert "error[PL720]: node-1 and node-2 could both hand out" in done.stdout
    assert '"rangeStart": "10.0.0.' in done.stdout


subnets = st.sampled_from(
    [
        ["10.0.0.0/24"],
        ["10.0.0.0/23"],
        ["fd00::/64"],
        ["fd00::/120"],
        ["10.0.0.0/24", "fd00::/112"],
    ]
)
nodes = st.dictionaries(
    st.sampled_from([f"n{number}" for number in range(9)]),
    st.fixed_dictionaries({}, optional={"pods": st.integers(1, 20)}),
    min_size=1,
)


@settings(deadline=None, max_examples=40)
@given(
    subnets,
    nodes,
    st.sampled_from(["aligned", "packed"]),
    st.sampled_from(["shim", "none"]),
    st.booleans(),
    st.lists(st.integers(1, 60), max_size=3, unique=True),
)
def test_whatever_podlan_compiles_the_audit_finds_nothing(cidrs, members, policy, via, has_gateway, reserved):
    prefixes = {f"lan{index}": cidr.partition("/")[0] for index, cidr in enumerate(cidrs)}
    join = {name: (prefix if ":" in prefix else prefix.removesuffix("0")) for name, prefix in prefixes.items()}
    data = {
        "version": 1,
        "site": "random",
        "cluster": {"kubernetes": "1.31"},
        "cni": {"name": "pods"},
        "subnets": {
            name: {
                "cidr": cidr,
                **({"gateway": f"{join[name]}{'c8' if ':' in cidr else 200}"} if has_gateway else {}),
                "reserved": [{"range": f"{join[name]}{octet}", "reason": "test"} for octet in reserved],
            }
            for name, cidr in zip(prefixes, cidrs, strict=True)
        },
        "masters": {
            "uplink": {
                "interface": "eth0",
                "subnets": list(prefixes),
                "podsPerNode": 5,
                "allocate": policy,
                "hostAccess": {"via": via},
            }
        },
        "nodes": members,
    }
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write(root, {"site/site.yaml": data})
        compiled = pipeline.compile_site(root / "site", root / "output")
        if compiled.checked.failed:
            return
        report = audit([str(root / "output")])
    assert report.findings == []
    assert report.files == report.nodes == len(members)


def gathered(project):
    files = {"gathered/a.conf": config([rng(1, 9)]), "gathered/b.conf": config([rng(9, 19)])}
    write(project.path, files)


def test_json_has_every_finding_and_the_counts(project):
    gathered(project)
    done = project.run("audit", "gathered", "--format", "json", "--max", "1", code=1)
    values = json.loads(done.stdout)
    assert [finding["code"] for finding in values["findings"]] == ["PL720"]
    assert (values["files"], values["nodes"], values["addresses"]) == (2, 2, 19)


def test_the_worst_are_shown_where_not_all_are(project):
    gathered(project)
    write(project.path, {"gathered/0.conf": "nothing", "gathered/1.conf": config([rng(30, 39)], typo=1)})
    done = project.run("audit", "gathered", "--max", "1", code=1)
    assert "PL720" in done.stdout
    assert "PL708" not in done.stdout
    assert "… and 2 more: 1 error, 1 warning, 1 note in all" in done.stdout


def test_nodes_own_addresses_are_given_by_hand_or_from_a_file(project):
    gathered(project)
    write(project.path, {"nodes.txt": "# our nodes\na 10.0.0.5\nb 10.0.0.200  # far away\n\nc fe80::1\n"})
    done = project.run("audit", "gathered/a.conf", "--nodes", "nodes.txt", "--node-address", "d=10.0.0.6/24", code=1)
    assert "10.0.0.5 is a's address, and a could hand it out" in done.stdout
    assert "nodes.txt:2:1: said here" in done.stdout
    assert "10.0.0.6 is d's address" in done.stdout
    write(project.path, {"nodes.txt": "a 10.0.0.300\n\nb\n"})
    done = project.run("audit", "gathered/a.conf", "--nodes", "nodes.txt", code=1)
    assert "nodes.txt:1:1: error[PL713]" in done.stdout
    assert "nodes.txt:3:1: error[PL713]" in done.stdout


def test_wrong_usage_is_told_as_such(project):
    gathered(project)
    for wrong in (["missing"], ["gathered", "--node-address", "a"], ["gathered", "--node-address", "=10.0.0.1"], []):
        assert project.run("audit", *wrong, code=2).stderr


def test_the_codes_are_listed_with_their_reasons(project):
    done = project.run("audit", "--codes")
    assert done.stdout.splitlines()[0].startswith("PL701  error    ")


def test_a_name_of_no_encoding_is_printed_all_the_same(project):
    gathered(project)
    (project.path / "gathered/a.conf").rename(Path(str(project.path / "gathered") + "/\udcff\n.conf"))
    done = project.run("audit", "gathered", code=1)
    assert "PL720" in done.stdout
