"""Several sites in one call: what each is called, which of them a shard has, and how all of them end."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import click

from podlan.diagnostics import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_GRAVEST_FIRST = (Exit.ENVIRONMENT, Exit.NOT_READY, Exit.FAILED, Exit.DIFFERS)
"""Which of several codes a run ends with: first those that another try may mend."""


class Shard(NamedTuple):
    """One of `total` parts of a list; `number` counts from 1."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read I/N; raises BadParameter."""
        match = _SHARD.fullmatch(text)
        number, total = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= total:
            raise click.BadParameter(f"{text!r} is not I/N with I from 1 to N; where an engine counts from 0, add 1")
        return cls(number, total)

    def of(self, sites: dict[str, Path]) -> dict[str, Path]:
        """Give every N-th site in their order: each site is in one shard, and none has two more than another."""
        return dict(list(sites.items())[self.number - 1 :: self.total])


def named(sites: Iterable[Path]) -> dict[str, Path]:
    """Give the sites by the names of their directories (of a file: without its suffix), sorted bytewise.

    Raises UsageError where two have one name, since each has a directory of that name in the output.
    """
    found: dict[str, Path] = {}
    for site in sorted(sites, key=os.fsencode):
        name = name_of(site)
        if name in found and not site.samefile(found[name]):
            message = f"{found[name]} and {site} are both called {name}, so that both would go to one output"
            raise click.UsageError(f"{message}; compile them in calls of their own, each with its own -o")
        found.setdefault(name, site)
    return dict(sorted(found.items(), key=lambda entry: os.fsencode(entry[0])))


def name_of(site: Path) -> str:
    """Give the name of a site's directory, or of its file without the suffix."""
    path = site if site.name not in {"", ".."} else site.resolve()
    return path.name if path.is_dir() else path.stem


def refuse_other_layout(sites: Iterable[str], out: Path, *, is_one: bool) -> None:
    """Refuse to mix the output of one site, OUT itself, with those of several, OUT/NAME; raises UsageError.

    A shell's `sites/*` may match one site today and two tomorrow.
    """
    from podlan.output import MARKER  # noqa: PLC0415 - completion writes nothing

    if not is_one and (out / MARKER).is_file():
        raise click.UsageError(f"{out} is one site's own output; with several sites each goes to {out}/NAME")
    for name in sites if is_one else ():
        if (out / name / MARKER).is_file():
            told = f"{out} holds the outputs of several sites"
            raise click.UsageError(f"{told}; say -o {out / name}, or --shard 1/1 to keep to {out}/NAME")


def gravest(codes: Iterable[int]) -> int:
    """Give the exit code of a run whose sites ended with `codes`."""
    ended = set(codes)
    return next((code for code in _GRAVEST_FIRST if code in ended), max(ended, default=Exit.DONE))
