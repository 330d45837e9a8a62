"""The LANs: a switch, a gateway that routes and leaves neighbours to each other, and what an OS sets up on a node."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import TYPE_CHECKING

from podlan.lab import namespaces
from podlan.lab.errors import CommandFailed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home
    from podlan.lab.topology import LabNode, Lan, Topology, Wire

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
_GATEWAY = (
    "net/ipv4/conf/all/send_redirects=0",
    "net/ipv4/conf/default/send_redirects=0",
    "net/ipv4/ip_forward=1",
    "net/ipv6/conf/all/forwarding=1",
)
# Else the machine's firewall rules for bridged packets would apply to the switch.
_SWITCH = tuple(f"net/bridge/bridge-nf-call-{table}=0" for table in ("iptables", "ip6tables", "arptables"))

_SET = 'for pair; do file=/proc/sys/${pair%%=*}; if [ -e "$file" ]; then echo "${pair#*=}" >"$file"; fi; done'


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


def require(processes: Processes, topology: Topology) -> None:
    """Raise Unsupported unless this kernel has what the LANs need."""
    tagged = next(((node, wire) for node in topology.nodes for wire in node.wires if wire.vlan), None)
    if tagged is None:
        return
    make = "link add name a type veth peer name b\nlink add link a name c type vlan id 1\n"
    if processes.run(["unshare", "--net", "--", "ip", "-batch", "-"], stdin=make).code:
        raise Unsupported(
            f"{tagged[1].master} of {tagged[0].name} is a VLAN, and this kernel makes none (module 8021q)",
            "load that module, use a kernel that has it, or try a copy of the site whose masters have no vlan",
        )


def plug(processes: Processes, home: Home, topology: Topology, *, secured: bool = False) -> None:
    """Plug every node and the gateway into the switch; `secured`: each port lets one MAC in, its node's."""
    batch, locks, known = [], [], []
    mtus = {lan.name: lan.mtu for lan in topology.lans}
    for lan in topology.lans:
        batch.append(f"link add {lan.name} type bridge stp_state 0 mcast_snooping 0")
        batch.append(f"link set {lan.name} up")
        if lan.gateways:
            file = namespaces.net(home, namespaces.GATEWAY)
            ends = f"up-{lan.name} mtu {lan.mtu} type veth peer name {lan.name} mtu {lan.mtu}"
            batch += [f"link add {ends} netns {file}", f"link set up-{lan.name} master {lan.name} up"]
    for number, ((node, interface), wires) in enumerate(_ends(topology).items()):
        mtu = max(mtus[wire.lan] for wire in wires)
        mac = f"02:4c:41:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        peer = f"peer name {interface} mtu {mtu} address {mac} netns {namespaces.node(home, node) / 'net'}"
        batch += [f"link add port{number} mtu {mtu} type veth {peer}", f"link set port{number} up"]
        for wire in wires:
            port = f"port{number}.{wire.vlan}" if wire.vlan else f"port{number}"
            if wire.vlan:
                batch.append(f"link add link port{number} name {port} type vlan id {wire.vlan}")
            batch.append(f"link set {port} master {wire.lan} up")
            if wire.reflects:
                batch.append(f"link set {port} type bridge_slave hairpin on")
            # A locked port takes no source address that it was not told of.
            locks.append(f"link set {port} type bridge_slave locked on learning off")
            known.append(f"fdb replace {mac} dev {port} master static")
    inside = namespaces.in_net(home, namespaces.SWITCH)
    _batch(processes, "the switch", inside, batch)
    if secured:
        try:
            _batch(processes, "port security", inside, locks)
            _batch(processes, "port security", inside, known, program="bridge")
        except CommandFailed as failed:
            raise Unsupported(
                f"this kernel's bridges cannot keep a port to one MAC ({failed.output.strip()})",
                "that needs Linux 5.18 and an iproute2 as new; leave out --port-security",
            ) from failed


def _ends(topology: Topology) -> dict[tuple[str, str], list[Wire]]:
    """Give what is plugged in, and the LANs that it is on: several, where they are VLANs of one interface."""
    ends: dict[tuple[str, str], list[Wire]] = {}
    for node in topology.nodes:
        for wire in node.wires:
            ends.setdefault((node.name, wire.plug), []).append(wire)
    return ends


def start_gateway(processes: Processes, home: Home, lans: Sequence[Lan]) -> None:
    """Bring up the gateway with its addresses; it is a router, and leaves neighbours to each other."""
    inside = namespaces.in_net(home, namespaces.GATEWAY)
    batch = ["link set lo up"]
    rules: dict[int, list[str]] = {4: [], 6: []}
    for lan in lans:
        if not lan.gateways:
            continue
        batch.append(f"link set {lan.name} up")
        batch += _addresses(lan.name, lan.gateways)
        for network in (ip_interface(address).network for address in lan.gateways):
            rules[network.version].append(f"rule add iif {lan.name} from {network} to {network} blackhole")
    _batch(processes, "the gateway", inside, batch)
    for family, lines in rules.items():
        if lines:
            _batch(processes, "the gateway", inside, lines, f"-{family}")


def start_node(processes: Processes, home: Home, node: LabNode) -> None:
    """Bring up a node's own network as its operating system would, before podlan comes."""
    batch = ["link set lo up"]
    for wire in node.wires:
        batch.append(f"link set dev {wire.plug} up")
        batch += _addresses(wire.master, wire.addresses)
        batch += [f"route add default via {gateway} dev {wire.master}" for gateway in wire.gateways]
    inside = namespaces.in_node(home, node.name)
    _batch(processes, f"node {node.name}", inside, batch)
    _set(processes, f"node {node.name}", inside, [f"{key}={value}" for key, value in node.sysctls])


def _addresses(interface: str, addresses: Sequence[str]) -> Iterator[str]:
    for address in addresses:
        # Duplicate detection would leave an IPv6 address without use for a second or two; these are known to be unique.
        yield f"address add {address} dev {interface}" + (" nodad" if ip_interface(address).version == 6 else "")  # noqa: PLR2004 - the family


def _batch(
    processes: Processes, what: str, inside: Sequence[str], lines: Sequence[str], *options: str, program: str = "ip"
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    processes.must(f"setting up {what}", [*inside, program, *options, "-batch", "-"], stdin=text)


def _set(processes: Processes, what: str, inside: Sequence[str], pairs: Sequence[str]) -> None:
    if pairs:
        processes.must(f"setting up {what}", [*inside, "sh", "-euc", _SET, "sh", *pairs])
