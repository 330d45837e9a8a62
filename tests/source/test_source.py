"""Reading a site: every key and value keeps its place, whatever the file looks like."""

from __future__ import annotations

import json
import os
import string
import subprocess
from pathlib import Path

import pytest
from _ruamel_yaml import CParser
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from podlan.source import CannotRead, Source, line_times, read_site, text_at
from podlan.source._document import parse


def source_of(text: str) -> Source:
    source = Source(Path("x.yaml"))
    source.texts["x.yaml"] = text
    source.add(parse("x.yaml", text))
    return source


def test_the_fast_parser_is_the_one_in_c():
    """ruamel.yaml falls back to its Python parser without a word when ruamel.yaml.clib is missing."""
    assert YAML(typ="safe").Parser is CParser


def test_every_key_and_value_has_a_place():
    source = source_of("a:\n  b: [1, {c: 'x'}]\nnodes:\n  n1: {d: e}\n")
    assert source.written(source.place(("a", "b", 1, "c"))) == "'x'"
    assert source.written(source.place(("a", "b", 1, "c"), key=True)) == "c"
    assert source.written(source.place(("nodes", "n1", "d"))) == "e"
    assert source.written(source.place(("nodes", "n1"), key=True)) == "n1"


def test_what_is_not_written_has_the_place_of_its_nearest_ancestor():
    source = source_of("nodes:\n  n1: {d: e}\n")
    assert source.written(source.place(("nodes", "n1", "address"))) == "n1"
    assert source.place(("nowhere",)).line == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-5", -5),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1e3", "1e3"),
        ("1:20", "1:20"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("2024-01-02", "2024-01-02"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1.30", 1.3),
        ("1.1.1", "1.1.1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_scalars_are_typed_by_few_rules(text, value):
    data = source_of(f"a: {text}\n").data["a"]
    assert data == value
    assert type(data) is type(value)


def test_windows_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    source = read_site(tmp_path)
    assert source.data == {"a": 1, "b": 2}
    assert not source.findings


def test_another_encoding_is_a_finding_with_its_place(tmp_path):
    (tmp_path / "a.yaml").write_bytes("site: schön\n".encode("latin-1"))
    (finding,) = read_site(tmp_path).findings
    assert (finding.code, finding.place.line, finding.place.column) == ("PL010", 1, 10)


def test_subdirectories_are_read_but_not_hidden_ones_nor_templates(tmp_path):
    for path in ("a.yaml", "racks/b.yaml", ".git/c.yaml", "templates/d.yaml", "notes.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"{Path(path).stem}: 1\n", encoding="utf-8")
    assert set(read_site(tmp_path).data) == {"a", "b"}


def test_a_file_named_yml_is_refused_by_name(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "b.yml").write_text("b: 1\n", encoding="utf-8")
    (finding,) = read_site(tmp_path).findings
    assert finding.code == "PL006"
    assert finding.hint == "rename it to b.yaml"


def test_a_link_out_of_the_site_is_not_read(tmp_path):
    (tmp_path / "secret.yaml").write_text("password: x\n", encoding="utf-8")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/a.yaml").symlink_to(tmp_path / "secret.yaml")
    source = read_site(tmp_path / "site")
    assert [finding.code for finding in source.findings] == ["PL014"]
    assert source.data == {}


def test_a_loop_of_links_is_an_error_of_the_operating_system(tmp_path):
    (tmp_path / "a.yaml").symlink_to(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").symlink_to(tmp_path / "a.yaml")
    with pytest.raises(CannotRead, match=r"a\.yaml"):
        read_site(tmp_path)


def test_a_link_to_a_directory_is_not_followed_and_that_is_said(tmp_path):
    """Nobody may believe that the nodes in it are checked."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site/racks").mkdir(parents=True)
    (tmp_path / "site/a.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "site/out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "site/within").symlink_to("racks")
    (tmp_path / "site/templates").symlink_to(tmp_path / "elsewhere")
    source = read_site(tmp_path / "site")
    assert [(finding.code, finding.message) for finding in source.findings] == [
        ("PL014", "a symbolic link that leads out of the site is not read"),
        ("PL014", "a symbolic link to a directory is not followed"),
    ]
    assert not source.complete


@pytest.mark.parametrize("is_alone", [False, True])
def test_a_pipe_is_not_read_for_it_may_never_end(tmp_path, is_alone):
    os.mkfifo(tmp_path / "a.yaml")
    source = read_site(tmp_path / "a.yaml" if is_alone else tmp_path)
    assert [finding.code for finding in source.findings] == ["PL015"]
    assert not source.complete


def test_a_device_behind_a_link_is_not_read_either(tmp_path):
    (tmp_path / "a.yaml").symlink_to("/dev/zero")
    assert [finding.code for finding in read_site(tmp_path / "a.yaml").findings] == ["PL015"]


@pytest.mark.parametrize(
    ("text", "line", "mark"),
    [
        ("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", 2, "<<<<<<<"),
        ("a: 1\n>>>>>>> theirs\n", 2, ">>>>>>>"),
        ("||||||| base\n", 1, "|||||||"),
        ("=======\n", 1, "======="),
    ],
)
def test_the_marks_of_a_merge_are_called_by_their_name(text, line, mark):
    source = source_of(text)
    (finding,) = source.findings
    assert (finding.code, finding.place.line) == ("PL002", line)
    assert "merge" in finding.message
    assert source.written(finding.place) == mark


def test_marks_in_text_or_in_a_comment_are_none():
    source = source_of("a: |\n  <<<<<<< HEAD\n# ======= a line\nb: '======='\n")
    assert not source.findings
    assert source.complete


def test_what_a_parser_cannot_do_is_a_finding_and_no_traceback():
    (finding,) = source_of("%YAML 1.3\n---\na: b\n").findings
    assert (finding.code, finding.place.line) == ("PL002", 1)
    assert "%" in finding.hint


@pytest.mark.parametrize("text", ["- fd00::\n", "{fd00::}\n", "{'fd00:'}\n", "- ab12:c::\n"])
def test_an_address_that_yaml_takes_for_a_key_is_to_be_quoted(text):
    document = parse("x.yaml", text)
    written = text.strip("-{}' \n").rstrip(":") + "::"
    assert [finding.hint for finding in document.findings if finding.code == "PL013"] == [f'quote it: "{written}"']


@pytest.mark.parametrize("text", ["{address:}\n", "{a:, b: c}\n", "{feed:}\n"])
def test_a_value_left_out_in_braces_is_said_to_be_missing(text):
    document = parse("x.yaml", text)
    (finding,) = [finding for finding in document.findings if finding.code == "PL013"]
    key = text[1 : text.index(":")]
    assert finding.message == f"a value is missing behind `{key}:`"
    assert document.data[key] is None


def test_git_may_give_bytes_that_are_no_text(tmp_path):
    (tmp_path / "podlan.lock").write_bytes(b"podlan.lock 1\n\xff\xfe\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *command], cwd=tmp_path, check=True)
    assert text_at(tmp_path / "podlan.lock", "HEAD") == "podlan.lock 1\n\ufffd\ufffd\n"
    assert line_times(tmp_path / "podlan.lock")


def test_a_directory_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    with pytest.raises(CannotRead, match=r"nowhere\.yaml"):
        read_site(tmp_path / "nowhere.yaml")


def test_sections_are_joined_over_files_and_a_name_twice_shows_both_places(tmp_path):
    (tmp_path / "a.yaml").write_text("nodes:\n  n1: {}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("nodes:\n  n2: {}\n  n1: {}\n", encoding="utf-8")
    source = read_site(tmp_path)
    assert set(source.data["nodes"]) == {"n1", "n2"}
    (finding,) = source.findings
    assert (finding.code, Path(finding.place.file).name, finding.place.line) == ("PL008", "b.yaml", 3)
    assert (Path(finding.also[0].file).name, finding.also[0].line) == ("a.yaml", 2)
    assert Path(source.place(("nodes", "n2")).file).name == "b.yaml"


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000, "a: " + "x" * 10_000_000])
def test_a_hostile_file_ends_soon_and_without_a_traceback(text):
    document = parse("x.yaml", text)
    assert document.findings or document.data is not None


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(string.printable, max_size=12),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text("abc", min_size=1), children, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=5), trees, min_size=1))
def test_json_is_read_as_json_reads_it(data):
    source = source_of(json.dumps(data))
    assert source.data == data
    assert not [finding for finding in source.findings if finding.code != "PL007"]


@given(st.text(max_size=60))
def test_no_text_ends_in_a_traceback(text):
    document = parse("x.yaml", text)
    for finding in document.findings:
        assert finding.place.line >= 1
