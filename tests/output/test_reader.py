"""What stands in an output is believed only where it is a file."""

from __future__ import annotations

import os

import pytest

from podlan.output import CannotWrite, Reader


@pytest.fixture
def reader(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    return Reader(tmp_path)


def test_a_file_is_the_same_only_byte_for_byte(reader):
    wanted = {b"abc": True, b"abd": False, b"ab": False, b"abcd": False, b"": False}
    assert {content: reader.is_same("file", content) for content in wanted} == wanted
    assert reader.is_same("nothing", b"abc") is None


def test_what_gives_no_bytes_is_no_empty_file(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    for name in ("pipe", "directory"):
        with pytest.raises(CannotWrite, match="a file must stand there"):
            reader.is_same(name, b"")
        with pytest.raises(CannotWrite, match="a file must stand there"):
            reader.content(name)


def test_a_reader_learns_nothing_from_one_that_it_was_the_model_of(reader, tmp_path):
    other = reader.fork()
    assert not other.is_directory("late")
    (tmp_path / "late").mkdir()
    assert reader.is_directory("late")
