"""The inventory: what people write, validated and resolved."""

from podlan.inventory._load import load
from podlan.inventory._models import Cluster, Cni, Inventory, Master, PodRoute, Role, Subnet
from podlan.inventory._site import Attachment, ResolvedNode, Site
from podlan.inventory._support import cni_version, newest_for_plugins, newest_for_runtime
from podlan.inventory._values import IP, AddressRange, Network, Version

__all__ = [
    "IP",
    "AddressRange",
    "Attachment",
    "Cluster",
    "Cni",
    "Inventory",
    "Master",
    "Network",
    "PodRoute",
    "ResolvedNode",
    "Role",
    "Site",
    "Subnet",
    "Version",
    "cni_version",
    "load",
    "newest_for_plugins",
    "newest_for_runtime",
]
