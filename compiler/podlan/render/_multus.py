"""Secondary networks, by Multus: a file on every node, and an object of the cluster that names it.

A NetworkAttachmentDefinition is the whole cluster's, so it cannot hold a node's range. One without `spec` makes Multus
look for the file whose network has the object's name in /etc/cni/multus/net.d (multus-cni,
network-attachment-definition-client, GetCNIConfigFromFile), and that file is each node's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from podlan.plan import File
from podlan.render._artifact import HEADER, Artifact, json_text
from podlan.render._cni import network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.inventory import Site
    from podlan.planning import Blueprint

DIRECTORY = "/etc/cni/multus/net.d"
"""Where Multus looks for files (its `confDir`, by default)."""


def secondary_networks(plan: Blueprint) -> Iterator[Artifact]:
    """Render the files that pods' further interfaces are made with, one a secondary master."""
    for strand in plan.strands[1:]:
        name = strand.attachment.name
        path = f"{DIRECTORY}/{name}.conflist"
        yield Artifact(File(path, source=f"rootfs{path}"), json_text(network(plan, strand, name)))


def cluster_nads(site: Site) -> dict[str, bytes]:
    """Render the NetworkAttachmentDefinition of every secondary master that a node has, by file names."""
    used = {attachment.name: attachment.master for node in site.nodes for attachment in node.attachments}
    return {
        f"nad-{name}.yaml": _definition(name, master.namespace)
        for name, master in sorted(used.items())
        if master.secondary
    }


def _definition(name: str, namespace: str) -> bytes:
    lines = (
        f"# {HEADER}",
        f"# It has no spec: Multus finds the network {name} in {DIRECTORY}/{name}.conflist of each node.",
        "apiVersion: k8s.cni.cncf.io/v1",
        "kind: NetworkAttachmentDefinition",
        "metadata:",
        # JSON's strings are YAML's too: a name such as 1e3 or null stays text.
        f"  name: {json.dumps(name)}",
        f"  namespace: {json.dumps(namespace)}",
    )
    return "".join(f"{line}\n" for line in lines).encode()
