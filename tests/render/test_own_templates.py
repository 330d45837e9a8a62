"""A site's own files: what templates find and print, how layers are merged, and what no template may do."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import fields
from pathlib import Path

import pytest
from ready import podlan

from podlan import pipeline
from podlan.plan import decode
from podlan.render import _sandbox, _variables

PATH = "/etc/sysctl.d/90-site.conf"
SITE = """\
version: 1
site: lab
cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12], clusterDNS: [10.96.0.10]}
cni: {name: pods}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{dst: 0.0.0.0/0}]}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
"""
NODES = "nodes:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.2}\n"


class Site:
    """A site with templates, compiled in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "templates").mkdir()

    def write(self, sections: str, **templates: str) -> None:
        (self.path / "site.yaml").write_text(SITE + sections, encoding="utf-8")
        for name, text in templates.items():
            (self.path / f"templates/{name}.j2").write_text(text, encoding="utf-8")

    def compile(self):
        return pipeline.compile_site(self.path, self.path.parent / "nowhere", write=False)

    def printed(self, template: str, values: object = None, node: str = "a") -> str:
        """Give what a template makes for a node."""
        files = json.dumps({PATH: {"template": "own.j2", "values": values or {}}})
        self.write(f"files: {files}\n{NODES}", own=template)
        compiled = self.compile()
        assert not compiled.failed, compiled.checked.findings
        return compiled.nodes[node][f"rootfs{PATH}"].decode()

    def refused(self, template: str, values: object = None) -> str:
        """Give what podlan says of a template, once for both nodes."""
        files = json.dumps({PATH: {"template": "own.j2", "values": values or {}}})
        self.write(f"files: {files}\n{NODES}", own=template)
        (finding,) = pipeline.check(self.path).findings
        assert str(finding.place).startswith(f"{self.path}/templates/own.j2:")
        return f"{finding.code} {finding.message}"


