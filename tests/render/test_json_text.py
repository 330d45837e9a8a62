"""JSON is written as the standard library would write it, only faster."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from podlan.render._artifact import json_text

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(values)
def test_the_bytes_are_those_of_the_standard_library(value):
    assert json_text(value) == (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
