"""install.sh: what reconcile does to a node's files, for a machine without Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.render._artifact import HEADER, Plain, templates
from podlan.render._boot import NODE_DIRECTORY, PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.plan import File, Plan

_NETWORK = ("networking", "network", "NetworkManager", "systemd-networkd", "wicked", "dhcpcd", "netplan")
"""Units whose restart may cut the node off."""


def install_script(plan: Plan) -> bytes:
    """Render install.sh for a plan whose files are all known."""
    template = templates().get_template("install.sh")
    text = template.render(
        header=Plain(HEADER),
        directory=NODE_DIRECTORY,
        merge=_source("merge.awk"),
        earlier=_source("earlier.awk"),
        release=plan.release,
        files=[(" ".join(file.restart), list(_calls(file))) for file in plan.files],
        planned=[
            *(f"file {file.path}" for file in plan.files),
            *(f"wants {file.path} {target}" for file in plan.files for target in file.wanted_by),
        ],
        # The unit itself takes boot.sh where its program is missing.
        needs=[(program, file.path) for file in plan.files for program in file.needs if program != PROGRAM],
        network_units=" | ".join(f"{unit} | {unit}.service" for unit in _NETWORK),
    )
    return text.encode()


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