@pytest.fixture(autouse=True)
def _collected_later():
    """No garbage is collected, as in a compile: what a collector's callback is told in its course gets lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


def test_a_file_is_the_node_s_and_in_its_plan_and_manifest(site):
    site.write(f"files:\n  {PATH}: {{template: own.j2, mode: '0600', restart: [a.service]}}\n{NODES}", own="x = 1\n")
    files = site.compile().nodes["a"]
    assert files[f"rootfs{PATH}"] == b"x = 1\n"
    (entry,) = [file for file in json.loads(files["plan.json"])["files"] if file["path"] == PATH]
    assert entry == {"path": PATH, "mode": "0600", "source": f"rootfs{PATH}", "restart": ["a.service"]}
    assert f"rootfs{PATH}" in json.loads(files["manifest.json"])["files"]


def test_a_template_finds_the_node_its_masters_and_the_values(site):
    text = site.printed(
        "{{ site }} {{ node.name }} {{ node.role }} {{ node.pods }} {{ node.cluster.kubernetes }}\n"
        "{{ master.interface }} {{ master.child }} {{ master.addresses[0] }} {{ master.via }}\n"
        "{% for subnet in master.subnets %}{{ subnet.cidr }} {{ subnet.gateway }} {{ subnet.shim }}"
        "{% for slice in subnet.slices %} {{ slice.first }} {{ slice.last }} {{ slice.size }}{% endfor %}"
        "{% endfor +%}\n"
        "{{ masters | length }} {{ values.ntp }}\n",
        {"ntp": "10.0.0.53"},
    )
    compiled = site.compile()
    lock = compiled.checked.allocation.lock.text()
    first, last = re.search(r"^slice lan a (\S+)-(\S+)$", lock, re.MULTILINE).groups()
    shim = re.search(r"^shim lan a (\S+)$", lock, re.MULTILINE)[1]
    assert text.splitlines() == [
        "lab a worker 8 1.31.0",
        "eth0 macvlan0 10.0.0.1 shim",
        f"10.0.0.0/24 10.0.0.254 {shim} {first} {last} 8",
        "1 10.0.0.53",
    ]


def test_layers_are_laid_over_each_other_path_by_path_and_values_deep(site):
    site.write(
        f"files:\n  {PATH}: {{template: own.j2, values: {{a: {{x: 1, y: 1}}, list: [1, 2]}}}}\n"
        f"profiles:\n  big: {{files: {{{PATH}: {{mode: '0600', values: {{a: {{y: 2}}}}}}}}}}\n"
        f"nodes:\n  a: {{}}\n  b: {{profiles: [big]}}\n"
        f"  c: {{profiles: [big], files: {{{PATH}: {{template: other.j2, values: {{list: [3]}}}}}}}}\n",
        own="{{ values | json }}",
        other="other {{ values | json }}",
    )
    nodes = site.compile().nodes
    said = {name: files[f"rootfs{PATH}"].decode() for name, files in nodes.items()}
    assert said == {
        "a": '{"a": {"x": 1, "y": 1}, "list": [1, 2]}',
        "b": '{"a": {"x": 1, "y": 2}, "list": [1, 2]}',
        "c": 'other {"a": {"x": 1, "y": 2}, "list": [3]}',
    }
    plans = {name: decode(files["plan.json"].decode(), name) for name, files in nodes.items()}
    modes = {name: file.mode for name, plan in plans.items() for file in plan.files if file.path == PATH}
    assert modes == {"a": "0644", "b": "0600", "c": "0600"}


def test_templates_lie_beside_a_site_that_is_one_file(tmp_path):
    site = Site(tmp_path)
    site.write(f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}", own="beside\n")
    compiled = pipeline.compile_site(tmp_path / "site.yaml", tmp_path / "nowhere", write=False)
    assert compiled.nodes["a"][f"rootfs{PATH}"] == b"beside\n"


def test_in_which_order_values_are_written_does_not_change_a_byte(site):
    template = "{% for key, value in values.items() %}{{ key }}={{ value }} {% endfor %}{{ values | json }}"
    one = site.printed(template, {"b": 1, "a": 2})
    assert one == site.printed(template, {"a": 2, "b": 1}) == 'a=2 b=1 {"a": 2, "b": 1}'


def test_a_key_wins_over_a_mapping_s_own_methods(site):
    assert site.printed("{{ values.items }} {{ values.keys }}", {"items": "mine", "keys": 3}) == "mine 3"


@pytest.mark.parametrize(
    "value", ["a b", "$(reboot)", "`x`", "'", '"', "", "a\nb", "-rf", "%s", "{{ x }}", "\N{SNOWMAN}"]
)
def test_a_value_is_quoted_for_the_shell_wherever_it_stands(site, value):
    script = site.printed("printf '%s' {{ values.it }}{{ values.it ~ '' }}\n", {"it": value})
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == value * 2
    assert shlex.split(script)[2] == value * 2


def test_plain_and_json_print_a_value_as_it_is_and_as_json(site):
    said = site.printed("{{ values.it | plain }}|{{ values.it | json }}", {"it": 'a "b" $c'})
    assert said == 'a "b" $c|"a \\"b\\" $c"'


def test_truth_is_printed_as_yaml_and_json_write_it(site):
    assert site.printed("{{ values.it }} {{ values.it | json }}", {"it": True}) == "true true"


def test_templates_include_and_extend_each_other(site):
    site.write(f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}", own="", part="part of {{ node.name }}\n", base="")
    site.write(
        f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}",
        base="head\n{% block body %}{% endblock %}tail\n",
        own='{% extends "base.j2" %}{% block body %}{% include "part.j2" %}{% endblock %}',
    )
    assert site.compile().nodes["b"][f"rootfs{PATH}"] == b"head\npart of b\ntail\n"


def test_the_place_of_a_mistake_is_the_line_of_the_template_that_makes_it(site):
    site.write(
        f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}",
        own='first\n{% include "part.j2" %}',
        part="first\nsecond\n  {{ values.nothing }}\n",
    )
    checked = pipeline.check(site.path)
    (finding,) = checked.findings
    assert str(finding.place) == f"{site.path}/templates/part.j2:3:3"
    assert str(finding.also[0]) == f"{site.path}/site.yaml:9:9"
    assert checked.source.texts[finding.place.file].splitlines()[2] == "  {{ values.nothing }}"


def test_a_name_that_is_nearly_right_is_guessed(site):
    assert "there is no nme in a node; did you mean name?" in site.refused("{{ node.nme }}")
    assert "there is no variable vales; did you mean values?" in site.refused("{{ vales.x }}")
    assert "there is no ntpp in this mapping; did you mean ntp?" in site.refused("{{ values.ntpp }}", {"ntp": 1})


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ node.__init__.__globals__ }}",
        "{{ values.__class__ }}",
        "{{ range.__self__ }}",
        "{{ ''['__class__'] }}",
        "{{ (node | map(attribute='__class__')) }}",
        "{{ '{0.__class__}'.format(node) }}",
        "{{ ''['format'](node) }}",
        "{{ '%s' % node }}",
        "{{ values.update({'a': 1}) }}",
        "{{ lipsum() }}",
        "{{ [1, 2] | random }}",
        "{{ self }}",
        "{{ range }}",
        "{{ node }}",
        "{{ none }}",
        "{{ [1] }}",
        "{{ values }}",
        "{{ master.subnets ~ 'x' }}",
        "{{ [range] | join }}",
        "{{ node | json }}",
        "{{ values.x.y }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ [1][5] }}",
        "{% include '/etc/passwd' %}",
        "{% include '../site.yaml' %}",
        "{% import 'os' as os %}",
        "{% for %}",
        "{{",
        "{{ 'a' | nofilter }}",
        "{% macro %}",
        "{{ node.name.encode('utf-16') }}",
    ],
)
def test_what_a_template_may_not_do_is_a_finding(site, template):
    assert site.refused(template).startswith("PL334 ")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for a in [1] %}" * 25 + "{% endfor %}" * 25, "too many statically nested blocks"),
        ("{% if node %}" * 120 + "{% endif %}" * 120, "too many levels of indentation"),
        ("{{ dict(a=1, a=2) | json }}", "keyword argument repeated: a"),
    ],
    ids=["loops", "conditions", "repeated argument"],
)
def test_a_template_of_which_python_takes_no_program_is_a_finding(site, template, why):
    assert site.refused(template) == f"PL334 no program can be made of the template: {why}"


def test_a_template_that_is_included_is_named_where_no_program_can_be_made_of_it(site):
    site.write(
        f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}",
        own='first\n{% include "part.j2" %}',
        part="{% for a in [1] %}" * 25 + "{% endfor %}" * 25,
    )
    (finding,) = pipeline.check(site.path).findings
    assert str(finding.place) == f"{site.path}/templates/part.j2:1:1"


ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop of many millions": "{% for a in range(1000000000) %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubling recursion": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
    ),
    "including itself": "{% include 'own.j2' %}",
    "extending itself": "{% extends 'own.j2' %}",
    "a long text": "{{ 'x' * 10**10 }}",
    "a text that doubles": (
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
    ),
    "a text that is replaced": "{{ ('x' * 10**6).replace('x', 'y' * 10**6) | length }}",
    "a power": "{{ 10**10**10 }}",
    "numbers that grow": (
        "{% set ns = namespace(n=3) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}"
    ),
    "a huge number read": "{{ ('f' * 100000) | int(0, 16) * 3 }}",
    "a wide field": "{{ 'a'.ljust(10**10) }}",
    "a large file": "{% for i in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}",
    "a large file in many bytes": "{{ '\N{SNOWMAN}' * 400000 }}",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_template_that_would_not_end_is_stopped_at_once(site, kind):
    began = time.process_time()
    said = site.refused(ENDLESS[kind])
    assert said.startswith(("PL335 ", "PL334 Range too big"))
    assert time.process_time() - began < 5


def test_a_template_that_calculates_for_ever_is_stopped_for_all_nodes_together(site, monkeypatch):
    monkeypatch.setattr(_sandbox, "_SECONDS", 0.5)
    began = time.process_time()
    said = site.refused("{% for i in range(9999) %}{{ range(100000) | list | sort | length }}{% endfor %}")
    assert said.startswith("PL335 ")
    assert time.process_time() - began < 3


def test_what_was_bounded_for_templates_is_free_again(site):
    site.refused(ENDLESS["a long text"])
    assert len("x" * (600 * 1024 * 1024)) == 600 * 1024 * 1024


def test_a_check_runs_the_templates_and_a_site_without_files_reads_none(site):
    assert "PL334" in site.refused("{{ nothing }}")
    site.write(NODES, own="{{ nothing }}")
    (site.path / "templates/bytes.j2").write_bytes(b"\xff")
    assert pipeline.check(site.path).findings == []


@pytest.mark.parametrize("where", ["file", "directory", "up"])
def test_no_template_is_read_through_a_link_that_leads_out_of_the_site(site, where):
    site.write(f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}")
    elsewhere = site.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own.j2").write_text("secret", encoding="utf-8")
    if where == "directory":
        (site.path / "templates").rmdir()
        (site.path / "templates").symlink_to(elsewhere)
    else:
        (site.path / "templates/own.j2").symlink_to(
            elsewhere / "own.j2" if where == "file" else "../../elsewhere/own.j2"
        )
    (finding,) = pipeline.check(site.path).findings
    assert (finding.code, str(finding.place)) == ("PL014", f"{site.path}/templates/own.j2:1:1")


def test_a_link_within_the_site_is_read(site):
    site.write(f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}", part="part")
    (site.path / "templates/own.j2").symlink_to("part.j2")
    assert site.compile().nodes["a"][f"rootfs{PATH}"] == b"part"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_template_that_is_no_text_is_a_finding(site, make):
    site.write(f"files: {{{PATH}: {{template: own.j2}}}}\n{NODES}")
    make(site.path / "templates/own.j2")
    assert [finding.code for finding in pipeline.check(site.path).findings] in (["PL010"], ["PL015"])


def test_the_page_about_templates_names_every_variable_and_filter():
    page = (Path(__file__).parents[2] / "docs/templates.md").read_text(encoding="utf-8")
    classes = {
        "node": _variables.Node,
        "node.cluster": _variables.Cluster,
        "node.cni": _variables.Cni,
        "master": _variables.Master,
        "subnet": _variables.Subnet,
        "slice": _variables.Slice,
    }
    named = {f"{prefix}.{field.name}" for prefix, holder in classes.items() for field in fields(holder)}
    named -= {"node.cluster", "node.cni"}
    listed = set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))
    assert listed >= named | set(_variables.VARIABLES) - {"node", "master"}
    assert {name for name in listed if "." in name} == named
    filters = set(_sandbox.Sandbox(None, 0).filters) - {_sandbox.COUNTED}
    assert filters <= set(re.findall(r"`([a-z]+)`", page))


def test_the_differences_of_a_review_show_the_file(site):
    files = f"files: {{{PATH}: {{template: own.j2, restart: [a.service]}}}}\n"
    site.write(files + NODES, own="x = 1\n")
    out = site.path.parent / "output"
    pipeline.compile_site(site.path, out)
    site.write(files + NODES, own="x = 2\n")
    said = podlan(site.path.parent, "diff", str(out), str(site.path)).stdout
    assert PATH in said
    assert "x = 2" in said
    assert "a.service" in said
