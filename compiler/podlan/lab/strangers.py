"""Machines on a lab's LAN that the site knows nothing of."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from podlan.lab import namespaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home

INTERFACE = "eth0"
"""A stranger's only one."""

_PREFIX = "stranger-"


def free_name(home: Home) -> str:
    """Give a stranger's name that none has, nor a node."""
    numbered = (f"{_PREFIX}{number}" for number in itertools.count(1))
    return next(name for name in numbered if not is_plugged(home, name) and not namespaces.node(home, name).exists())


def names(home: Home) -> list[str]:
    """Give those that are there."""
    return sorted(file.name for file in home.path.glob(f"net/{_PREFIX}*"))


def is_plugged(home: Home, name: str) -> bool:
    """Tell whether a stranger is there."""
    return namespaces.net(home, name).exists()


def batch(processes: Processes, what: str, inside: Sequence[str], lines: Sequence[str]) -> None:
    """Let ip do these lines."""
    processes.must(f"setting up {what}", [*inside, "ip", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def plug(processes: Processes, home: Home, name: str, lan: str, addresses: Sequence[str]) -> None:
    """Plug a machine with these addresses into the switch, on a LAN; it tells everybody that it has them."""
    namespaces.make_net(processes, home, name)
    file, inside = namespaces.net(home, name), namespaces.in_net(home, name)
    notify = "cd /proc/sys/net; for key in ipv4/conf/all/arp_notify ipv6/conf/all/ndisc_notify; do echo 1 >$key; done"
    processes.must(f"setting up machine {name}", [*inside, "sh", "-euc", notify])
    switch = [f"link add {name} type veth peer name {INTERFACE} netns {file}", f"link set {name} master {lan} up"]
    batch(processes, "the switch", namespaces.in_net(home, namespaces.SWITCH), switch)
    # Everything is on its link, so that it answers whoever asks.
    lines = [f"address add {one} dev {INTERFACE}" + " nodad" * (":" in one) for one in addresses]
    lines.append(f"link set {INTERFACE} up")
    lines += [f"route add {everything} dev {INTERFACE}" for everything in ("0.0.0.0/0", "::/0")]
    batch(processes, f"machine {name}", inside, lines)


def unplug(processes: Processes, home: Home, name: str) -> None:
    """Take a machine away again; one that is not there, or half, is no error."""
    if not is_plugged(home, name):
        return
    switch = namespaces.in_net(home, namespaces.SWITCH)
    if name in processes.must("looking at the switch", [*switch, "ip", "-br", "link"]):
        batch(processes, "the switch", switch, [f"link delete {name}"])
    file = namespaces.net(home, name)
    while os.path.ismount(file):
        processes.must(f"removing machine {name}", ["umount", str(file)])
    file.unlink()
