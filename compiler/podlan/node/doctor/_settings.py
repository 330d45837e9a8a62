"""Kernel settings that are none of the plan's, and yet decide who answers whom; each is told with its why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Severity
from podlan.node.doctor._case import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_SAME_SUBNET = 2  # arp_ignore: answer only who asks from the address's own subnet
_FULL = 0.8
_FORWARDING = "net/ipv6/conf/all/forwarding"
_TABLES = (("ipv4", "arp_cache"), ("ipv6", "ndisc_cache"))


def settings(case: Case) -> Iterator[Finding]:
    """Tell of settings that cut pods from their host or the LAN, or make the host answer for its pods."""
    yield from _bridges(case)
    yield from _unforwarded(case)
    children = {link.name: link.master for link in case.plan.links if link.kind == "macvlan"}
    for child, master in children.items():
        own = [address for address in case.plan.addresses if address.link == child and ":" not in address.address]
        pods = [route for route in case.plan.routes if route.link == child and ":" not in route.destination]
        if child not in case.observed.links or not own or not pods:
            continue
        ignored = _highest(case, child, "arp_ignore")
        if ignored >= _SAME_SUBNET and all(address.address.endswith("/32") for address in own):
            yield told(
                "PL675",
                f"arp_ignore is {ignored} on {child} (the higher of all and {child}): it answers no pod, since no pod "
                f"asks from within its /32",
                hint=f"set net.ipv4.conf.all.arp_ignore and net.ipv4.conf.{child}.arp_ignore to 1 (kube-proxy's "
                f"strictARP) or 0",
            )
        elif ignored == 1:
            yield from _strict(case, child, master)
        if _is_on(case, master, "proxy_arp") and _is_on(case, master, "forwarding", all_decides=False):
            yield told(
                "PL675",
                f"proxy_arp is on for {master}: the host answers for its pods, so each has two MAC addresses on the "
                f"LAN, and neighbours send to the wrong one in turns",
                hint=f"set net.ipv4.conf.all.proxy_arp and net.ipv4.conf.{master}.proxy_arp to 0",
            )


def _bridges(case: Case) -> Iterator[Finding]:
    masters = {link.name for network in case.networks if (link := case.master(network)) and link.kind == "bridge"}
    for master in sorted(masters):
        if _number(case, "net/bridge/bridge-nf-call-iptables"):
            yield told(
                "PL675",
                f"{master} is a bridge, and bridge-nf-call-iptables is on: what comes to pods runs through the host's "
                f"PREROUTING rules (raw, mangle, nat), which can drop or redirect it; FORWARD does not see it",
                hint="set net.bridge.bridge-nf-call-iptables to 0, unless bridges of this node need it, or keep such "
                "rules from the pods' addresses",
                severity=Severity.NOTE,
            )


def _unforwarded(case: Case) -> Iterator[Finding]:
    """Tell of Services' networks to which pods are sent through a host that passes no IPv6 on; IPv4 is the plan's."""
    children = {address.address.partition("/")[0]: address.link for address in case.plan.addresses}
    masters = {link.name: link.master for link in case.plan.links}
    own = {f"{one}/128" for one in case.plan.identity}
    for network in case.networks:
        ways = {dst: children[hop] for dst, hop in network.hops if ":" in hop and hop in children and dst not in own}
        for child in sorted(set(ways.values())):
            master = masters.get(child, "")
            both = (child, master)
            # Linux 6.17 and newer can forward for single interfaces (ip-sysctl, force_forwarding).
            if _number(case, _FORWARDING) or all(
                _number(case, f"net/ipv6/conf/{one}/force_forwarding") for one in both
            ):
                continue
            there = ", ".join(dst for dst, link in ways.items() if link == child)
            listening = (
                f"set net.ipv6.conf.{master}.accept_ra to 2 first, as for every interface that hears routers (with 1, "
                "the default routes from them are gone when the node forwards), then "
            )
            yield told(
                "PL675",
                f"{case.root.shown(network.file)} sends pods to {there} through this node, and "
                f"net.ipv6.conf.all.forwarding is 0: they get no answer from IPv6 Services",
                hint=(listening if _number(case, f"net/ipv6/conf/{master}/accept_ra") == 1 else "")
                + "set net.ipv6.conf.all.forwarding to 1",
            )


def _strict(case: Case, child: str, master: str) -> Iterator[Finding]:
    for network in case.networks:
        link = case.master(network)
        if link is None or link.name != master or not network.sets:
            continue
        lacking = [one for one in case.plan.identity if ":" not in one and f"{one}/32" not in network.routes]
        if lacking:
            yield told(
                "PL675",
                f"arp_ignore is 1 on {child}, and {case.root.shown(network.file)} gives pods no route to "
                f"{', '.join(lacking)}: they cannot reach their own node",
                hint="compile with hostAccess via shim, which gives pods these routes, or set "
                "net.ipv4.conf.all.arp_ignore to 0",
            )


def _highest(case: Case, link: str, key: str) -> int:
    """Give what the kernel goes by: the higher of `all` and the interface's own (ip-sysctl, arp_ignore)."""
    return max(_number(case, f"net/ipv4/conf/{name}/{key}") for name in ("all", link))


def _is_on(case: Case, link: str, key: str, *, all_decides: bool = True) -> bool:
    names = ("all", link) if all_decides else (link,)
    return any(_number(case, f"net/ipv4/conf/{name}/{key}") for name in names)


def _number(case: Case, key: str) -> int:
    value = case.kernel.sysctl(key) or ""
    return int(value) if value.isdigit() else 0


def neighbours(case: Case) -> Iterator[Finding]:
    """Tell when the neighbour tables are nearly full; all namespaces of a machine, so all its pods, share them."""
    for family, table in _TABLES:
        try:
            with open(f"/proc/net/stat/{table}", encoding="ascii") as file:  # noqa: PTH123 - strings, as everywhere here
                text = file.read()
        except OSError:  # only the machine's first namespace has it
            continue
        key = f"net/{family}/neigh/default/gc_thresh3"
        yield from crowded(family, entries(text), _number(case, key))


def entries(text: str) -> int:
    """Give the number of entries from a table's statistics: the first column, the same for each processor."""
    lines = text.splitlines()
    return int(lines[1].split()[0], 16) if len(lines) > 1 else 0


def crowded(family: str, number: int, most: int) -> Iterator[Finding]:
    """Tell when a table has no room for many more."""
    if most and number >= most * _FULL:
        yield told(
            "PL675",
            f"{number} neighbours are known to this machine and its pods, and the table holds {most} "
            f"(net.{family}.neigh.default.gc_thresh3): when it is full, new neighbours are unreachable",
            hint=f"raise net.{family}.neigh.default.gc_thresh1, gc_thresh2 and gc_thresh3, to twice of what they are",
        )
