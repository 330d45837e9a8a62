"""No input ends in a traceback, and none takes long; whatever it is, podlan says what is wrong with it, and where."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from documents import LOCK, NEAR_YAML, SITE, SITES, STYLES, VALUES, broken, corpus, flow_style
from hypothesis import example, given
from hypothesis import strategies as st
from judging import examples, judge, write

from podlan import pipeline
from podlan.diagnostics import PodlanError

SECTIONS = ("subnets", "masters", "profiles", "nodes")
FILES = st.sampled_from(["a.yaml", "b.yaml", "c.yml", "racks/d.yaml", ".e.yaml", "templates/f.yaml", "\udcff.yaml"])
LOCK_LINES = st.builds(
    "{} {} {} {}".format,
    st.sampled_from(["slice", "shim", "quarantine", "meta", "other"]),
    st.sampled_from(["lan", "lan6", "gone", "name", "site"]),
    st.sampled_from(["a", "b", "c", "gone", "n1.dc1"]),
    VALUES | st.sampled_from(["10.0.0.8-10.0.0.15", "10.0.0.253", "10.0.0.40-10.0.0.47,10.0.0.56-10.0.0.57"]),
)


def test_the_site_that_the_others_stand_near_is_accepted():
    checked = judge({"site.yaml": flow_style(SITE), "podlan.lock": LOCK})
    assert checked is not None
    assert not checked.failed, checked.findings


@examples(70)
@given(st.binary(max_size=200))
@example(b"\xff\xfe" + "version: 1\n".encode("utf-16-le"))
@example(b"\xef\xbb\xbf\xef\xbb\xbfversion: 1\n")
def test_any_bytes(content):
    judge({"site.yaml": content})


@examples(200)
@given(NEAR_YAML)
@example('"[key]": 1\nversion: 1\n')
@example("version: 1\nnodes:\n  :\n    \n")
@example("version: 1\nnodes:\n  ?\n")
def test_any_text_of_the_words_of_yaml(text):
    judge({"site.yaml": text})


@examples(100)
@given(SITES, STYLES)
def test_any_document_of_the_inventorys_keys(data, style):
    judge({"site.yaml": style(data)})


@examples(200)
@given(broken(st.sampled_from(corpus("yaml"))))
def test_any_site_that_a_hand_slipped_over(text):
    judge({"site.yaml": text})


@examples(100)
@given(broken(st.sampled_from([LOCK, *corpus("lock")])), st.lists(LOCK_LINES, max_size=3))
def test_any_lock(text, lines):
    files = {"site.yaml": flow_style(SITE), "podlan.lock": text + "".join(f"{line}\n" for line in lines)}
    judge(files)
    with TemporaryDirectory() as directory, suppress(PodlanError):
        pipeline.release(write(Path(directory), files), ["a"])


@examples(30)
@given(st.binary(max_size=100))
def test_any_bytes_for_a_lock(content):
    judge({"site.yaml": flow_style(SITE), "podlan.lock": content})


@examples(70)
@given(
    SITES, STYLES, st.lists(st.tuples(FILES, st.sampled_from(SECTIONS)), max_size=4), broken(st.just(flow_style(SITE)))
)
def test_any_site_in_several_files(data, style, parts, slip):
    """Sections go to other files, now and then to two of them, and one more file is anything."""
    files: dict[str, str] = {}
    left = dict(data) if isinstance(data, dict) else SITE
    for number, (name, section) in enumerate(parts):
        part = left.pop(section, None) if number % 2 else left.get(section)
        files[name] = style({section: part})
    judge({**files, "z.yaml": style(left)})
    judge({**files, "z.yaml": style(left), "slip.yaml": slip})
