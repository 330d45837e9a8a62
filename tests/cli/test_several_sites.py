"""Several sites in one call, and the shards of a list of them: each site is somebody's, and every failure is told."""

from __future__ import annotations

import json
import shutil

import pytest

NAMES = ("dc1", "dc10", "dc2", "east", "west")


@pytest.fixture
def sites(project):
    """Five sites beside each other; the project's own stays as it is."""
    own = project.file.read_text(encoding="utf-8")
    for number, name in enumerate(NAMES):
        directory = project.path / "sites" / name
        directory.mkdir(parents=True)
        text = own.replace("site: test", f"site: {name}").replace("10.0.0.", f"10.0.{number}.")
        (directory / "site.yaml").write_text(text, encoding="utf-8")
    return [f"sites/{name}" for name in NAMES]


def outputs(project):
    return sorted(path.parent.name for path in project.path.glob("outputs/*/site.json"))


def break_(project, name):
    file = project.path / "sites" / name / "site.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("podsPerNode: 10", "podsPerNode: 128"), encoding="utf-8")


def test_each_site_goes_where_a_call_of_its_own_would_put_it(project, sites):
    told = project.run("compile", *sites, "-o", "outputs").stdout
    assert "sites/dc10 -> outputs/dc10: 3 nodes, 36 files: 36 written" in told
    assert told.splitlines()[-1] == "5 sites: 5 done"
    assert outputs(project) == sorted(NAMES)
    for name in NAMES:
        assert (
            "outputs/" + name + ": right"
            in project.run("compile", f"sites/{name}", "-o", f"outputs/{name}", "--check").stdout
        )
    assert "podlan.lock: +slice" not in project.run("compile", *sites, "-o", "outputs").stdout


def test_every_site_is_in_exactly_one_shard_whatever_the_order_of_the_list(project, sites):
    done = []
    for number, order in ((1, sites), (2, sites[::-1]), (3, sites[2:] + sites[:2])):
        told = project.run("compile", *order, "-o", "outputs", "--shard", f"{number}/3").stdout
        shutil.move(project.path / "outputs", project.path / f"outputs{number}")
        done.append([path.parent.name for path in sorted((project.path / f"outputs{number}").glob("*/site.json"))])
        assert told.splitlines()[-1] == f"{len(done[-1])} of 5 sites (shard {number}/3): {len(done[-1])} done"
    assert done == [["dc1", "east"], ["dc10", "west"], ["dc2"]]


def test_more_shards_than_sites_leave_some_with_nothing_to_do(project, sites):
    told = project.run("compile", *sites[:2], "-o", "outputs", "--shard", "3/3").stdout
    assert told == "0 of 2 sites (shard 3/3): 0 done\n"
    assert not (project.path / "outputs").exists()


def test_a_site_that_fails_stops_no_other_and_is_told_with_its_exit_code(project, sites):
    break_(project, "dc10")
    (project.path / "outputs").mkdir()
    (project.path / "outputs/dc2").write_text("in the way", encoding="utf-8")
    said = project.run("compile", *sites, "-o", "outputs", code=4)
    assert said.stdout.splitlines()[-1] == "5 sites: 3 done; dc10 exits 1; dc2 exits 4"
    assert "sites/dc10/site.yaml" in said.stderr
    assert "error: sites/dc2: cannot write outputs/dc2" in said.stderr
    assert outputs(project) == ["dc1", "east", "west"]
    (project.path / "outputs/dc2").unlink()
    said = project.run("compile", *sites, "-o", "outputs", code=1)
    assert said.stdout.splitlines()[-1] == "5 sites: 4 done; dc10 exits 1"


def test_what_differs_is_told_of_each_site_with_the_command_that_mends_it(project, sites):
    project.run("compile", *sites, "-o", "outputs")
    (project.path / "outputs/west/nodes/node-1/boot.sh").unlink()
    said = project.run("compile", *sites, "-o", "outputs", "--check", code=3)
    assert "missing outputs/west/nodes/node-1/boot.sh" in said.stdout
    assert "run: podlan compile sites/west -o outputs/west\n" in said.stderr
    assert said.stdout.splitlines()[-1] == "5 sites: 4 done; west exits 3"


def test_json_has_all_findings_and_how_each_site_ended(project, sites):
    break_(project, "dc10")
    (project.path / "outputs").mkdir()
    (project.path / "outputs/dc2").write_text("in the way", encoding="utf-8")
    values = json.loads(project.run("compile", *sites, "-o", "outputs", "--format", "json", code=4).stdout)
    assert {finding["place"]["file"] for finding in values["findings"]} == {"sites/dc10/site.yaml"}
    assert [(one["site"], one["exitCode"], bool(one["error"])) for one in values["sites"]] == [
        ("dc1", 0, False),
        ("dc10", 1, False),
        ("dc2", 4, True),
        ("east", 0, False),
        ("west", 0, False),
    ]
    first = values["sites"][0]
    assert (first["path"], first["directory"], len(first["output"])) == ("sites/dc1", "outputs/dc1", 36)
    assert any(line.startswith("podlan.lock: +slice lan node-1 10.0.0.") for line in first["lock"])


@pytest.mark.parametrize("form", ["sarif", "github", "junit"])
def test_the_other_forms_hold_the_findings_of_all_sites_in_one_document(project, sites, form):
    break_(project, "dc10")
    break_(project, "west")
    told = project.run("compile", *sites, "-o", "outputs", "--format", form, code=1).stdout
    assert "sites/dc10/site.yaml" in told
    assert "sites/west/site.yaml" in told
    if form == "sarif":
        assert len(json.loads(told)["runs"]) == 1


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "٣/3"])
def test_a_shard_is_one_of_its_total_and_counts_from_one(project, sites, shard):
    said = project.run("compile", *sites, "-o", "outputs", "--shard", shard, code=2)
    assert "is not I/N with I from 1 to N; where an engine counts from 0, add 1" in " ".join(said.stderr.split())
    assert not (project.path / "outputs").exists()


def test_decisions_about_nodes_are_for_one_site(project, sites):
    said = project.run("compile", *sites, "-o", "outputs", "--move", "node-1", code=2)
    assert "name that SITE alone" in said.stderr


def test_two_sites_of_one_name_are_refused_and_one_named_twice_is_one(project, sites):
    other = project.path / "more/dc1"
    shutil.copytree(project.path / "sites/dc1", other)
    said = project.run("compile", *sites, "more/dc1", "-o", "outputs", code=2)
    assert "more/dc1 and sites/dc1 are both called dc1" in said.stderr
    told = project.run("compile", *sites, "sites/../sites/dc1/", "-o", "outputs").stdout
    assert told.splitlines()[-1] == "5 sites: 5 done"


def test_the_outputs_of_one_and_of_several_are_not_mixed(project, sites):
    project.compile()
    said = project.run("compile", *sites, "-o", "output", code=2)
    assert "output is one site's own output; with several sites each goes to output/NAME" in said.stderr
    project.run("compile", sites[0], "-o", "outputs", "--shard", "1/1")
    said = project.run("compile", sites[0], "-o", "outputs", code=2)
    assert "say -o outputs/dc1, or --shard 1/1 to keep to outputs/NAME" in said.stderr


def test_a_site_in_one_file_is_called_like_the_file(project):
    shutil.copy(project.file, project.path / "alone.yaml")
    project.run("compile", "alone.yaml", "site/", "-o", "outputs")
    assert outputs(project) == ["alone", "site"]
