"""What people use instead of podlan, as data: the how-to's own lines, `ip -batch`, ifstate."""

from __future__ import annotations

from pathlib import Path

IFSTATE = Path(__file__).parents[2] / ".venv/ifstate/bin/ifstatecli"

HOWTO = """\
ip link set eth0 promisc on
ip link add link eth0 macvlan0 type macvlan mode bridge
ip link set dev macvlan0 up
ip addr add 172.16.129.101/24 dev macvlan0
route add -net 0.0.0.0 gw 172.16.129.254 dev macvlan0
route del -net 0.0.0.0 gw 172.16.129.254 dev eth0
"""
"""What the how-to puts into rc.local, as it stands there."""

HOWTO_BACK = """\
route add -net 0.0.0.0 gw 172.16.129.254 dev eth0
route del -net 0.0.0.0 gw 172.16.129.254 dev macvlan0
ip link del macvlan0
ip link set eth0 promisc off
"""
"""Its lines, taken back by hand; the how-to has none for it."""

BATCH = """\
link add link eth0 name macvlan0 address 02:70:ac:10:81:c7 type macvlan mode bridge
link set dev macvlan0 alias podlan up
address add 172.16.129.199/32 dev macvlan0
route add 172.16.129.110/31 dev macvlan0 src 172.16.129.199
route add 172.16.129.112/29 dev macvlan0 src 172.16.129.199
link set dev eth0 promisc on
"""
"""The links, addresses and routes of the node's plan."""

IFSTATE_SHIM = """\
interfaces:
  eth0:
    addresses: [172.16.129.101/24]
    link: {state: up, kind: veth}
  macvlan0:
    addresses: [172.16.129.199/32]
    link: {state: up, kind: macvlan, link: eth0, macvlan_mode: bridge, address: "02:70:ac:10:81:c7"}
    sysctl: {ipv4: {arp_filter: 1, arp_announce: 2}}
routing:
  routes:
    - {to: 0.0.0.0/0, via: 172.16.129.254}
    - {to: 172.16.129.110/31, dev: macvlan0, src: 172.16.129.199}
    - {to: 172.16.129.112/29, dev: macvlan0, src: 172.16.129.199}
"""
"""The same for ifstate, which sets no promiscuous mode and knows neither files nor services."""

IFSTATE_MOVE = """\
interfaces:
  eth0:
    addresses: []
    link: {state: up, kind: veth}
  macvlan0:
    addresses: [172.16.129.101/24]
    link: {state: up, kind: macvlan, link: eth0, macvlan_mode: bridge, address: "02:70:ac:10:81:c7"}
routing:
  routes:
    - {to: 0.0.0.0/0, via: 172.16.129.254}
"""
"""The how-to's purpose: the node's address on the child, and its default route through it."""

IFSTATE_BEFORE = """\
interfaces:
  eth0:
    addresses: [172.16.129.101/24]
    link: {state: up, kind: veth}
routing:
  routes:
    - {to: 0.0.0.0/0, via: 172.16.129.254}
"""
"""The node as it was."""


def alone(*command: str | Path) -> list[str]:
    """Give the command in a mount and PID namespace of its own, with a /run of its own.

    ifstate deletes what its file does not list, other network namespaces included, as far as it can see them.
    """
    private = 'mount -t tmpfs tmpfs /run && exec "$@"'
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", private, "sh"]
    return [*unshare, *map(str, command)]
