"""What the codes mean that are found by other stages than the rules; the text is stages.md, beside this file."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from podlan.diagnostics import Explanation

_SECTION = re.compile(r"^## (PL[0-9]{3}) ([^\n]+)\n\n(.*?)\n*(?=^## |\Z)", re.MULTILINE | re.DOTALL)


@cache
def stages() -> dict[str, Explanation]:
    """Give the explanations by code."""
    text = (files(__package__) / "stages.md").read_text(encoding="utf-8")
    return {code: Explanation(code, title, body) for code, title, body in _SECTION.findall(text)}
