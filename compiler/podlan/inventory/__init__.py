"""The inventory: what people write, validated and resolved."""

from podlan.inventory._chain import Chained
from podlan.inventory._files import OwnFile
from podlan.inventory._kubelet import Role
from podlan.inventory._load import load
from podlan.inventory._models import Cluster, Cni, Inventory, Master, PodRoute, Subnet
from podlan.inventory._site import Attachment, ResolvedNode, Site, vlan_name
from podlan.inventory._support import cni_version, newest_for_plugins, newest_for_runtime
from podlan.inventory._values import IP, AddressRange, Network, Version

__all__ = [
    "IP",
    "AddressRange",
    "Attachment",
    "Chained",
    "Cluster",
    "Cni",
    "Inventory",
    "Master",
    "Network",
    "OwnFile",
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
    "vlan_name",
]
