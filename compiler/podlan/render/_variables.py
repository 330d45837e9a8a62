"""What a site's own templates find: plain values in slotted objects, under the inventory's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podlan.addressing import to_text
from podlan.inventory import cni_version
from podlan.render._artifact import HEADER
from podlan.render._cni import cni_path

if TYPE_CHECKING:
    from podlan.inventory import OwnFile, Site
    from podlan.planning import Blueprint, Strand, Wire

VARIABLES = ("site", "node", "master", "masters", "values", "header")


@dataclass(frozen=True, slots=True)
class Slice:
    """One run of addresses that the node's pods get, both ends included; `networks` are the same in CIDR form."""

    first: str
    last: str
    size: int
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet on a master. `shim` is the host's own address there, None without one."""

    name: str
    cidr: str
    network: str
    prefix: int
    family: int
    gateway: str | None
    slices: tuple[Slice, ...]
    shim: str | None
    nameservers: tuple[str, ...]
    domain: str | None
    search: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Master:
    """One master of the node. `child` is the host's macvlan interface, None without host access."""

    name: str
    interface: str
    mode: str
    mtu: int | None
    secondary: bool
    via: str
    child: str | None
    addresses: tuple[str, ...]
    subnets: tuple[Subnet, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Facts of the cluster as they are for this node."""

    kubernetes: str | None
    distribution: str
    runtime: str
    runtime_version: str | None
    service_cidr: tuple[str, ...]
    cluster_dns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cni:
    """The CNI file of the node, and its places."""

    name: str | None
    version: str
    file: str
    conf_dir: str
    bin_dir: str
    data_dir: str


@dataclass(frozen=True, slots=True)
class Node:
    """The node. `pods` is how many can have a first address at once."""

    name: str
    role: str
    boot: str
    profiles: tuple[str, ...]
    pods: int
    cluster: Cluster
    cni: Cni


def variables(site: Site, plan: Blueprint, file: OwnFile) -> dict[str, object]:
    """Give what a template finds for one file of one node."""
    masters = tuple(_master(strand, plan) for strand in plan.strands)
    return {
        "site": site.name,
        "node": _node(plan),
        "master": masters[0],
        "masters": masters,
        "values": _sorted(file.values),
        "header": HEADER,
    }


def _node(plan: Blueprint) -> Node:
    node, cluster, cni = plan.node, plan.node.cluster, plan.node.cni
    return Node(
        node.name,
        node.role,
        node.boot,
        node.profiles,
        plan.pods,
        Cluster(
            _text(cluster.kubernetes),
            cluster.distribution,
            cluster.runtime,
            _text(cluster.runtime_version),
            tuple(map(str, cluster.service_cidr)),
            tuple(map(str, cluster.cluster_dns)),
        ),
        Cni(cni.name, cni_version(node), cni_path(plan), cni.conf_dir, cni.bin_dir, cni.data_dir),
    )


def _master(strand: Strand, plan: Blueprint) -> Master:
    attachment = strand.attachment
    links = {link.name for link in plan.network.links}
    return Master(
        attachment.name,
        attachment.interface,
        attachment.master.mode,
        attachment.mtu,
        attachment.master.secondary,
        attachment.access.via,
        attachment.child if attachment.child in links else None,
        tuple(map(str, attachment.addresses)),
        tuple(map(_subnet, strand.wires)),
    )


def _subnet(wire: Wire) -> Subnet:
    network, dns = wire.subnet.cidr, wire.subnet.dns
    slices = tuple(
        Slice(
            to_text(item.family, item.first),
            to_text(item.family, item.last),
            item.size,
            tuple(item.networks()),
        )
        for item in wire.slice
    )
    return Subnet(
        wire.name,
        str(network),
        str(network.network_address),
        network.prefixlen,
        wire.family,
        _text(wire.subnet.gateway),
        slices,
        wire.shim_text or None,
        tuple(map(str, dns.nameservers)),
        dns.domain,
        tuple(dns.search),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """Sort mappings by their keys: in which order they are written must not change what is compiled."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
