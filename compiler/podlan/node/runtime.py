"""The container runtime's own configuration, compared with what the plan needs; podlan never rewrites it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.state import State

_OWN_CONFIGURATION = "/var/lib/rancher/"  # k3s and RKE2 write that of their containerd themselves


def runtime_findings(directory: NodeDirectory, last: State, root: Root) -> Iterator[Finding]:
    """Tell where the runtime would look for other files or plugins than the plan's, or not look at all."""
    runtime = directory.plan.runtime
    if runtime is None or runtime.conf_dir.startswith(_OWN_CONFIGURATION):
        return
    if runtime.name == "docker":  # the kubelet's flags tell dockershim; cri-dockerd gets a drop-in
        return
    from podlan.node.tomltree import tree_of  # noqa: PLC0415 - each of these costs a millisecond

    tree = tree_of(directory, last, root)
    if runtime.name == "containerd":
        from podlan.node.containerd import containerd  # noqa: PLC0415 - as above

        yield from containerd(tree, runtime)
    else:
        from podlan.node.crio import crio  # noqa: PLC0415 - as above

        yield from crio(tree, runtime, network_name(directory))
    yield from tree.findings


def goes_by_name(directory: NodeDirectory, last: State, root: Root) -> bool:
    """Tell whether the runtime takes podlan's network by its name, wherever its file stands in the order."""
    runtime = directory.plan.runtime
    if runtime is None or runtime.name != "cri-o":
        return False
    from podlan.node.crio import default_network  # noqa: PLC0415 - as above
    from podlan.node.tomltree import tree_of  # noqa: PLC0415 - as above

    return default_network(tree_of(directory, last, root)) == network_name(directory) != ""


def network_name(directory: NodeDirectory) -> str:
    """Give the name in the plan's CNI file, '' where it has none."""
    plan = directory.plan
    sources = (file.source for file in plan.files if plan.cni is not None and file.path == plan.cni.file)
    try:
        return str(json.loads(directory.files[next(sources)])["name"])
    except (StopIteration, ValueError, LookupError, TypeError):
        return ""
