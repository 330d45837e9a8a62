"""Whatever people write in a free field: podlan refuses it, or every compiled file means it and nothing else.

Each field is compiled twice, with a marker that is plain text and with what hypothesis draws. Every compiled file is
then read by the parser of its own kind, and both readings must be the same, with the drawn text in the marker's place.
"""

from __future__ import annotations

import copy
import functools
import json
import re
import shlex
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from podlan import pipeline
from podlan.cli.schemas import SCHEMAS
from podlan.node.merge import merge_flags
from podlan.plan import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "qzq"
"""Fits every pattern of names, and stands nowhere else."""
PATH = "/etc/systemd/system/own.service"
PIECES = (
    *("'", '"', "$(reboot)", "${x}", "$HOME", "`id`", "\n", "\r", "\t", "\0", "\\", "\\n", "%", "%n", "%%", "{{ 7 }}"),
    *("{% x %}", "{#", "-", "--", " ", "#", ":", ": ", ";", "&", "|", ">", "<", "=", ",", "[", "]", "~", "*", "!", "@"),
    *("/", "..", ".", "a", "0", "_", "é", "\N{SNOWMAN}", "\u202e", "\u2028", "\x7f", "\x85", "\N{PILE OF POO}", "null"),
)
LINK = re.compile(r"macvlan (.*)")
ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
"""How systemd writes a character that a unit's name may not hold."""
HOSTILE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join) | st.text(min_size=1, max_size=12)

