"""The CNI configuration file: macvlan with host-local, restricted to the node's own slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podlan.addressing import to_text
from podlan.inventory import cni_version
from podlan.plan import File
from podlan.planning import Blueprint, Wire, pod_routes
from podlan.render._artifact import Artifact, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def cni_path(plan: Blueprint) -> str:
    """Where the runtime finds the file."""
    cni = plan.node.cni
    name = cni.file_name or f"05-podlan.{cni.format}"
    return f"{cni.conf_dir}/{name}"


def cni(plan: Blueprint) -> Iterator[Artifact]:
    """Render the file that a pod's ADD is made with."""
    options = plan.node.cni
    head = {"cniVersion": cni_version(plan.node), "name": options.name}
    content = {**head, **_plugin(plan)} if options.format == "conf" else {**head, "plugins": [_plugin(plan)]}
    path = cni_path(plan)
    yield Artifact(File(path, source=f"rootfs{path}"), json_text(content))


def _plugin(plan: Blueprint) -> dict[str, Any]:
    routes = [route for wire in plan.wires for route in pod_routes(plan, wire)]
    ipam: dict[str, Any] = {"type": "host-local", "ranges": [_range_set(wire) for wire in plan.wires]}
    if routes:
        ipam["routes"] = routes
    ipam["dataDir"] = plan.node.cni.data_dir
    plugin: dict[str, Any] = {
        "type": "macvlan",
        "master": plan.attachment.interface,
        "mode": plan.attachment.master.mode,
        "ipam": ipam,
    }
    dns = _dns(plan)
    return {**plugin, "dns": dns} if dns else plugin


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


def _dns(plan: Blueprint) -> dict[str, Any]:
    """Join the subnets' DNS; macvlan reports it in its result, and the kubelet writes pods' resolv.conf itself."""
    servers = [str(server) for wire in plan.wires for server in wire.subnet.dns.nameservers]
    search = [domain for wire in plan.wires for domain in wire.subnet.dns.search]
    domain = next((wire.subnet.dns.domain for wire in plan.wires if wire.subnet.dns.domain), None)
    written = {"nameservers": servers, "domain": domain, "search": search}
    return {key: value for key, value in written.items() if value}
