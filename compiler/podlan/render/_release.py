"""Where a node gets the plugins from that it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.plan import Release
from podlan.render._cni import cni_facts

if TYPE_CHECKING:
    from podlan.planning import Blueprint

_OF_THE_RUNTIME = "loopback"
"""Every runtime calls it for each pod, with a configuration of its own."""


def release_facts(plan: Blueprint) -> Release | None:
    """Name the archive and what podlan installs of it, where the inventory says both what it is and where it lies."""
    plugins, directory = plan.node.cni.plugins, plan.node.cni.bin_dir
    if plugins.url is None or plugins.sha256 is None:
        return None
    called = (path.rpartition("/")[2] for path in cni_facts(plan).plugins)
    names = tuple(dict.fromkeys([*called, _OF_THE_RUNTIME]))
    return Release(str(plugins.version or ""), plugins.url, plugins.sha256, directory, names)
