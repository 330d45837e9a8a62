"""From a blueprint to a node's files: what the node reads, as bytes."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING

from podlan import __version__
from podlan.plan import Cni, Plan, encode
from podlan.render._artifact import Artifact, json_text
from podlan.render._boot import boot, boot_script
from podlan.render._cni import cni, cni_path
from podlan.render._kubelet import kubelet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podlan.planning import Blueprint

MANIFEST_VERSION = 1

RENDERERS: tuple[Callable[[Blueprint], Iterator[Artifact]], ...] = (cni, kubelet, boot)
"""Every renderer gives artifacts of one node; the order is that of the plan's files."""


def render(blueprint: Blueprint) -> dict[str, bytes]:
    """Render one node's directory: {path relative to it: content}, manifest.json included, in sorted order."""
    artifacts = [artifact for renderer in RENDERERS for artifact in renderer(blueprint)]
    plan = dataclasses.replace(
        blueprint.network, files=tuple(artifact.file for artifact in artifacts), cni=_cni_facts(blueprint)
    )
    files = {artifact.file.source: artifact.content for artifact in artifacts if artifact.content is not None}
    files["plan.json"] = json_text(encode(plan))
    files["boot.sh"] = boot_script(plan)
    files["manifest.json"] = manifest(plan, files)
    return dict(sorted(files.items()))


def _cni_facts(blueprint: Blueprint) -> Cni:
    directory = blueprint.node.cni.bin_dir
    return Cni(cni_path(blueprint), (f"{directory}/macvlan", f"{directory}/host-local"))


def manifest(plan: Plan, files: dict[str, bytes]) -> bytes:
    """Write the digests of a node's files; nothing of it depends on when or where it was compiled."""
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    return json_text({"version": MANIFEST_VERSION, "node": plan.node, "podlan": __version__, "files": digests})


__all__ = ["MANIFEST_VERSION", "RENDERERS", "Artifact", "manifest", "render"]
