"""The smoke workload: a web server on every node that gets ready only where the network does what it must."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from podlan.inventory import Version
from podlan.render._artifact import HEADER, Plain, templates

if TYPE_CHECKING:
    from podlan.inventory import ResolvedNode, Site

IMAGE = "nginx:1.28-alpine"
OLD_IMAGE = "nginx:1.18-alpine"
"""Newer tags are pushed in OCI's format, which docker of the time before Kubernetes 1.20 may not know."""
_OLD = Version(1, 20)
_ROOM = 63 - len("podlan-smoke-")
"""A namespace is a DNS label (RFC 1123) of at most 63 characters."""


def smoke(site: Site) -> dict[str, bytes]:
    """Render the workload. Where only some nodes have host access, each kind has probes of its own."""
    apart = sorted(node.name for node in site.nodes if not _has_host_access(node))
    reached = len(apart) < len(site.nodes) or not site.nodes
    old = any(node.cluster.kubernetes is not None and node.cluster.kubernetes < _OLD for node in site.nodes)
    text = (
        templates()
        .get_template("smoke.yaml")
        .render(
            header=Plain(HEADER),
            site=_quoted(_label(site.name)),
            name=Plain(f"podlan-smoke-{_slug(site.name)}"),
            image=_quoted(OLD_IMAGE if old else IMAGE),
            reached=reached,
            apart=[_quoted(name) for name in apart],
            both=bool(apart) and reached,
        )
    )
    return {"smoke.yaml": text.encode()}


def _has_host_access(node: ResolvedNode) -> bool:
    """Tell whether the host reaches its pods on the interface that they get first."""
    return node.primary is not None and node.primary.access.via != "none"


def _quoted(text: str) -> Plain:
    """Quote for YAML, of which JSON is a part."""
    return Plain(json.dumps(text))


def _label(name: str) -> str:
    """Make a label's value of a site's name, which may end in what a value must not end in."""
    return name.rstrip("-_")


def _slug(name: str) -> str:
    """Make a part of a namespace's name; two sites of one cluster never share it."""
    slug = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if slug == name and len(name) <= _ROOM and not name.endswith("-"):
        return slug
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{slug[: _ROOM - 9]}-{digest}"