SITE: dict[str, Any] = {
    "version": 1,
    "site": "lab",
    "cluster": {"kubernetes": "1.31", "runtimeVersion": "2.0", "serviceCIDR": ["10.96.0.0/12"]},
    "cni": {"name": "pods", "plugins": {"version": "1.6.0"}},
    "subnets": {"lan": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254", "routes": [{"dst": "0.0.0.0/0"}]}},
    "masters": {"uplink": {"interface": "eth0", "subnets": ["lan"], "podsPerNode": 8}},
    "nodes": {
        "deb": {"address": "10.0.0.1"},
        "k3s": {"address": "10.0.0.2", "cluster": {"distribution": "k3s"}},
        "old": {
            "address": "10.0.0.3",
            "boot": "rc.local",
            "cluster": {"kubernetes": "1.23", "distribution": "legacy", "runtime": "docker", "runtimeVersion": "20.10"},
        },
    },
}
TEMPLATE = """\
[Service]
# {{ values | json }}
Environment={{ ("TEXT=" ~ values.text) | json }}
"""
SCRIPT = """\
#!/bin/sh
printf '%s' {{ values.text }} {{ "-" ~ values.text }}
"""


def put(document: dict[str, Any], keys: tuple[Any, ...], value: Any) -> None:
    for key in keys[:-1]:
        document = document.setdefault(key, {})
    document[keys[-1]] = value


def at(*keys: Any, wrap: Any = None):
    """Put the text at a place of the site, within what `wrap` makes of it."""

    def change(document, text):
        put(document, keys, text if wrap is None else wrap(text))

    return change


def key_of(*keys: Any, value: Any):
    def change(document, text):
        put(document, (*keys, text), value)

    return change


def archive(document, url):
    document["cni"]["plugins"] = {"version": "1.6.0", "url": url, "sha256": "0" * 64}


def renamed(section, old):
    """Name an entry by the text, wherever it is spoken of."""

    def change(document, text):
        document[section][text] = document[section].pop(old)
        if section == "subnets":
            document["masters"]["uplink"]["subnets"] = [text]

    return change


SECONDARY = {
    "interface": "eth1",
    "subnets": ["back"],
    "podsPerNode": 8,
    "secondary": True,
    "hostAccess": {"via": "none"},
}


def secondary(document, text):
    document["subnets"]["back"] = {"cidr": "10.2.0.0/24", "routes": []}
    document["masters"][text] = SECONDARY
    for node in document["nodes"].values():
        node["masters"] = {"uplink": {"addresses": [node.pop("address")]}, text: {}}


def namespaced(document, text):
    secondary(document, "storage")
    document["masters"]["storage"] = {**SECONDARY, "namespace": text}


def tagged(document, text):
    del document["masters"]["uplink"]["interface"]
    document["masters"]["uplink"]["vlan"] = {"link": text, "id": 7}
    for node in document["nodes"].values():
        del node["address"]


FIELDS = {
    "masters.uplink.vlan.link": tagged,
    "site": at("site"),
    "cni.name": at("cni", "name"),
    "cni.fileName": at("cni", "fileName", wrap=lambda text: f"{text}.conflist"),
    "cni.confDir": at("cni", "confDir", wrap=lambda text: f"/etc/cni/{text}"),
    "cni.binDir": at("cni", "binDir", wrap=lambda text: f"/opt/{text}"),
    "cni.dataDir": at("cni", "dataDir", wrap=lambda text: f"/run/{text}"),
    "cni.plugins.url": lambda document, text: archive(document, f"https://example.com/{text}"),
    "cni.plugins.url's host": lambda document, text: archive(document, f"https://{text}/cni.tgz"),
    "cni.plugins.version": at("cni", "plugins", "version", wrap=lambda text: f"1.6.0-{text}"),
    "cluster.kubernetes": at("nodes", "deb", "cluster", "kubernetes", wrap=lambda text: f"1.31.0-{text}"),
    "cluster.runtimeVersion": at("cluster", "runtimeVersion", wrap=lambda text: f"2.0.0-{text}"),
    "cluster.kubeletConfigDir": at("cluster", "kubeletConfigDir", wrap=lambda text: f"/etc/kubernetes/{text}"),
    "cluster.kubelet.resolvConf": at("cluster", "kubelet", "resolvConf", wrap=lambda text: f"/run/{text}"),
    "cluster.kubelet.flags, a value": at("nodes", "old", "cluster", "kubelet", "flags", "vmodule"),
    "cluster.kubelet.flags of 1.31, a value": at("nodes", "deb", "cluster", "kubelet", "flags", "vmodule"),
    "cluster.kubelet.flags, a name": key_of("cluster", "kubelet", "flags", value="1"),
    "cluster.kubelet.labels, a value": at("cluster", "kubelet", "labels", "example.com/rack"),
    "cluster.kubelet.labels, a name": key_of("cluster", "kubelet", "labels", value="r1"),
    "cluster.kubelet.taints": at("cluster", "kubelet", "taints", wrap=lambda text: [f"{text}=x:NoSchedule"]),
    "cluster.kubelet.taints, a value": at("cluster", "kubelet", "taints", wrap=lambda text: [f"x={text}:NoSchedule"]),
    "cluster.kubelet.config, a value": at("nodes", "deb", "cluster", "kubelet", "config", "clusterDomain"),
    "cluster.kubelet.config, in a list": at(
        "nodes", "deb", "cluster", "kubelet", "config", "allowedUnsafeSysctls", wrap=lambda text: [text]
    ),
    "cluster.kubelet.config, a name": key_of("nodes", "deb", "cluster", "kubelet", "config", value="x"),
    "cluster.kubelet.config, a name within": key_of(
        "nodes", "deb", "cluster", "kubelet", "config", "evictionHard", value="100Mi"
    ),
    "subnets.dns.domain": at("subnets", "lan", "dns", wrap=lambda text: {"domain": text}),
    "subnets.dns.search": at("subnets", "lan", "dns", wrap=lambda text: {"search": ["example.com", text]}),
    "subnets.reserved.reason": at(
        "subnets", "lan", "reserved", wrap=lambda text: [{"range": "10.0.0.200", "reason": text}]
    ),
    "subnets, a name": renamed("subnets", "lan"),
    "masters, a name": renamed("masters", "uplink"),
    "masters, the name of a secondary one": secondary,
    "masters.interface": at("masters", "uplink", "interface"),
    "masters.altname": at("masters", "uplink", "altname"),
    "masters.namespace": namespaced,
    "masters.hostAccess.interface": at("masters", "uplink", "hostAccess", wrap=lambda text: {"interface": text}),
    "masters.chain, a sysctl's value": at(
        "masters", "uplink", "chain", wrap=lambda text: [{"type": "tuning", "sysctl": {"net.core.somaxconn": text}}]
    ),
    "masters.chain, a sysctl's name": at(
        "masters", "uplink", "chain", wrap=lambda text: [{"type": "tuning", "sysctl": {f"net.{text}": "1"}}]
    ),
    "nodes, a name": renamed("nodes", "deb"),
    "nodes.masters.interface": at("nodes", "deb", "masters", "uplink", "interface"),
    "profiles, a name": key_of("profiles", value={"pods": 4}),
    "files, a path": lambda document, text: put(
        document, ("files", f"/etc/sysctl.d/{text}"), {"template": "own.service.j2", "values": {"text": "x"}}
    ),
    "files.template": at("files", PATH, wrap=lambda text: {"template": f"{text}.j2", "values": {"text": "x"}}),
    "files.restart": at(
        "files",
        PATH,
        wrap=lambda text: {
            "template": "own.service.j2",
            "values": {"text": "x"},
            "restart": [f"{text}.service"],
        },
    ),
    "files.values": at("files", PATH, wrap=lambda text: {"template": "own.service.j2", "values": {"text": text}}),
    "files.values, in a script": at(
        "files", "/opt/site/own.sh", wrap=lambda text: {"template": "own.sh.j2", "values": {"text": text}}
    ),
    "files.values, a name": at(
        "files", PATH, wrap=lambda text: {"template": "own.service.j2", "values": {"text": "x", text: 1}}
    ),
    "silence, a reason": at("silence", wrap=lambda text: {"PL214": text}),
}


def compiled(change, text: str) -> dict[str, dict[str, bytes]] | None:
    """Compile the site with a text in one field; None where podlan refuses it."""
    document = copy.deepcopy(SITE)
    change(document, text)
    with tempfile.TemporaryDirectory(prefix="podlan-hostile-") as directory:
        site = Path(directory, "site")
        (site / "templates").mkdir(parents=True)
        (site / "templates/own.service.j2").write_text(TEMPLATE, encoding="utf-8")
        (site / f"templates/{MARK}.j2").write_text(TEMPLATE, encoding="utf-8")
        (site / "templates/own.sh.j2").write_text(SCRIPT, encoding="utf-8")
        try:
            (site / "site.yaml").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        except UnicodeEncodeError:
            return None  # a lone surrogate, which no file can hold
        done = pipeline.compile_site(site, Path(directory, "out"), write=False)
        return None if done.failed else done.trees


@functools.lru_cache(maxsize=4096)
def reading(path: str, content: bytes) -> Any:
    """Read a compiled file as its own reader does, into plain data; most files of a site are those of the last one."""
    text = content.decode()
    if path.endswith("manifest.json"):
        return sorted(json.loads(text)["files"])
    readers = {".yaml": yaml, ".toml": tomllib.loads, ".service": unit, ".sh": shell_words}
    read = json.loads if text.startswith("{") else readers.get(Path(path).suffix, str.splitlines)
    return read(text)


def yaml(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(text))


def unit(text: str) -> list[tuple[str, str, str]]:
    """Read a unit as systemd.syntax(7) says: sections, keys, values; comments are left out."""
    found = []
    section = ""
    for line in text.replace("\\\n", " ").split("\n"):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        if line.startswith("["):
            assert re.fullmatch(r"\[[A-Za-z]+\]", line), line
            section = line
            continue
        key, equals, value = line.partition("=")
        assert equals, line
        assert re.fullmatch(r"[A-Za-z]+", key), line
        # Within quotes systemd knows what JSON escapes, and more.
        value = json.loads(value) if value.startswith('"') else value
        found.append((section, key, ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)))
    return found


