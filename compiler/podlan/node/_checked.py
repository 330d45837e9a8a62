"""A plan's values, beyond their shape: what may reach the kernel and the file tree, in the kernel's own spelling."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.plan import BadPlan, may_install, may_write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.plan import Address, File, Link, Plan, Probe, Release, Route

_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\\@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSCTL = re.compile(r"net(/[^/\s=]+)+")
_MODE = re.compile(r"0?[0-7]{3}")
_URL = re.compile(r"(https?://[^/\s]+|file://(localhost)?)/\S+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BINARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def checked(plan: Plan, where: str, known: frozenset[str]) -> Plan:
    """Give the plan with every address and network spelt as the kernel spells it; `known` are the manifest's files."""
    if not plan.node or not plan.node.isprintable():
        raise BadPlan(where, f"{plan.node!r} is not a node's name")
    _sysctls(plan, where)
    for file in plan.files:
        _file(file, where, known)
    if plan.release is not None:
        _release(plan.release, where)
    links = tuple(_link(link, where) for link in plan.links)
    names = _names(links, where)
    made = {link.name for link in links if link.kind != "master"}
    for link in links:
        parents = [one for one in links if one.name == link.master]
        if link.master in made and not (link.kind == "macvlan" and parents[0].kind == "vlan"):
            raise BadPlan(where, f"{link.name} would hang on {link.master}, which is made itself")
    if plan.identity and not any(link.kind == "master" for link in links):
        raise BadPlan(where, "there is no master that could have the node's own addresses")
    used = [
        *(address.link for address in plan.addresses),
        *(route.link for route in plan.routes),
        *(probe.link for probe in plan.probes),
    ]
    for name in used:
        if name not in names:
            raise BadPlan(where, f"{name!r} is none of the plan's links")
    return replace(
        plan,
        links=links,
        addresses=tuple(_address(address, where) for address in plan.addresses),
        routes=tuple(_route(route, where) for route in plan.routes),
        probes=tuple(_probe(probe, where) for probe in plan.probes),
        identity=tuple(_identity(address, where) for address in plan.identity),
    )


def _sysctls(plan: Plan, where: str) -> None:
    for key, value in plan.sysctls.items():
        if not _SYSCTL.fullmatch(key) or not key.isprintable() or "/./" in f"{key}/" or "/../" in f"{key}/":
            raise BadPlan(where, f"{key!r} is not a key below /proc/sys/net")
        if not value or not value.isprintable() or not value.isascii():
            raise BadPlan(where, f"sysctl {key} has no value that can be written")


def _names(links: Sequence[Link], where: str) -> set[str]:
    names = {link.name for link in links}
    if len(names) != len(links):
        raise BadPlan(where, "a link is named twice")
    further = [altname for link in links for altname in link.altnames if altname != link.name]
    if len(names | set(further)) != len(links) + len(further):
        raise BadPlan(where, "an altname is that of another link, or stands there twice")
    return names


def _link(link: Link, where: str) -> Link:
    for name in (link.name, *([link.master] if link.kind != "master" else []), *link.altnames):
        if not _INTERFACE.fullmatch(name) or not name.isprintable() or name in (".", ".."):
            raise BadPlan(where, f"{name!r} is not an interface's name")
    mac = link.mac.lower()
    if mac and (not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
        raise BadPlan(where, f"{link.name}: {link.mac!r} is not a unicast MAC address")
    if link.altnames and link.kind == "macvlan":
        raise BadPlan(where, f"{link.name}: only a master gets altnames")
    if (link.kind == "vlan") != bool(link.vlan) or (link.vlan and (mac or link.master == link.name)):
        raise BadPlan(
            where, f"{link.name}: a VLAN has a number and a link of its own, no MAC, and nothing else has one"
        )
    if not link.alias.isprintable():
        raise BadPlan(where, f"{link.name}: the alias cannot be printed")
    # In mode passthru child and master share one MAC: setting the child's would change the master's.
    return replace(link, mac="" if link.mode == "passthru" else mac)


def _address(address: Address, where: str) -> Address:
    try:
        spelt = str(ipaddress.ip_interface(address.address))
    except ValueError as error:
        raise BadPlan(where, str(error)) from error
    if "/" not in address.address or "%" in spelt:
        raise BadPlan(where, f"{address.address!r} is not an address with its prefix length")
    return replace(address, address=spelt)


def _route(route: Route, where: str) -> Route:
    try:
        destination = str(ipaddress.ip_network(route.destination))
        gateway = str(ipaddress.ip_address(route.gateway)) if route.gateway else ""
        source = str(ipaddress.ip_address(route.source)) if route.source else ""
    except ValueError as error:
        raise BadPlan(where, str(error)) from error
    if any(one and (":" in one) != (":" in destination) for one in (gateway, source)):
        raise BadPlan(where, f"the route to {destination} mixes families")
    return replace(route, destination=destination, gateway=gateway, source=source)


def _probe(probe: Probe, where: str) -> Probe:
    try:
        return replace(probe, address=str(ipaddress.ip_address(probe.address)))
    except ValueError as error:
        raise BadPlan(where, str(error)) from error


def _identity(address: str, where: str) -> str:
    try:
        spelt = str(ipaddress.ip_address(address))
    except ValueError as error:
        raise BadPlan(where, f"identity: {error}") from error
    if "%" in spelt:
        raise BadPlan(where, f"identity: {address!r} is not an address without zone")
    return spelt


def _file(file: File, where: str, known: frozenset[str]) -> None:
    parts = file.path.split("/")[1:]
    if not file.path.startswith("/") or not all(parts) or ".." in parts or "." in parts:
        raise BadPlan(where, f"{file.path!r} is not an absolute path")
    if not may_write(file.path):
        raise BadPlan(where, f"{file.path} is outside the places that a plan may touch")
    _file_mode(file, where)
    if sum((bool(file.source), file.env_flags is not None, bool(file.block))) != 1:
        raise BadPlan(where, f"{file.path} needs exactly one of source, envFlags and block")
    if file.source and file.source not in known:
        raise BadPlan(where, f"the manifest does not name {file.source}, the source of {file.path}")
    if file.env_flags is not None and not _VARIABLE.fullmatch(file.env_flags.variable):
        raise BadPlan(where, f"{file.path}: {file.env_flags.variable!r} is not a shell variable")
    if any("\n" in line or not line.isprintable() for line in file.block):
        raise BadPlan(where, f"{file.path}: a line of the block is not one line")
    for unit in (*file.restart, *file.wanted_by):
        if not _UNIT.fullmatch(unit):
            raise BadPlan(where, f"{file.path}: {unit!r} is not a unit's name")


def _release(release: Release, where: str) -> None:
    if not _URL.fullmatch(release.url) or not release.url.isprintable():
        raise BadPlan(where, f"release: {release.url!r} is not a URL of https, http or file")
    if not _SHA256.fullmatch(release.sha256):
        raise BadPlan(where, f"release: {release.sha256!r} is not a SHA-256")
    if not release.names:
        raise BadPlan(where, "release names no binary")
    for name in release.names:
        path = f"{release.directory}/{name}"
        if not _BINARY.fullmatch(name) or not path.isprintable() or ".." in path.split("/") or not may_install(path):
            raise BadPlan(where, f"release: {path} is outside the places that a plan may install programs in")


def _file_mode(file: File, where: str) -> None:
    if not _MODE.fullmatch(file.mode):
        raise BadPlan(where, f"{file.path}: {file.mode!r} is not a mode such as 0644")
    if int(file.mode, 8) & 0o022:
        raise BadPlan(where, f"{file.path}: mode {file.mode} lets others write it")
