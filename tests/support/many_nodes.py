"""Sites of any size to measure with: four LANs, one of them dual stack, with profiles, pins and larger slices."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LANS = 4
_SLICE = 8
_ROOM = 16
"""Addresses that a LAN has for each of its nodes: the node's own, a slice of up to 16 for a few, a shim."""
_A_FILE = 100
"""Nodes in each file of a site that is split."""


def write(directory: Path, size: int, *, number: int = 0, is_split: bool = False, changed: int = 0) -> Path:
    """Write a site of so many nodes; of two `number`s no subnet overlaps, as long as both have 2,000 nodes or fewer.

    `changed`: so many of the nodes are on an older Kubernetes.
    """
    per_lan = -(-size // _LANS)
    bits = max(8, (per_lan * _ROOM - 1).bit_length())
    bases = [(10 << 24) + (number << 16) + (lan << bits) for lan in range(_LANS)]
    own6 = IPv6Address("fd00::") + (number << 80)
    nodes = [_node(index, bases, bits, int(own6), is_old=index < changed) for index in range(size)]
    head = _head(number, bases, bits, own6)
    directory.mkdir(parents=True, exist_ok=True)
    if not is_split:
        (directory / "site.yaml").write_text(f"{head}nodes:\n{''.join(nodes)}", encoding="utf-8")
        return directory
    (directory / "site.yaml").write_text(head, encoding="utf-8")
    (directory / "nodes").mkdir(exist_ok=True)
    for first in range(0, size, _A_FILE):
        text = f"nodes:\n{''.join(nodes[first : first + _A_FILE])}"
        (directory / "nodes" / f"from-{first:06}.yaml").write_text(text, encoding="utf-8")
    return directory


def _head(number: int, bases: list[int], bits: int, own6: IPv6Address) -> str:
    subnets = "".join(
        f"  lan{lan}: {{cidr: {IPv4Address(base)}/{32 - bits}, gateway: {IPv4Address(base + 1)}, "
        f"pool: [{IPv4Address(base + (1 << bits) // 4)}-{IPv4Address(base + (1 << bits) - 2)}], "
        "routes: [{dst: 0.0.0.0/0}]}\n"
        for lan, base in enumerate(bases)
    )
    masters = "".join(
        f"  uplink{lan}: {{interface: eth{lan}, subnets: [lan{lan}{', six' * (lan == _LANS - 1)}], "
        f"podsPerNode: {_SLICE}}}\n"
        for lan in range(_LANS)
    )
    return f"""\
version: 1
site: bench-{number}
cluster: {{kubernetes: "1.31", serviceCIDR: [10.255.0.0/16]}}
cni: {{name: pods}}
subnets:
{subnets}  six:
    cidr: {own6}/64
    gateway: {own6 + 1}
    routes: [{{dst: "::/0"}}]
masters:
{masters}profiles:
  old: {{cluster: {{kubernetes: "1.30"}}}}
  control-plane: {{role: control-plane}}
"""


def _node(index: int, bases: list[int], bits: int, own6: int, *, is_old: bool) -> str:
    lan, place = index % _LANS, index // _LANS
    addresses = [str(IPv4Address(bases[lan] + 16 + place))]
    if lan == _LANS - 1:
        addresses.append(f'"{IPv6Address(own6 + 0x10000 + place)}"')
    master = [f"addresses: [{', '.join(addresses)}]"]
    if index % 10 == 0:
        first = bases[lan] + (1 << bits) // 4 + place * _SLICE
        master.append(f"ranges: [{IPv4Address(first)}-{IPv4Address(first + _SLICE - 1)}]")
    elif index % 10 == 1:
        master.append("pods: 12")
    profiles = ["old"] * is_old + ["control-plane"] * (index % 100 == 0)
    told = f"    profiles: [{', '.join(profiles)}]\n" if profiles else ""
    return f"  node-{index}:\n{told}    masters:\n      uplink{lan}: {{{', '.join(master)}}}\n"
