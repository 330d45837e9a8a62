"""Blueprints made by hand, for renderers alone: a node of one master, without a whole site around it."""

from __future__ import annotations

from typing import Any

from podlan.addressing import Range
from podlan.inventory import Attachment, Cluster, Cni, Master, ResolvedNode, Subnet
from podlan.plan import Plan
from podlan.planning import Blueprint, Strand, Wire

SLICE = Range(4, 0x0A000010, 0x0A00001F)
"""10.0.0.16-31: sixteen pods."""


def blueprint(
    cluster: dict[str, Any],
    cni: dict[str, Any] | None = None,
    *,
    role: str = "worker",
    addresses: tuple[Any, ...] = (),
    secondary: bool = False,
) -> Blueprint:
    """Give a node with a slice of sixteen addresses."""
    master = {"interface": "eth0", "subnets": ["lan"]}
    attachment = Attachment("uplink", Master.model_validate(master), "eth0", addresses=addresses)
    others = (Attachment("storage", Master.model_validate({**master, "secondary": True}), "eth1"),) if secondary else ()
    node = ResolvedNode(
        name="node-1",
        profiles=(),
        role="control-plane" if role == "control-plane" else "worker",
        boot="systemd",
        cluster=Cluster.model_validate(cluster),
        cni=Cni.model_validate({"name": "pods", **(cni or {})}),
        attachments=(attachment, *others),
        files={},
    )
    wire = Wire("lan", Subnet.model_validate({"cidr": "10.0.0.0/24"}), (SLICE,), None)
    return Blueprint(node, (Strand(attachment, (wire,)),), Plan("node-1"))
