"""From a blueprint to a node's files: what the node reads, as bytes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from podlan.plan import document
from podlan.render._artifact import Artifact, json_text
from podlan.render._boot import boot_hook, boot_script
from podlan.render._cni import cni, cni_facts
from podlan.render._dhcp import dhcp_daemon
from podlan.render._guards import guards
from podlan.render._install import install_parts, install_script
from podlan.render._kubelet import kubelet
from podlan.render._manifest import MANIFEST_VERSION, digest_of_parts, manifest
from podlan.render._multus import secondary_networks
from podlan.render._own import OwnFiles
from podlan.render._release import release_facts
from podlan.render._runtime import runtime, runtime_facts
from podlan.render.cluster import render_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.planning import Blueprint

RENDERERS: tuple[Callable[[Blueprint], Iterator[Artifact]], ...] = (
    cni,
    secondary_networks,
    runtime,
    kubelet,
    dhcp_daemon,
    guards,
)
"""Every renderer gives artifacts of one node; the order is that of the plan's files, and what runs at boot is last."""


def artifacts(blueprint: Blueprint, own: Iterable[Artifact] = ()) -> list[Artifact]:
    """Render what podlan itself writes on a node; its unit must be able to write the site's own files, too."""
    made = [artifact for renderer in RENDERERS for artifact in renderer(blueprint)]
    return [*made, boot_hook(blueprint, [artifact.file for artifact in (*made, *own)])]


def render(blueprint: Blueprint, own: Iterable[Artifact] = ()) -> dict[str, bytes]:
    """Render one node's directory: {path relative to it: content}, manifest.json included, in sorted order.

    `own` are the site's own files.
    """
    own = tuple(own)
    delivered = [*artifacts(blueprint, own), *own]
    plan = dataclasses.replace(
        blueprint.network,
        files=tuple(artifact.file for artifact in delivered),
        cni=cni_facts(blueprint),
        release=release_facts(blueprint),
        runtime=runtime_facts(blueprint),
    )
    files = {artifact.file.source: artifact.content for artifact in delivered if artifact.content is not None}
    written = document(plan)
    if plan.files:
        written["files"] = [artifact.entry for artifact in delivered]
    files["plan.json"] = json_text(written)
    files["boot.sh"] = boot_script(plan)
    known = {artifact.file.source: artifact.digest for artifact in delivered if artifact.content is not None}
    before, rest = install_parts(plan)
    files["install.sh"], known["install.sh"] = before + rest, digest_of_parts(before, rest)
    files["manifest.json"] = manifest({"node": plan.node}, files, known)
    return dict(sorted(files.items()))


__all__ = [
    "MANIFEST_VERSION",
    "RENDERERS",
    "Artifact",
    "OwnFiles",
    "artifacts",
    "install_script",
    "manifest",
    "render",
    "render_cluster",
]
