"""What the whole cluster gets, for a person to apply with kubectl: files by path, as for a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.render._manifest import manifest
from podlan.render._multus import cluster_nads
from podlan.render.cluster._smoke import smoke

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.inventory import Site

RENDERERS: tuple[Callable[[Site], dict[str, bytes]], ...] = (smoke, cluster_nads)
"""Every renderer gives files of the cluster, by their paths."""


def render_cluster(site: Site) -> dict[str, bytes]:
    """Render the cluster's directory: {path relative to it: content}, manifest.json included, in sorted order.

    Only what concerns the whole cluster stands there: a node that changes changes nothing in it, but where it is the
    first or the last of its kind.
    """
    files = {path: content for renderer in RENDERERS for path, content in renderer(site).items()}
    files["manifest.json"] = manifest({"site": site.name}, files)
    return dict(sorted(files.items()))


__all__ = ["RENDERERS", "render_cluster"]
