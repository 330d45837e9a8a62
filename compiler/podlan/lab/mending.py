"""The faults of a lab: made, remembered beside its state, told, and mended.

A fault is remembered before it is done, so that none is forgotten when that is interrupted.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from podlan.lab import faults, inside, strangers
from podlan.lab.errors import ForeignLab, NoPlace, Pointless, ToolMissing
from podlan.lab.faults import Cut, DeletedShim, Duplicate, Lease

_IPV4 = 4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from podlan.lab.faults import Fault
    from podlan.lab.life import Lab
    from podlan.lab.processes import Processes
    from podlan.lab.state import Home, NodeState, State


def cut(lab: Lab, built: State, node: str) -> Fault:
    """Pull a node's cable."""
    _node(lab, built, node)
    return _make(lab, Cut(node))


def delete_shim(lab: Lab, built: State, node: str) -> Fault:
    """Delete the links through which a node and its pods talk."""
    _node(lab, built, node)
    plan = faults.planned(lab.home, node).plan
    children = tuple(link.name for link in plan.links if link.kind == "macvlan")
    if not children:
        raise Pointless(f"the plan of {node} has no host access", "there is nothing to delete")
    return _make(lab, DeletedShim(node, children))


def duplicate(lab: Lab, built: State, address: str) -> Fault:
    """Give an address to another machine on the LAN that the address belongs to."""
    known = [one for one in load(lab.home) if isinstance(one, Duplicate) and one.address == address]
    lans = (name for name, text in _on_lans(built) if ip_address(address) in ip_interface(text).network)
    lan = next(lans, None)
    if lan is None:
        raise Pointless(f"{address} is in no network of the lab", "nobody would ask for it there")
    return _make(lab, known[0] if known else Duplicate(address, strangers.free_name(lab.home), lan))


def dhcp(lab: Lab, built: State, node: str, address: str) -> Fault:
    """Let a DHCP client of the node take a lease of this address, on the master in whose network it is."""
    lab.processes.require("busybox")
    applets = lab.processes.must("asking busybox what it can", ["busybox", "--list"]).split()
    if lacking := {"udhcpc", "udhcpd"}.difference(applets):
        raise ToolMissing(f"busybox {min(lacking)}", "busybox-static")
    for port in _node(lab, built, node).ports:
        for network in (ip_interface(text).network for text in port.addresses):
            if ip_address(address) in network and network.version == _IPV4:
                gateway = next((one for one in built.gateways if ip_address(one) in network), "")
                return _make(lab, Lease(node, port.interface, port.lan, address, network.prefixlen, gateway))
    raise Pointless(f"{address} is in no IPv4 network of {node}", "a DHCP server there would not offer it")


def mend(lab: Lab) -> list[Fault]:
    """Undo every fault, the last one first, and give them."""
    known = load(lab.home)
    for at in reversed(range(len(known))):
        known[at].undo(lab.processes, lab.home)
        _save(lab.home, known[:at])
    for name in strangers.names(lab.home):  # a server whose podlan was killed
        strangers.unplug(lab.processes, lab.home, name)
    if known:
        # Who took another machine, or nobody, for an address's owner would go on for some seconds.
        flush = ("ip", "neighbour", "flush", "all")
        asking = [inside.into(lab.home, place, *flush) for place in inside.places(lab.home)]
        lab.processes.each(lambda argv: lab.processes.must("forgetting neighbours", argv), asking)
    return known


def standing(processes: Processes, home: Home) -> list[Fault]:
    """Give the faults that nobody has repaired meanwhile."""
    return [fault for fault in load(home) if fault.holds(processes, home)]


def load(home: Home) -> list[Fault]:
    """Give the faults that were made and not mended."""
    try:
        return faults.decode(_file(home).read_text(encoding="utf-8")) if _file(home).exists() else []
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ForeignLab(home.name, f"faults.json: {error!r}") from error


def _make(lab: Lab, fault: Fault) -> Fault:
    known = load(lab.home)
    if fault in known and fault.holds(lab.processes, lab.home):
        return fault
    _save(lab.home, [*(one for one in known if one != fault), fault])
    try:
        fault.do(lab.processes, lab.home)
    except BaseException:
        lab.processes.start_over()
        fault.undo(lab.processes, lab.home)
        _save(lab.home, known)
        raise
    return fault


def _node(lab: Lab, built: State, name: str) -> NodeState:
    nodes = {node.name: node for node in built.nodes}
    if name not in nodes:
        raise NoPlace(name, lab.home.name, tuple(nodes))
    return nodes[name]


def _on_lans(built: State) -> Iterator[tuple[str, str]]:
    """Give the addresses with prefix length that show which networks a LAN carries."""
    yield from ((lan.name, text) for lan in built.lans for text in lan.gateways)
    yield from ((port.lan, text) for node in built.nodes for port in node.ports for text in port.addresses)


def _save(home: Home, known: list[Fault]) -> None:
    partial = _file(home).with_suffix(".partial")
    partial.write_text(faults.encode(known), encoding="utf-8")
    partial.rename(_file(home))


def _file(home: Home) -> Path:
    return home.path / "faults.json"
