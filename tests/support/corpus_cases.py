"""The corpus as data: every site in tests/corpus/*.md, with what podlan says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus"
CODE = re.compile(r"\[(PL[0-9]+)\]")
_SHOWN = {"␍": "\r", "␣": "\N{NO-BREAK SPACE}", "⟨BOM⟩": "\ufeff"}
"""What nobody could see in the corpus, and how it is written there."""
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Case:
    file: Path
    title: str
    blocks: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.file.stem}: {self.title}"

    @property
    def codes(self) -> set[str]:
        return set(CODE.findall(self.blocks["findings"]))

    def write(self, directory: Path) -> None:
        site = self.blocks["yaml"]
        for shown, meant in _SHOWN.items():
            site = site.replace(shown, meant)
        (directory / "site.yaml").write_text(site, encoding="utf-8", newline="")
        if "j2" in self.blocks:
            (directory / "templates").mkdir()
            (directory / "templates/own.j2").write_text(self.blocks["j2"], encoding="utf-8")
        if "lock" in self.blocks:
            (directory / "podlan.lock").write_text(self.blocks["lock"], encoding="utf-8")


def cases() -> list[Case]:
    found = []
    for file in sorted(CORPUS.glob("*.md")):
        _, *sections = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for section in sections:
            title, _, body = section.partition("\n")
            found.append(Case(file, title, dict(_BLOCK.findall(body))))
    return found


CASES = cases()
