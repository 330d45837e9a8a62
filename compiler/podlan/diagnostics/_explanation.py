"""What a code stands for: a text with headings, its parts, and the two forms in which it is shown."""

from __future__ import annotations

import re
import textwrap

from podlan.records import dataclass

_HEADING = re.compile(r"^(Why|Source|Example|Instead|Do):(?: |$)", re.MULTILINE)
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code stands for: `title` in a few words, and a `text` in this form.

    It begins with what holds. Then come `Why:`, `Source:`, `Example:` (what the code is reported for), `Instead:`
    (the repair) and `Do:` (the repair, where no example can show it), as many as there are, each at the beginning of
    a line. Paragraphs and blocks are separated by empty lines; the lines of a block are indented by four spaces.
    """

    code: str
    title: str
    text: str

    @property
    def parts(self) -> dict[str, str]:
        """Give the text by its headings, in their order; what stands before the first is `What`."""
        what, *rest = _HEADING.split(self.text)
        found = {"What": what, **dict(zip(rest[::2], rest[1::2], strict=True))}
        return {name: body.strip("\n").rstrip() for name, body in found.items() if body.strip()}

    def plain(self, width: int = 0) -> str:
        """Give the text for a terminal; paragraphs are filled to `width`, where it is given."""
        shown = []
        for name, body in self.parts.items():
            heading = "" if name == "What" else f"{name}:"
            if is_block(body):
                shown.append(f"{heading}\n{body}")
                continue
            first, *more = chunks(body)
            shown += [_filled(f"{heading} {first}".lstrip(), width), *(_filled(chunk, width) for chunk in more)]
        return "\n\n".join(shown)

    def markdown(self) -> str:
        """Give the text as Markdown: headings in bold, blocks as fenced code."""
        shown = []
        for name, body in self.parts.items():
            heading = "" if name == "What" else f"**{name}:** "
            if is_block(body):
                shown.append(heading.strip())
                heading = ""
            first, *more = chunks(body)
            shown += [heading + _fenced(first), *map(_fenced, more)]
        return "\n\n".join(shown)


def chunks(body: str) -> list[str]:
    """Give the paragraphs and blocks of a part."""
    return re.split(r"\n\n+", body)


def is_block(chunk: str) -> bool:
    """Tell whether this is a block: lines as they stand in a file, or are typed in a shell (they begin with `$`)."""
    return chunk.startswith(_INDENT)


def _filled(chunk: str, width: int) -> str:
    if is_block(chunk) or not width:
        return chunk
    return textwrap.fill(" ".join(chunk.split()), width, break_long_words=False, break_on_hyphens=False)


def _fenced(chunk: str) -> str:
    if not is_block(chunk):
        return chunk
    lines = textwrap.dedent(chunk)
    language = "console" if lines.startswith("$ ") else "text" if lines.startswith("podlan.lock") else "yaml"
    return f"```{language}\n{lines}\n```"
