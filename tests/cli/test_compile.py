"""The command line as CI and people use it: what is written, what is refused, and how each run ends."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from outputs import had

from podlan import pipeline


def test_a_second_compile_changes_nothing_and_says_so(project):
    assert "36 written" in project.compile().stdout
    before = project.tree()
    assert "0 written, 0 removed, 36 unchanged" in project.compile().stdout
    assert project.tree() == before


def test_check_names_what_is_stale_missing_and_orphaned_and_the_command_that_mends_it(project):
    project.compile()
    project.compile("--check")
    (project.out / "nodes/node-1/boot.sh").write_text("changed", encoding="utf-8")
    (project.out / "nodes/node-2/plan.json").unlink()
    had(project, "nodes/node-3", "rootfs/extra")
    before = project.tree()
    said = project.compile("--check", code=3)
    assert said.stdout.splitlines() == [
        "missing output/nodes/node-2/plan.json",
        "stale output/nodes/node-1/boot.sh",
        "stale output/nodes/node-3/manifest.json",
        "orphaned output/nodes/node-3/rootfs/extra",
    ]
    assert "run: podlan compile site -o output" in said.stderr
    assert project.tree() == before
    project.compile()
    project.compile("--check")


def test_check_fails_where_the_lock_would_change(project):
    project.compile()
    project.change("  node-3:", "  node-4: {address: 10.0.0.4}\n  node-3:")
    said = project.compile("--check", code=3)
    assert "podlan.lock: +slice lan node-4" in said.stdout


def test_locked_writes_nothing_where_the_lock_would_change(project):
    project.compile()
    before = project.tree()
    project.compile("--locked")
    project.change("  node-3:", "  node-4: {address: 10.0.0.4}\n  node-3:")
    project.compile("--locked", code=3)
    after = project.tree()
    after.pop("site/site.yaml")
    before.pop("site/site.yaml")
    assert after == before


def test_a_node_that_is_gone_leaves_the_output_and_its_slice_is_quarantined_until_released(project):
    project.compile()
    project.change("  node-2: {address: 10.0.0.2}\n", "")
    said = project.compile()
    assert "11 removed" in said.stdout
    assert not (project.out / "nodes/node-2").exists()
    assert "quarantine lan node-2 10.0.0.32-10.0.0.47" in project.lock.read_text(encoding="utf-8")
    assert "released 10.0.0.32-47 of lan, once node-2's" in project.run("release", "site", "node-2").stdout
    assert "quarantine" not in project.lock.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: [1"),
        ("10.0.0.1}", "10.0.0.2}"),
        ("podsPerNode: 10", "podsPerNode: 128"),
        ("name: pods", "name: other"),
    ],
)
def test_a_failed_compile_leaves_output_and_lock_as_they_were(project, old, new):
    project.compile()
    before = project.tree()
    project.change(old, new)
    changed = project.tree()
    project.compile(code=1)
    assert project.tree() == changed
    assert {key: value for key, value in changed.items() if "site.yaml" not in key} == {
        key: value for key, value in before.items() if "site.yaml" not in key
    }


def test_a_failed_first_compile_writes_nothing_at_all(project):
    project.change("podsPerNode: 10", "podsPerNode: 128")
    project.compile(code=1)
    assert set(project.tree()) == {"site/site.yaml"}
    assert not project.out.exists()


@pytest.mark.parametrize("out", ["site", "site/output", "site/../site/x"])
def test_an_output_inside_the_site_is_refused(project, out):
    said = project.run("compile", "site", "-o", out, code=1)
    assert "lie inside each other" in said.stderr
    assert set(project.tree()) == {"site/site.yaml"}


def test_a_site_that_is_a_file_has_its_lock_beside_it(project):
    project.run("compile", "site/site.yaml", "-o", "output")
    assert project.lock.exists()
    project.run("compile", "site", "-o", "output", "--check")


def test_the_same_bytes_come_of_one_file_or_many_in_any_order_and_locale(project):
    project.compile()
    expected = {key: value for key, value in project.tree().items() if key.startswith("output/")}
    text = project.file.read_text(encoding="utf-8")
    head, _, nodes = text.partition("nodes:\n")
    project.write(head + "nodes:\n" + "".join(reversed(nodes.splitlines(keepends=True)[1:])))
    (project.site / "racks").mkdir()
    (project.site / "racks/first.yaml").write_text("nodes:\n" + nodes.splitlines(keepends=True)[0], encoding="utf-8")
    for value in ("C", "tr_TR.UTF-8"):
        project.lock.unlink()
        shutil.rmtree(project.out)
        env = {**os.environ, "LC_ALL": value, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
        project.run("compile", "site", "-o", "output", env=env)
        assert {key: value for key, value in project.tree().items() if key.startswith("output/")} == expected


def test_a_read_only_output_is_a_clear_error_and_the_lock_is_not_written(project):
    """Root ignores modes, so a file stands where a directory must be."""
    project.out.write_text("a file", encoding="utf-8")
    said = project.run("compile", "site", "-o", "output/x", code=4)
    assert "cannot write output/x" in said.stderr
    assert not project.lock.exists()


@pytest.mark.kernel
def test_a_full_disk_leaves_output_and_lock_as_they_were(project):
    """The site lies on one file system and the output on another that is full."""
    script = f"""
