"""JSON is written as the standard library would write it, only faster; a number with a fraction means the same."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from podlan.plan import Address, File, Link, Plan, Release, Route, document, encode
from podlan.render._artifact import json_text

# What the inventory's loader takes for a whole number has 18 digits at the most.
whole = st.integers(-(10**18), 10**18)
scalars = st.none() | st.booleans() | whole | st.text(st.characters(codec="utf-8"))


def nested(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=20,
    )


@given(nested(scalars))
def test_the_bytes_are_those_of_the_standard_library(value):
    assert json_text(value) == (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


@given(nested(scalars | st.floats(allow_nan=False, allow_infinity=False)))
def test_what_is_read_back_is_what_was_written(value):
    assert json.loads(json_text(value)) == value


words = st.text(st.characters(codec="utf-8"), max_size=5)
several = st.lists(words, max_size=2).map(tuple)
links = st.builds(Link, words, st.sampled_from(["master", "macvlan"]), st.none() | st.booleans(), altnames=several)
addresses = st.builds(Address, words, words, st.integers(0, 2), st.booleans(), st.booleans())
routes = st.builds(Route, words, words, words, metric=st.integers(0, 2), replaces=st.booleans())
files = st.builds(File, words, block=several, needs=several, start=st.booleans())
releases = st.none() | st.builds(Release, words, words, words, words, several)


def some(items):
    return st.lists(items, max_size=3).map(tuple)


@given(
    st.builds(
        Plan,
        words,
        some(links),
        some(addresses),
        some(routes),
        st.dictionaries(words, words),
        some(files),
        release=releases,
    )
)
def test_a_plan_s_records_are_written_as_the_objects_that_they_stand_for(plan):
    """Many in one process: what is kept of one must never show in another that is like it (1 is True, and 1.0)."""
    assert json_text(document(plan)) == (json.dumps(encode(plan), indent=2, ensure_ascii=False) + "\n").encode()
