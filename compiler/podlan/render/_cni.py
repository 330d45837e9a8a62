"""The CNI configuration: macvlan, what gives its addresses (most often the node's own slice), and what is chained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podlan.addressing import to_text
from podlan.inventory import Version, cni_version
from podlan.plan import Cni, File
from podlan.planning import Blueprint, Strand, Wire, pod_routes
from podlan.render._artifact import Artifact, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def cni_path(plan: Blueprint) -> str:
    """Where the runtime finds the file."""
    cni = plan.node.cni
    name = cni.file_name or f"05-podlan.{cni.format}"
    return f"{cni.conf_dir}/{name}"


def cni_facts(plan: Blueprint) -> Cni:
    """Name the runtime's file, and the binaries that pods' ADDs call: the primary's, and what secondary ones add."""
    names = dict.fromkeys(kind for strand in plan.strands for kind in _types(strand))
    return Cni(cni_path(plan), tuple(f"{plan.node.cni.bin_dir}/{name}" for name in names))


def cni(plan: Blueprint) -> Iterator[Artifact]:
    """Render the file that every pod's ADD is made with."""
    path = cni_path(plan)
    name = str(plan.node.cni.name)
    if plan.node.cni.format == "conf":
        content = {**_head(plan, name), **_macvlan(plan, plan.primary)}
    else:
        content = network(plan, plan.primary, name)
    yield Artifact(File(path, source=f"rootfs{path}"), json_text(content))


def network(plan: Blueprint, strand: Strand, name: str) -> dict[str, Any]:
    """Write one network as a list of plugins."""
    master = strand.attachment.master
    chain = [_chained(item.model_dump(by_alias=True, exclude_unset=True)) for item in master.chain]
    version = plan.node.cni.plugins.version
    is_repaired = version is not None and version >= _CHECKS_REPAIRED
    # sbr takes the pod's routes to a table of their own, where CHECK of macvlan does not look; still so with 1.9.1.
    can_check = all(plugin["type"] != "sbr" and (is_repaired or _can_check(plugin)) for plugin in chain)
    checking = {} if can_check else {"disableCheck": True}
    return {**_head(plan, name), **checking, "plugins": [_macvlan(plan, strand), *chain]}


def _head(plan: Blueprint, name: str) -> dict[str, Any]:
    return {"cniVersion": cni_version(plan.node), "name": name}


def _types(strand: Strand) -> Iterator[str]:
    master = strand.attachment.master
    yield "macvlan"
    if master.ipam != "none":
        yield master.ipam
    for item in master.chain:
        yield item.type


def _macvlan(plan: Blueprint, strand: Strand) -> dict[str, Any]:
    attachment = strand.attachment
    plugin: dict[str, Any] = {
        "type": "macvlan",
        "master": strand.cni_master,
        "mode": attachment.master.mode,
        **({"mtu": attachment.mtu} if attachment.mtu else {}),
        **({"linkInContainer": True} if attachment.master.link_in_container else {}),
        **({"bcqueuelen": attachment.master.bcqueuelen} if attachment.master.bcqueuelen else {}),
        "ipam": _ipam(plan, strand),
    }
    dns = _dns(strand)
    return {**plugin, "dns": dns} if dns else plugin


def _ipam(plan: Blueprint, strand: Strand) -> dict[str, Any]:
    kind = strand.attachment.master.ipam
    if kind != "host-local":
        return {} if kind == "none" else {"type": kind}
    routes = [route for wire in strand.wires for route in pod_routes(plan, strand, wire)]
    ipam: dict[str, Any] = {"type": kind, "ranges": [_range_set(wire) for wire in strand.wires]}
    if routes:
        ipam["routes"] = routes
    ipam["dataDir"] = plan.node.cni.data_dir
    return ipam


def _range_set(wire: Wire) -> list[dict[str, str]]:
    """Several ranges of one subnet stand in one set: a set gives a pod one address."""
    gateway = {} if wire.subnet.gateway is None else {"gateway": str(wire.subnet.gateway)}
    return [
        {
            "subnet": str(wire.subnet.cidr),
            "rangeStart": to_text(item.family, item.first),
            "rangeEnd": to_text(item.family, item.last),
            **gateway,
        }
        for item in wire.slice
    ]


def _dns(strand: Strand) -> dict[str, Any]:
    """Join the subnets' DNS; macvlan reports it in its result, and the kubelet writes pods' resolv.conf itself."""
    servers = [str(server) for wire in strand.wires for server in wire.subnet.dns.nameservers]
    search = [domain for wire in strand.wires for domain in wire.subnet.dns.search]
    domain = next((wire.subnet.dns.domain for wire in strand.wires if wire.subnet.dns.domain), None)
    written = {"nameservers": servers, "domain": domain, "search": search}
    return {key: value for key, value in written.items() if value}


_CHECKS_REPAIRED = Version(1, 9)
"""Measured: with 1.1.1 they fail, with 1.9.1 they pass."""


def _can_check(plugin: dict[str, Any]) -> bool:
    """Tell whether CHECK of a chained plugin passes where ADD did, with any plugins; measured with 1.1.1.

    For IFNAME in a sysctl ADD of tuning puts the interface's name, and CHECK looks for a sysctl of that very name.
    CHECK of portmap wants rules of both families, and ADD makes those of the pod's own.
    """
    return plugin["type"] != "portmap" and not any("IFNAME" in key for key in plugin.get("sysctl", ()))


_CAPABILITY = {"portmap": "portMappings", "bandwidth": "bandwidth"}
"""What a runtime passes to a plugin that says it takes it: a pod's hostPorts, and its bandwidth annotations."""


def _chained(options: dict[str, Any]) -> dict[str, Any]:
    """Write a chained plugin; the inventory's order of keys does not show."""
    kind = options.pop("type")
    written = {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in options.items()}
    capability = _CAPABILITY.get(kind)
    capabilities = {"capabilities": {capability: True}} if capability else {}
    return {"type": kind, **dict(sorted(written.items())), **capabilities}
