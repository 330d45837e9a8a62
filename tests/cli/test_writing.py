"""What a compile writes over, what it leaves alone, and what it refuses before anything has changed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from outputs import everything, had


@pytest.fixture
def compiled(project):
    project.compile()
    return project


def refused(project, *words, code=4):
    """Let a change that asks for much be refused, and see that nothing at all has changed."""
    project.change("  node-3: {address: 10.0.0.3}\n", "  node-4: {address: 10.0.0.4}\n")
    before = everything(project.path)
    said = project.compile(code=code).stderr
    assert all(word in said for word in words), said
    assert everything(project.path) == before


@pytest.mark.parametrize("name", ["nodes/node-4", "nodes/node-1/rootfs/etc", "nodes", "cluster", ".podlan-stage"])
def test_a_file_where_a_directory_must_be_changes_nothing(compiled, name):
    place = compiled.out / name
    if place.is_dir():
        shutil.rmtree(place)
    place.write_text("mine", encoding="utf-8")
    refused(compiled, f"output/{name}: a directory must stand there", "move it away")


@pytest.mark.parametrize(
    "name",
    [
        "nodes",
        "nodes/node-1",
        "nodes/node-4",
        "nodes/node-1/rootfs/etc",
        "nodes/node-1/boot.sh",
        "nodes/node-1/manifest.json",
        "cluster",
        "cluster/smoke.yaml",
        "cluster/manifest.json",
        "site.json",
        ".podlan-stage",
    ],
)
@pytest.mark.parametrize("dangles", [False, True])
def test_nothing_is_written_through_a_symbolic_link(compiled, name, dangles):
    place, elsewhere = compiled.out / name, compiled.path / "elsewhere"
    if os.path.lexists(place):
        shutil.move(place, elsewhere)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    if dangles:
        elsewhere.rename(compiled.path / "away")
    refused(compiled, f"output/{name}: it is a symbolic link", "remove it")


@pytest.mark.parametrize(
    "name",
    [
        "nodes/node-1/plan.json",
        "nodes/node-1/manifest.json",
        "cluster/smoke.yaml",
        "cluster/manifest.json",
        "site.json",
    ],
)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_where_a_file_must_be_changes_nothing(compiled, name, make):
    (compiled.out / name).unlink()
    make(compiled.out / name)
    refused(compiled, f"output/{name}: a file must stand there")


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_what_took_the_place_of_a_file_to_remove_changes_nothing(compiled, make):
    boot = compiled.out / "nodes/node-3/boot.sh"
    boot.unlink()
    make(boot)
    refused(compiled, "output/nodes/node-3/boot.sh")


@pytest.mark.kernel
def test_a_node_s_directory_that_cannot_be_written_changes_nothing(compiled):
    """Root ignores modes, but not a file system that is mounted read-only."""
    compiled.change("node-1: {address: 10.0.0.1}", "node-1: {address: 10.0.0.11}")
    script = (
        "mount --bind output/nodes/node-1 output/nodes/node-1 && mount -o remount,bind,ro output/nodes/node-1 &&"
        " exec podlan compile site -o output"
    )
    before = everything(compiled.path)
    done = in_namespace(compiled, script)
    assert done.returncode == 4
    assert "output/nodes/node-1" in done.stderr
    assert everything(compiled.path) == before


def in_namespace(project, script):
    script = script.replace("podlan compile", f"{shlex.quote(sys.executable)} -m podlan compile")
    command = ["unshare", "-m", "sh", "-c", script]
    return subprocess.run(command, cwd=project.path, text=True, capture_output=True, check=False)


def test_a_link_to_the_output_itself_is_the_user_s_choice(project):
    (project.path / "real").mkdir()
    project.out.symlink_to("real")
    project.compile()
    project.compile("--check")
    assert (project.path / "real/nodes/node-1/plan.json").is_file()


def test_what_a_killed_run_left_is_removed_also_when_nothing_else_differs(compiled):
    expected = everything(compiled.path)
    (compiled.out / ".podlan-stage/nodes/node-1").mkdir(parents=True)
    (compiled.out / ".podlan-stage/nodes/node-1/boot.sh").write_text("half", encoding="utf-8")
    (compiled.site / ".podlan.lock.0123456789abcdef.podlan-tmp").write_text("half", encoding="utf-8")
    assert "0 written, 0 removed" in compiled.compile().stdout
    assert everything(compiled.path) == expected


def test_files_and_directories_of_others_are_never_removed(compiled):
    """Only what a node's manifest lists is podlan's, also where the node is gone."""
    mine = [
        *("README", "nodes/attic/notes", "nodes/node-1/manifest.json.sig", "nodes/node-2/rootfs/notes", "nodes/x.txt"),
        *("cluster/mine.yaml", "cluster/kustomization/mine.yaml"),
    ]
    for name in mine:
        (compiled.out / name).parent.mkdir(exist_ok=True)
        (compiled.out / name).write_text("mine", encoding="utf-8")
    (compiled.out / "nodes/node-2/link").symlink_to("/etc")
    (compiled.out / "nodes/attic/manifest.json").symlink_to("notes")
    compiled.compile("--check")
    compiled.change("  node-2: {address: 10.0.0.2}\n", "")
    manifest = json.loads((compiled.out / "nodes/node-2/manifest.json").read_text(encoding="utf-8"))
    assert f"{len(manifest['files']) + 1} removed" in compiled.compile().stdout
    compiled.compile("--check")
    assert {f"output/{name}" for name in mine} <= compiled.tree().keys()
    assert sorted(everything(compiled.out / "nodes/node-2")) == ["link", "rootfs", "rootfs/notes"]


@pytest.mark.parametrize("text", [None, "", "[]", '{"node": "node-2", "files": {"a": ""}}'])
def test_without_a_manifest_of_podlan_nothing_is_podlan_s_to_remove_but_what_is_wanted_is_written(compiled, text):
    for node in ("node-1", "node-2"):
        manifest = compiled.out / f"nodes/{node}/manifest.json"
        (manifest.parent / "a").write_text("mine", encoding="utf-8")
        manifest.unlink()
        if text is not None:
            manifest.write_text(text, encoding="utf-8")
    compiled.change("  node-2: {address: 10.0.0.2}\n", "")
    assert "removed" in compiled.compile().stdout
    assert (compiled.out / "nodes/node-1/a").exists()
    assert (compiled.out / "nodes/node-2/boot.sh").exists()
    compiled.compile("--check")


@pytest.mark.parametrize("name", ["../../../site/site.yaml", "/etc/hostname", "rootfs/../../node-1/boot.sh", ""])
def test_no_manifest_can_have_files_of_others_removed(compiled, name):
    manifest = compiled.out / "nodes/node-2/manifest.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace('"boot.sh":', f'"{name}": "", "boot.sh":'), encoding="utf-8")
    compiled.change("  node-2: {address: 10.0.0.2}\n", "")
    assert "0 removed" in compiled.compile().stdout
    assert (compiled.out / "nodes/node-2/boot.sh").exists()


def test_a_file_that_podlan_wrote_earlier_goes_with_the_directories_that_it_leaves_empty(compiled):
    file = had(compiled, "nodes/node-1", "rootfs/etc/old/place.conf")
    assert "1 removed" in compiled.compile().stdout
    assert not file.parent.exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"node": "cluster", "files": {"a": ""}}', '{"podlan": "1", "files": {"a": ""}}']
)
def test_without_a_manifest_of_podlan_nothing_of_the_cluster_is_removed(compiled, text):
    (compiled.out / "cluster/a").write_text("mine", encoding="utf-8")
    (compiled.out / "cluster/manifest.json").write_text(text, encoding="utf-8")
    assert "1 written, 0 removed" in compiled.compile().stdout
    assert (compiled.out / "cluster/a").exists()
    compiled.compile("--check")


def test_a_file_of_the_cluster_that_podlan_wrote_earlier_goes(compiled):
    file = had(compiled, "cluster", "old/place.yaml")
    said = compiled.compile("--check", code=3).stdout.splitlines()
    assert said == ["stale output/cluster/manifest.json", "orphaned output/cluster/old/place.yaml"]
    assert "1 written, 1 removed" in compiled.compile().stdout
    assert not file.parent.exists()


def test_a_node_called_cluster_is_a_node_like_any_other(compiled):
    compiled.change("  node-3:", "  cluster: {address: 10.0.0.4}\n  node-3:")
    compiled.compile()
    compiled.change("  cluster: {address: 10.0.0.4}\n", "")
    compiled.compile()
    assert not (compiled.out / "nodes/cluster").exists()
    assert (compiled.out / "cluster/smoke.yaml").is_file()
    compiled.compile("--check")


def test_nothing_of_the_cluster_changes_when_a_node_comes_goes_or_moves(compiled):
    before = everything(compiled.out / "cluster")
    compiled.change("  node-3: {address: 10.0.0.3}\n", "  node-4: {address: 10.0.0.4, pods: 3}\n")
    compiled.change("node-1: {address: 10.0.0.1}", "node-1: {address: 10.0.0.11, masters: {uplink: {interface: eth1}}}")
    compiled.compile()
    assert everything(compiled.out / "cluster") == before


def test_the_cluster_alone_is_written_anew_when_only_it_differs(compiled):
    (compiled.out / "cluster/smoke.yaml").write_text("old", encoding="utf-8")
    assert compiled.compile("--check", code=3).stdout == "stale output/cluster/smoke.yaml\n"
    assert "1 written, 0 removed" in compiled.compile().stdout
    shutil.rmtree(compiled.out / "cluster")
    assert "2 written, 0 removed" in compiled.compile().stdout


def test_a_site_inside_an_output_s_own_directory_is_refused(project):
    project.site.rename(project.path / "moved")
    (project.out / "cluster").mkdir(parents=True)
    (project.path / "moved").rename(project.out / "cluster/site")
    said = project.run("compile", "output/cluster/site", "-o", "output", code=1).stderr
    assert "lie inside each other" in said


def test_an_output_is_one_site_s(compiled):
    other = compiled.path / "other"
    other.mkdir()
    (other / "site.yaml").write_text(
        compiled.file.read_text(encoding="utf-8").replace("site: test", "site: other"), encoding="utf-8"
    )
    before = everything(compiled.path)
    for option in ((), ("--check",)):
        said = compiled.run("compile", "other", "-o", "output", *option, code=1).stderr
        assert "output holds the nodes of site test; choose another directory" in said
    assert everything(compiled.path) == before


def test_the_marker_of_the_site_is_a_file_like_any_other(compiled):
    marker = compiled.out / "site.json"
    assert marker.read_text(encoding="utf-8") == '{\n  "version": 1,\n  "site": "test"\n}\n'
    marker.unlink()
    assert compiled.compile("--check", code=3).stdout == "missing output/site.json\n"
    compiled.compile()
    marker.write_text('{"site": "test"}', encoding="utf-8")
    assert compiled.compile("--check", code=3).stdout == "stale output/site.json\n"
    marker.write_text('{"name": "my web page"}', encoding="utf-8")
    assert "is not podlan's" in compiled.compile(code=4).stderr


def test_the_audit_and_the_review_see_no_node_in_the_marker(compiled):
    compiled.run("audit", "output")
    compiled.run("diff", "output", "site")


def test_without_its_lock_an_output_is_not_compiled_again(compiled):
    compiled.lock.unlink()
    before = everything(compiled.path)
    for option in ((), ("--check",), ("--locked",)):
        said = compiled.compile(*option, code=1).stderr
        assert "there is no site/podlan.lock, but output holds compiled nodes" in said
        assert "restore it from version control" in said
    assert everything(compiled.path) == before
    shutil.rmtree(compiled.out)
    compiled.compile()


def test_an_emptied_site_is_an_error_and_not_the_end_of_all_nodes(compiled):
    for text in (compiled.file.read_text(encoding="utf-8").partition("nodes:")[0], ""):
        compiled.write(text or "version: 1\n")
        before = everything(compiled.path)
        compiled.compile(code=1)
        assert everything(compiled.path) == before
    compiled.write(before_nodes(compiled))


def before_nodes(project):
    return project.file.read_text(encoding="utf-8").partition("nodes:")[0]


def test_an_emptied_site_is_told_with_its_place(compiled):
    compiled.write(before_nodes(compiled) + "nodes: {}\n")
    said = compiled.run("check", "site", code=1).stdout
    assert "site/site.yaml:13:1: error[PL510]: the site has no nodes, but the lock holds slices of 3 nodes" in said
    assert "if the site really ends, delete podlan.lock" in said


def test_two_sites_in_one_directory_do_not_share_a_lock(project):
    """The lock stands beside the file, whatever the file is called."""
    project.run("compile", "site/site.yaml", "-o", "output")
    other = project.site / "other.yaml"
    other.write_text(project.file.read_text(encoding="utf-8").replace("site: test", "site: other"), encoding="utf-8")
    before = everything(project.path)
    said = project.run("compile", "site/other.yaml", "-o", "elsewhere", code=1).stderr
    assert "site/other.yaml:2:7: error[PL506]: the site is other, but the lock is of site test" in said
    assert everything(project.path) == before


def test_an_output_beside_the_site_s_only_file_waits_for_nobody(project):
    (project.path / "site.yaml").write_text(project.file.read_text(encoding="utf-8"), encoding="utf-8")
    began = time.monotonic()
    project.run("compile", "site.yaml", "-o", ".")
    project.run("compile", "site.yaml", "-o", "site/..", "--locked")
    assert time.monotonic() - began < 20


def test_the_lock_is_written_like_any_file_and_through_no_link(compiled):
    """The temporary's name cannot be known beforehand."""
    victim = compiled.path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (compiled.site / ".podlan.lock.podlan-tmp").symlink_to(victim)
    compiled.change("  node-3:", "  node-4: {address: 10.0.0.4}\n  node-3:")
    before = os.umask(0o027)
    try:
        compiled.compile()
    finally:
        os.umask(before)
    assert victim.read_text(encoding="utf-8") == "mine"
    assert stat.S_IMODE(compiled.lock.stat().st_mode) == 0o640


