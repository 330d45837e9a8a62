"""install.sh: what reconcile does to a node's files, for a machine without Python."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from podlan.render._artifact import HEADER, Plain, shell_word, templates
from podlan.render._boot import NODE_DIRECTORY, PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.plan import File, Plan, Release

_FILES = "\0"
"""Stands in the template's text where the calls for the files belong; no other text holds it."""

_NETWORK = ("networking", "network", "NetworkManager", "systemd-networkd", "wicked", "dhcpcd", "netplan")
"""Units whose restart may cut the node off."""


def install_script(plan: Plan) -> bytes:
    """Render install.sh for a plan whose files are all known."""
    return b"".join(install_parts(plan))


def install_parts(plan: Plan) -> tuple[bytes, bytes]:
    """Render install.sh in two parts: what most nodes' begin with, and the rest."""
    planned = (
        *(f"file {file.path}" for file in plan.files),
        *(f"wants {file.path} {target}" for file in plan.files for target in file.wanted_by),
    )
    # The unit itself takes boot.sh where its program is missing.
    needs = tuple((program, file.path) for file in plan.files for program in file.needs if program != PROGRAM)
    before, behind = _around(plan.release, planned, needs)
    return before, b"".join((*map(_lines, plan.files), behind))


@lru_cache(maxsize=1024)
def _around(
    release: Release | None, planned: tuple[str, ...], needs: tuple[tuple[str, str], ...]
) -> tuple[bytes, bytes]:
    """Render what comes before the calls for the files and what comes behind them: most nodes have the same."""
    text = (
        templates()
        .get_template("install.sh")
        .render(
            header=Plain(HEADER),
            directory=NODE_DIRECTORY,
            merge=_source("merge.awk"),
            earlier=_source("earlier.awk"),
            release=release,
            files=Plain(_FILES),
            planned=planned,
            needs=needs,
            network_units=" | ".join(f"{unit} | {unit}.service" for unit in _NETWORK),
        )
    )
    before, behind = text.split(f"{_FILES}\n")
    return before.encode(), behind.encode()


@lru_cache(maxsize=4096)
def _lines(file: File) -> bytes:
    """Write the calls for one file, which most often is another node's too."""
    calls = (" ".join((name, *map(shell_word, words))) for name, *words in _calls(file))
    return "".join(f"    {line}\n" for line in (f"units={shell_word(' '.join(file.restart))}", *calls)).encode()


def _source(name: str) -> str:
    return templates().get_template(name).render()


def _calls(file: File) -> Iterator[tuple[str, ...]]:
    """Give the calls of install.sh's functions for one file, each as its words."""
    mode = f"{int(file.mode, 8):o}"
    if file.source:
        yield ("whole", file.path, mode, file.source)
    elif file.env_flags is not None:
        yield ("flags", file.path, mode, file.env_flags.variable, *file.env_flags.flags)
    else:
        yield ("block", file.path, mode, *file.block)
    for target in file.wanted_by:
        yield ("wanted", target, file.path)