def shell_words(text: str) -> list[str]:
    words = shlex.split(text, comments=True)
    done = subprocess.run(["sh", "-n"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return words


def replaced(value: Any, text: str) -> Any:
    """Put the text in the marker's place, wherever that stands."""
    if isinstance(value, str):
        return value.replace(MARK, text)
    if isinstance(value, dict):
        return {replaced(key, text): replaced(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(replaced(item, text) for item in value)
    return value


def sorted_lists(value: Any) -> Any:
    """Forget the order of lists that podlan sorts, since the text sorts elsewhere than the marker."""
    if isinstance(value, dict):
        return {key: sorted_lists(item) for key, item in value.items()}
    return sorted(map(sorted_lists, value), key=repr) if isinstance(value, list | tuple) else value


TIGHT = {
    "roles": "two words to choose from",
    **dict.fromkeys(("mode", "sha256", "mac"), "digits alone"),
    **dict.fromkeys(
        ("serviceCIDR", "clusterDNS", "avoid", "nameservers", "pool", "address", "addresses", "ranges", "range", "dst"),
        "an address, a network or a range, read as such and written anew",
    ),
    **dict.fromkeys(("gw", "cidr", "gateway", "dhcp", "probes"), "as above"),
    **dict.fromkeys(("was", "subnets", "profiles"), "the name of something that must be there, or was"),
}
"""Keys for text in which nothing free can stand, and why."""


def strings(node: Any, name: str) -> Iterator[str]:
    """Name the keys of a schema under which text may stand."""
    kinds = node.get("type")
    is_text = "string" in (kinds if isinstance(kinds, list) else [kinds])
    if (is_text and "enum" not in node and "const" not in node) or node.get("additionalProperties") is True:
        yield name
    for part in ("items", "additionalProperties"):
        if isinstance(node.get(part), dict):
            yield from strings(node[part], name)
    if "propertyNames" in node:
        yield f"{name} (name)"


def test_no_key_for_text_is_left_out():
    schema = SCHEMAS["site.schema.json"]()
    holders = [schema, *schema["$defs"].values()]
    keys = {found for holder in holders for key, node in holder["properties"].items() for found in strings(node, key)}
    tried = set(re.findall(r"[A-Za-z]+", " ".join(FIELDS)))
    left = {key for key in keys if key.partition(" ")[0] not in tried and key.partition(" ")[0] not in TIGHT}
    assert left == set()


def same(path: str, plain: Any, hostile: Any, text: str) -> None:
    assert sorted_lists(replaced(plain, text)) == sorted_lists(hostile), path


ALONE = {
    "nodes, a name": "in the order of their names nodes get their slices",
    "cluster.kubelet.config, a name": "the marker is no field of KubeletConfiguration",
}
"""Fields whose files are read, and not compared with those of the marker."""


@functools.cache
def with_marker(name: str) -> dict[str, dict[str, bytes]] | None:
    return None if name in ALONE else compiled(FIELDS[name], MARK)


def test_every_field_takes_the_marker():
    assert {name for name in FIELDS if with_marker(name) is None} == set(ALONE)


def with_the_sites_own_name(documents: list[Any], text: str) -> Any:
    """Put the site's name back into the objects' name: Kubernetes takes fewer characters there than podlan does."""
    (name,) = {document["metadata"]["name"] for document in documents}
    assert re.fullmatch(r"podlan-smoke-[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= 63
    return json.loads(json.dumps(documents).replace(name, json.dumps(f"podlan-smoke-{text}")[1:-1]))


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=HOSTILE)
@example(text="'; reboot; '")
@example(text="$(reboot)")
@example(text='"')
@example(text="-rf")
@example(text="a\nb")
@example(text="%n")
@example(text="{{ 7 }}")
@example(text="null")
@example(text="1e3")
@example(text="0x1f")
@example(text="yes")
@example(text="A")
@example(text="a.b")
@example(text="a-b")
@example(text="a@b+c=d")
def test_a_field_is_refused_or_means_what_it_says(name, text):
    trees = compiled(FIELDS[name], text)
    if trees is None:
        return
    read_all(trees)
    plain = with_marker(name)
    if plain is None:
        return
    wanted = {replaced(where, text): content for where, content in paths(plain)}
    found = dict(paths(trees))
    assert found.keys() == wanted.keys()
    for where, content in wanted.items():
        if found[where] == content and MARK.encode() not in content:
            continue
        read = reading(where, found[where])
        if name == "site" and where == "cluster/smoke.yaml":
            read = with_the_sites_own_name(read, text)
        same(where, reading(where, content), read, text)


def paths(trees):
    for tree, files in trees.items():
        for path, content in files.items():
            yield f"{tree}/{path}", content


def read_all(trees):
    for tree, files in trees.items():
        for path, content in files.items():
            reading(path, content)
        if tree != "cluster":
            flags_survive(tree, files)


def flags_survive(tree, files):
    """Let a shell read the file that the node makes of the flags."""
    for file in decode(files["plan.json"].decode(), tree).files:
        if file.env_flags is not None:
            assert words_of(file.env_flags.variable, file.env_flags.flags) == file.env_flags.flags


@functools.lru_cache(maxsize=4096)
def words_of(variable, flags):
    text = merge_flags("", variable, flags)
    script = f'{text}\nset -f; printf "%s\\n" ${variable}\n'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    return tuple(said.splitlines())


@pytest.fixture(scope="module")
def hostile_site():
    """Compile a site with as much in its free fields as podlan takes."""
    document = copy.deepcopy(SITE)
    text = '\'; touch /tmp/x; $(id) `id` "%n" {{ 7 }} \\ \N{SNOWMAN}\n-rf'
    put(document, ("files", PATH), {"template": "own.service.j2", "values": {"text": text}})
    put(document, ("files", "/opt/site/own.sh"), {"template": "own.sh.j2", "values": {"text": text}})
    for field, value in (("masters.interface", "a@b+c=d-e"), ("subnets, a name", "-a"), ("masters, a name", "x-_-")):
        if compiled(FIELDS[field], value) is not None:
            FIELDS[field](document, value)

    def change(empty, _):
        empty.clear()
        empty.update(document)

    trees = compiled(change, "")
    assert trees is not None
    return trees, text


def test_shellcheck_has_no_objection_to_a_script_with_hostile_values(hostile_site, tmp_path):
    trees, _ = hostile_site
    scripts = [(where, content) for where, content in paths(trees) if content.startswith(b"#!/bin/sh")]
    assert len(scripts) >= len(SITE["nodes"]) * 2
    for number, (_, content) in enumerate(scripts):
        (tmp_path / f"{number}.sh").write_bytes(content)
    done = subprocess.run(
        ["shellcheck", "-S", "warning", *map(str, tmp_path.glob("*.sh"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_shell_prints_a_hostile_value_as_it_was_written(hostile_site):
    trees, text = hostile_site
    script = trees["nodes/deb"]["rootfs/opt/site/own.sh"]
    said = subprocess.run(["sh"], input=script, capture_output=True, check=True).stdout.decode()
    assert said == f"{text}-{text}"


def test_systemd_reads_the_units_of_a_site_with_hostile_values(hostile_site, tmp_path):
    trees, _ = hostile_site
    unit_file = tmp_path / "podlan-reconcile.service"
    text = trees["nodes/deb"]["rootfs/etc/systemd/system/podlan-reconcile.service"].decode()
    unit_file.write_text(text.replace("/usr/local/sbin/podlan-node.pyz", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit_file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, str(unit_file) in done.stderr) == (0, False), done.stderr


def test_what_boot_sh_gives_to_ip_is_what_the_plan_says(hostile_site):
    """Its line that makes the link is read by a shell that prints the words instead."""
    trees, _ = hostile_site
    for tree, files in trees.items():
        if tree == "cluster":
            continue
        (line,) = [found[1] for found in map(LINK.fullmatch, files["boot.sh"].decode().splitlines()) if found]
        (child,) = [link for link in decode(files["plan.json"].decode(), tree).links if link.kind == "macvlan"]
        script = f"printf '%s\\0' {line}"
        said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        assert said.split("\0") == [child.master, child.name, child.mode, child.alias, child.mac, "", ""]
