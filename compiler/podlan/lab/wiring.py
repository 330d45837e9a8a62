"""The LAN: a switch, a gateway that forwards nothing between neighbours, and what an OS sets up on a node."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from podlan.lab import namespaces
from podlan.lab.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home
    from podlan.lab.topology import LabNode, Topology, Wire

UPLINK = "lan0"
"""The gateway's interface."""

# A new network namespace takes its IPv4 settings from the machine's; a lab must not depend on those.
_KERNEL_DEFAULTS = tuple(
    f"net/ipv4/conf/{scope}/{name}={value}"
    for scope in ("all", "default")
    for name, value in {
        "forwarding": 0,
        "rp_filter": 0,
        "arp_filter": 0,
        "arp_ignore": 0,
        "arp_announce": 0,
        "arp_notify": 0,
        "proxy_arp": 0,
        "accept_local": 0,
    }.items()
)
_GATEWAY = ("net/ipv4/conf/all/send_redirects=0", "net/ipv4/conf/default/send_redirects=0")
# Else the machine's firewall rules for bridged packets would apply to the switch.
_SWITCH = tuple(f"net/bridge/bridge-nf-call-{table}=0" for table in ("iptables", "ip6tables", "arptables"))

_SET = 'for pair; do file=/proc/sys/${pair%%=*}; if [ -e "$file" ]; then echo "${pair#*=}" >"$file"; fi; done'


def wire(node: LabNode) -> Wire:
    """Give the node's one wire; several are refused for now."""
    if len(node.wires) != 1:
        raise Unsupported(f"node {node.name} has {len(node.wires)} masters", "it can do one a node for now")
    return node.wires[0]


def make_switch(processes: Processes, home: Home) -> None:
    """Make the switch, with nothing plugged in."""
    namespaces.make_net(processes, home, namespaces.SWITCH)
    _set(processes, "the switch", namespaces.in_net(home, namespaces.SWITCH), _SWITCH)


def make_gateway(processes: Processes, home: Home) -> None:
    """Make the gateway, not yet plugged in."""
    namespaces.make_net(processes, home, namespaces.GATEWAY)
    _set(processes, "the gateway", namespaces.in_net(home, namespaces.GATEWAY), (*_KERNEL_DEFAULTS, *_GATEWAY))


def prepare_node(processes: Processes, home: Home, node: LabNode) -> None:
    """Give a node, not yet plugged in, the kernel's own defaults."""
    _set(processes, f"node {node.name}", namespaces.in_node(home, node.name), _KERNEL_DEFAULTS)


def start_pod(processes: Processes, home: Home, node: str, pod: str) -> None:
    """Make a pod's network namespace in its node, as a runtime does before it calls the plugins."""
    file = namespaces.pod_net(pod)
    make = 'touch "$0"; exec unshare --net="$0" -- sh -euc "$@"'
    inside = namespaces.in_node(home, node, "sh", "-euc", make, file)
    # Else each plugin waits a second or two for the end of duplicate detection; the lab looks for duplicates itself.
    settings = (*_KERNEL_DEFAULTS, "net/ipv6/conf/default/dad_transmits=0")
    setup = [f"ip link set lo up; {_SET}", "sh", *settings]
    processes.must(f"making the network namespace of pod {pod}", [*inside, *setup])


def plug(processes: Processes, home: Home, topology: Topology) -> None:
    """Plug every node and the gateway into the switch."""
    ends = [(wire(node).master, namespaces.node(home, node.name) / "net") for node in topology.nodes]
    if topology.gateways:
        ends.append((UPLINK, namespaces.net(home, namespaces.GATEWAY)))
    batch = ["link add lan type bridge stp_state 0 mcast_snooping 0", "link set lan up"]
    for number, (interface, file) in enumerate(ends):
        batch.append(f"link add port{number} type veth peer name {interface} netns {file}")
        batch.append(f"link set port{number} master lan up")
    _batch(processes, "the switch", namespaces.in_net(home, namespaces.SWITCH), batch)


def start_gateway(processes: Processes, home: Home, topology: Topology) -> None:
    """Bring up the gateway with its addresses."""
    batch = [*_up(UPLINK), *_addresses(UPLINK, topology.gateways)]
    _batch(processes, "the gateway", namespaces.in_net(home, namespaces.GATEWAY), batch)


def start_node(processes: Processes, home: Home, node: LabNode) -> None:
    """Bring up a node's own network as its operating system would, before podlan comes."""
    own = wire(node)
    batch = [*_up(own.master), *_addresses(own.master, own.addresses)]
    batch += [f"route add default via {gateway} dev {own.master}" for gateway in own.gateways]
    inside = namespaces.in_node(home, node.name)
    _batch(processes, f"node {node.name}", inside, batch)
    _set(processes, f"node {node.name}", inside, [f"{key}={value}" for key, value in node.sysctls])


def _up(interface: str) -> Iterator[str]:
    yield "link set lo up"
    yield f"link set {interface} up"


def _addresses(interface: str, addresses: Sequence[str]) -> Iterator[str]:
    for address in addresses:
        # Duplicate detection would leave an IPv6 address without use for a second or two; these are known to be unique.
        yield f"address add {address} dev {interface}" + (" nodad" if ip_interface(address).version == 6 else "")  # noqa: PLR2004 - the family


def _batch(processes: Processes, what: str, inside: Sequence[str], lines: Sequence[str]) -> None:
    processes.must(f"setting up {what}", [*inside, "ip", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def _set(processes: Processes, what: str, inside: Sequence[str], pairs: Sequence[str]) -> None:
    if pairs:
        processes.must(f"setting up {what}", [*inside, "sh", "-euc", _SET, "sh", *pairs])
