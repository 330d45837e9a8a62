"""What goes wrong on purpose: each fault does it, tells whether it is still so, and undoes it.

To undo what was never done, or what somebody has repaired, changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from podlan.lab import namespaces, node, rootfs, strangers
from podlan.lab.errors import NoLease
from podlan.lab.topology import LabNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.lab.node import Planned
    from podlan.lab.processes import Processes
    from podlan.lab.state import Home

LEASE = 3600
"""Seconds."""

# As a DHCP client of a distribution sets its interface up; NetworkManager gives its default routes such a metric.
_BOUND = """#!/bin/sh -eu
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface" valid_lft "$lease" preferred_lft "$lease"
for gateway in ${router:-}; do ip route add default via "$gateway" dev "$interface" metric 100; done
"""
_SERVE = """
server=$1 configuration=$2; shift 2
nsenter --net="$server" busybox udhcpd -f "$configuration" &
pid=$!
trap 'kill $pid' EXIT
"$@"
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """A pulled cable: the node's ports of the switch are down."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} is cut off: its port of the switch is down"

    def do(self, processes: Processes, home: Home) -> None:
        """Pull it."""
        self._set(processes, home, "down")

    def undo(self, processes: Processes, home: Home) -> None:
        """Put it back."""
        self._set(processes, home, "up")

    def holds(self, processes: Processes, home: Home) -> bool:
        """Tell whether one is down."""
        return any("UP" not in link["flags"] for link in self._ports(processes, home))

    def _set(self, processes: Processes, home: Home, state: str) -> None:
        lines = [f"link set {port['ifname']} {state}" for port in self._ports(processes, home)]
        strangers.batch(processes, "the switch", namespaces.in_net(home, namespaces.SWITCH), lines)

    def _ports(self, processes: Processes, home: Home) -> list[dict[str, Any]]:
        ends = _links(processes, namespaces.in_node(home, self.node), "type", "veth")
        far = {link["link_index"] for link in ends}
        ports = _links(processes, namespaces.in_net(home, namespaces.SWITCH), "type", "veth")
        return [port for port in ports if port["ifindex"] in far]


@dataclass(frozen=True, slots=True)
class DeletedShim:
    """The links through which a node and its pods talk are deleted."""

    node: str
    links: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.node} lost {', '.join(self.links)}"

    def do(self, processes: Processes, home: Home) -> None:
        """Delete those that are there."""
        there = self._there(processes, home)
        lines = [f"link delete {name}" for name in self.links if name in there]
        strangers.batch(processes, f"node {self.node}", namespaces.in_node(home, self.node), lines)

    def undo(self, processes: Processes, home: Home) -> None:
        """Let podlan make them again."""
        if self.holds(processes, home):
            node.reconcile(processes, home, planned(home, self.node))

    def holds(self, processes: Processes, home: Home) -> bool:
        """Tell whether one is missing."""
        return not self._there(processes, home).issuperset(self.links)

    def _there(self, processes: Processes, home: Home) -> set[str]:
        return {link["ifname"] for link in _links(processes, namespaces.in_node(home, self.node))}


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Another machine on the LAN has an address."""

    address: str
    machine: str
    lan: str

    def __str__(self) -> str:
        return f"another machine on the LAN, {self.machine}, has {self.address}"

    def do(self, processes: Processes, home: Home) -> None:
        """Plug it in."""
        bits = 128 if ":" in self.address else 32
        strangers.plug(processes, home, self.machine, self.lan, [f"{self.address}/{bits}"])

    def undo(self, processes: Processes, home: Home) -> None:
        """Take it away."""
        strangers.unplug(processes, home, self.machine)

    def holds(self, processes: Processes, home: Home) -> bool:
        """Tell whether it is there."""
        del processes
        return strangers.is_plugged(home, self.machine)