set -e
mkdir -p output
mount -t tmpfs -o size=64k,nr_inodes=60 none output
head -c 36k /dev/zero > output/filler
set +e
{shlex.quote(sys.executable)} -m podlan compile site -o output
code=$?
find output | sort
exit $code
"""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=project.path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "No space left on device" in done.stderr
    assert done.stdout.split() == ["output", "output/filler"]
    assert not project.lock.exists()


def test_a_compile_killed_anywhere_is_finished_by_the_next(project):
    """Whatever moment the kill hits, the next compile ends where an undisturbed one does."""
    more = "".join(f"  extra-{number}: {{pods: 1}}\n" for number in range(60))
    project.change("nodes:\n", "nodes:\n" + more)
    project.compile()
    expected = project.tree()
    for delay in range(12):
        for path in project.out.glob("nodes/*/boot.sh"):
            path.unlink()
        process = subprocess.Popen(
            [sys.executable, "-m", "podlan", "compile", "site", "-o", "output"],
            cwd=project.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.15 + delay * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        pipeline.compile_site(project.site, project.out)
        assert project.tree() == expected


def test_two_compiles_at_once_take_turns(project):
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "podlan", "compile", "site", "-o", "output"],
            cwd=project.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    project.compile("--check")


def test_findings_come_as_json_for_programs(project):
    project.change("10.0.0.2}", "10.0.0.1}")
    said = json.loads(project.run("check", "site", "--format", "json", code=1).stdout)
    (finding,) = said["findings"]
    assert finding["code"] == "PL204"
    assert finding["place"] == {
        "file": "site/site.yaml",
        "line": 15,
        "column": 21,
        "length": 8,
        "label": "",
        "path": ["nodes", "node-2", "address"],
    }
    assert finding["also"][0]["line"] == 14


def test_findings_are_text_with_the_line_and_a_caret_and_no_colour_in_a_pipe(project):
    project.change("10.0.0.2}", "10.0.0.1}")
    assert project.run("check", "site", code=1).stdout.splitlines() == [
        "site/site.yaml:15:21: error[PL204]: node-2 has the address 10.0.0.1 of node-1",
        "    15 |   node-2: {address: 10.0.0.1}",
        "       |                     ^^^^^^^^",
        "  site/site.yaml:14:21: node-1 has it here",
        "    14 |   node-1: {address: 10.0.0.1}",
        "       |                     ^^^^^^^^",
        "  hint: give one of them another address",
        "1 error",
    ]


def test_many_findings_are_capped_and_counted(project):
    project.change("nodes:\n", "nodes:\n" + "".join(f"  x{number}: {{foo: 1}}\n" for number in range(30)))
    said = project.run("check", "site", "--max", "5", code=1).stdout
    assert said.count("error[") == 5
    assert said.endswith("… and 25 more\n30 errors\n")


@pytest.mark.parametrize(
    "arguments", [["check", "nowhere"], ["compile", "site"], ["reconcil"], ["check", "--foo", "site"]]
)
def test_wrong_usage_ends_with_two(project, arguments):
    project.run(*arguments, code=2)


def test_an_empty_directory_is_no_site(project):
    project.file.unlink()
    assert "holds no *.yaml file" in project.run("check", "site", code=1).stdout


def test_a_lock_that_cannot_be_read_is_never_overwritten(project):
    project.lock.write_text("podlan.lock 1\nslice lan node-1\n", encoding="utf-8")
    before = project.tree()
    project.compile(code=1)
    assert project.tree() == before


def test_moving_a_node_that_is_not_there_is_refused(project):
    assert "there is no node node-9 to move" in project.compile("--move", "node-9", code=1).stderr


def test_nobody_reads_our_output_any_more(project):
    command = f"{shlex.quote(sys.executable)} -m podlan check site --format json | true"
    done = subprocess.run(["sh", "-c", command], cwd=project.path, text=True, capture_output=True, check=False)
    assert "Traceback" not in done.stderr


def test_help_teaches_and_needs_no_heavy_import(project):
    said = project.run("--help").stdout
    for command in ("check", "compile", "release", "reconcile", "lab"):
        assert f"  {command} " in said
    assert "75  not ready or busy" in said
    code = (
        "import sys, podlan.cli; sys.exit(any(m in sys.modules for m in ('pydantic', 'jinja2', 'ruamel', 'pyroute2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