def test_marks_of_a_merge_without_consequence_are_told(compiled):
    lines = compiled.lock.read_text(encoding="utf-8").splitlines(keepends=True)
    compiled.lock.write_text(
        "".join([*lines[:-1], "<<<<<<< a\n", lines[-1], "=======\n", ">>>>>>> b\n"]), encoding="utf-8"
    )
    said = compiled.compile("--check", code=3)
    assert said.stdout == "podlan.lock: to be written anew (marks of a merge)\n"
    compiled.compile()
    assert compiled.lock.read_text(encoding="utf-8") == "".join(lines)


def test_a_lock_in_another_order_is_told(compiled):
    lines = compiled.lock.read_text(encoding="utf-8").splitlines(keepends=True)
    compiled.lock.write_text("".join([lines[0], *reversed(lines[1:])]), encoding="utf-8")
    assert "to be written anew (the same facts, in another form)" in compiled.compile("--check", code=3).stdout


def test_the_command_that_mends_can_be_pasted_and_decides_what_was_decided(project):
    project.site.rename(project.path / "my site")
    project.run("compile", "my site", "-o", "out put")
    file = project.path / "my site/site.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("0.1}", "0.1, pods: 40}"), encoding="utf-8")
    said = project.run(
        *("compile", "my site", "-o", "out put", "--check", "--move", "node-1", "--shrink", "node-2"), code=3
    ).stderr
    (command,) = [line for line in said.splitlines() if line.startswith("run: ")]
    words = shlex.split(command.removeprefix("run: "))
    assert words == ["podlan", "compile", "my site", "-o", "out put", "--move", "node-1", "--shrink", "node-2"]
    project.run(*words[1:])
    project.run("compile", "my site", "-o", "out put", "--check")


def test_what_the_lock_loses_is_told_first_and_the_rest_is_cut_at_max(compiled):
    more = "".join(f"  a{number}: {{pods: 1}}\n" for number in range(4))
    compiled.change("nodes:\n", "nodes:\n" + more)
    compiled.change("node-2: {address: 10.0.0.2}", "node-2: {address: 10.0.0.2, pods: 40}")
    said = compiled.compile("--check", "--move", "node-2", code=3).stdout.splitlines()
    assert said[0] == "podlan.lock: -slice lan node-2 10.0.0.32-10.0.0.47"
    assert said[1].startswith("podlan.lock: +slice lan node-2 ")
    assert not [line for line in said if "more" in line]
    cut = compiled.compile("--check", "--move", "node-2", "--max", "3", code=3).stdout.splitlines()
    assert cut == [*said[:3], f"… and {len(said) - 3} more"]