@dataclass(frozen=True, slots=True)
class Lease:
    """A DHCP client took a lease on the node's master and set it up; client and server are busybox's."""

    node: str
    master: str
    lan: str
    address: str
    prefix: int
    gateway: str

    def __str__(self) -> str:
        return f"a DHCP client has put {self.address}/{self.prefix} on {self.master} of {self.node}"

    def do(self, processes: Processes, home: Home) -> None:
        """Run a server on the LAN for as long as the client needs it."""
        server = strangers.free_name(home)
        script = namespaces.node(home, self.node) / "root/run/podlan-lab-udhcpc"
        configuration = home.path / f"{server}.udhcpd"
        settings = {"start": self.address, "end": self.address, "max_leases": 1, "interface": strangers.INTERFACE}
        settings |= {"lease_file": f"{configuration}.leases", "pidfile": f"{configuration}.pid"}
        options = {"subnet": str(IPv4Network((0, self.prefix)).netmask), "lease": LEASE}
        if self.gateway:
            options["router"] = self.gateway
        lines = [*settings.items(), *((f"option {key}", value) for key, value in options.items())]
        try:
            script.write_text(_BOUND, encoding="utf-8")
            script.chmod(0o755)
            configuration.write_text("".join(f"{key} {value}\n" for key, value in lines), encoding="utf-8")
            strangers.plug(processes, home, server, self.lan, ["169.254.0.1/16"])
            # The server takes two seconds to see that nobody has the address.
            client = ["busybox", "udhcpc", "-f", "-n", "-q", "-t", "4", "-T", "1"]
            client += ["-i", self.master, "-s", "/run/podlan-lab-udhcpc"]
            inside = namespaces.in_node(home, self.node, *client)
            serve = ["sh", "-euc", _SERVE, "sh", str(namespaces.net(home, server)), str(configuration), *inside]
            done = processes.run(serve)
            if done.code:
                raise NoLease(self.node, self.address, done.output)
        finally:
            strangers.unplug(processes, home, server)

    def undo(self, processes: Processes, home: Home) -> None:
        """Take off what the client put there."""
        inside = namespaces.in_node(home, self.node)
        own = f"{self.address}/{self.prefix} dev {self.master}"
        lines = [f"address delete {own}"] if self.holds(processes, home) else []
        routes = processes.must(
            f"looking at node {self.node}", [*inside, "ip", "route", "show", "default", "metric", "100"]
        )
        if f"via {self.gateway} dev {self.master}" in routes:
            lines.append(f"route delete default via {self.gateway} dev {self.master} metric 100")
        strangers.batch(processes, f"node {self.node}", inside, lines)

    def holds(self, processes: Processes, home: Home) -> bool:
        """Tell whether the address is there."""
        show = namespaces.in_node(home, self.node, "ip", "-o", "-4", "address", "show", "dev", self.master)
        return f" {self.address}/{self.prefix} " in processes.must(f"looking at node {self.node}", show)


Fault = Cut | DeletedShim | Duplicate | Lease

_KINDS: dict[str, Callable[..., Fault]] = {kind.__name__: kind for kind in (Cut, DeletedShim, Duplicate, Lease)}


def planned(home: Home, name: str) -> Planned:
    """Give a node of a lab with its plan, as it was delivered to it."""
    directory = namespaces.node(home, name) / "root" / rootfs.INPUT.lstrip("/")
    return node.planned(LabNode(name, directory, ()))


def encode(faults: list[Fault]) -> str:
    """Write faults down."""
    return json.dumps([{"kind": type(one).__name__, **dataclasses.asdict(one)} for one in faults])


def decode(text: str) -> list[Fault]:
    """Read what `encode` wrote."""
    found: list[Fault] = []
    for document in json.loads(text):
        make = _KINDS[document.pop("kind")]
        found.append(make(**{key: tuple(at) if isinstance(at, list) else at for key, at in document.items()}))
    return found


def _links(processes: Processes, inside: list[str], *words: str) -> list[dict[str, Any]]:
    shown = processes.must("looking at links", [*inside, "ip", "-j", "link", "show", *words])
    found: list[dict[str, Any]] = json.loads(shown)
    return found
