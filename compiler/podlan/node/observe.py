"""What is there: links, addresses, routes and sysctls, as frozen values, restricted to what a run can touch."""

from __future__ import annotations

import socket
from dataclasses import field
from typing import TYPE_CHECKING, Any

from podlan.node.abilities import Abilities
from podlan.plan import PROTOCOL
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.node._kernel import Kernel
    from podlan.plan import Route

_UP, _RUNNING, _PROMISC = 0x1, 0x40, 0x100
_UNICAST = 1
_NO_PREFIX_ROUTE = 0x200  # IFA_F_NOPREFIXROUTE
_VLAN_PROTOCOL = 0x8100  # ETH_P_8021Q
_FAILED, _TENTATIVE = 0x08, 0x40  # IFA_F_DADFAILED, IFA_F_TENTATIVE
_ONLINK = 4  # RTNH_F_ONLINK
_IPV6_METRIC = 1024  # what the kernel takes for metric 0
_IPV6_PREFIX_METRIC = 256
IPV6_LEAST_MTU = 1280  # RFC 8200, 5; with less the kernel takes IPv6 off an interface
FOREVER = 0xFFFF_FFFF
GLOBAL, LINK = 0, 253


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface as it is; `master` is the parent of a child or VLAN, `controller` the bridge or bond it is in.

    `vlan` is a VLAN's number; `users` are the MACs, beside its own, for which a VLAN is listening: those of children in
    any namespace, pods' among them.
    """

    name: str
    index: int
    kind: str = ""
    master: str = ""
    controller: str = ""
    mode: str = ""
    mac: str = ""
    alias: str = ""
    up: bool = False
    running: bool = False
    """Up, and with a carrier."""
    promisc: bool = False
    altnames: tuple[str, ...] = ()
    mtu: int = 0
    vlan: int = 0
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddressState:
    """An address as it is; `valid` and `preferred` are seconds, `protocol` 0 where the kernel knows none."""

    link: str
    address: str
    metric: int = 0
    protocol: int = 0
    valid: int = FOREVER
    preferred: int = FOREVER
    prefix_route: bool = True
    failed: bool = False
    """The kernel has found that another machine has it, and does not use it."""
    tentative: bool = False
    """The kernel asks whether another machine has it, and does not use it yet; it asks where there is a carrier."""

    @property
    def key(self) -> tuple[str, str]:
        """Give what makes an address the same one: the link, and the address with its length."""
        return (self.link, self.address)


@dataclass(frozen=True, slots=True)
class RouteState:
    """A route of the main table, as it is or as wanted; `plain` is False where podlan could not give it back."""

    link: str
    destination: str
    gateway: str = ""
    source: str = ""
    metric: int = 0
    protocol: int = PROTOCOL
    scope: int = GLOBAL
    onlink: bool = False
    metrics: tuple[tuple[str, int], ...] = ()
    plain: bool = True

    @property
    def family(self) -> int:
        """Give AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.destination else socket.AF_INET

    @property
    def key(self) -> tuple[str, int]:
        """Give what the kernel tells routes of one table apart by."""
        return (self.destination, self.metric)

    def fits(self, wanted: RouteState) -> bool:
        """Tell whether this route does what the wanted one would, whoever made it."""
        return (
            self.plain
            and (self.key, self.link, self.gateway, self.source)
            == (wanted.key, wanted.link, wanted.gateway, wanted.source)
            and (self.family == socket.AF_INET6 or self.scope == wanted.scope)
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """One look at the kernel: only what the plan, or what podlan applied last, names."""

    links: dict[str, LinkState] = field(default_factory=dict)
    addresses: tuple[AddressState, ...] = ()
    routes: tuple[RouteState, ...] = ()
    sysctls: dict[str, str | None] = field(default_factory=dict)
    has_ipv6: bool = True
    owners: dict[str, str] = field(default_factory=dict)
    """The links that have the names asked for, by name or altname."""
    abilities: Abilities = field(default_factory=Abilities)

    def address(self, link: str, address: str) -> AddressState | None:
        """Find an address of a link."""
        return next((one for one in self.addresses if one.key == (link, address)), None)


def bare(address: str) -> str:
    """Give an address without its prefix length."""
    return address.partition("/")[0]


def wanted_route(route: Route) -> RouteState:
    """Give the plan's route as the kernel will show it."""
    is_v6 = ":" in route.destination
    return RouteState(
        link=route.link,
        destination=route.destination,
        gateway=route.gateway,
        source=route.source,
        metric=route.metric or (_IPV6_METRIC if is_v6 else 0),
        scope=GLOBAL if route.gateway or is_v6 else LINK,
    )


def observe(
    kernel: Kernel,
    names: Iterable[str],
    sysctls: Iterable[str],
    altnames: Iterable[str] = (),
    kinds: Iterable[str] = ("macvlan",),
) -> Observed:
    """Look once: the named links and all of these kinds, all addresses of them, the main tables, the named sysctls.

    `altnames` are names of which it matters who has them.
    """
    messages = {message.get("ifname"): message for kind in kinds for message in kernel.links_of_kind(kind)}
    for name in names:
        if name not in messages and (message := kernel.find_link(name)) is not None:
            messages[message.get("ifname")] = message
    links = {name: _link(kernel, message) for name, message in messages.items()}
    indexes = {link.index: link.name for link in links.values()}
    known = {name: link.name for link in links.values() for name in (link.name, *link.altnames)}
    has_ipv6 = kernel.has_ipv6
    routes = [_route(kernel, message, indexes) for message in kernel.routes(socket.AF_INET)]
    if has_ipv6:
        routes += [_route(kernel, message, indexes) for message in kernel.routes(socket.AF_INET6)]
    return Observed(
        links=links,
        addresses=tuple(
            _address(message, indexes[message["index"]])
            for message in kernel.addresses()
            if message["index"] in indexes
        ),
        routes=tuple(route for route in routes if route is not None),
        sysctls={key: kernel.sysctl(key) for key in sysctls},
        has_ipv6=has_ipv6,
        owners={name: known.get(name) or kernel.own_name(name) for name in altnames},
    )


def _link(kernel: Kernel, message: Any) -> LinkState:  # noqa: ANN401 - a pyroute2 message
    kind = str(message.get(("linkinfo", "kind")) or "")
    parent = message.get("link")
    controller = message.get("master")
    more = message.get("prop_list")
    # A parent in another namespace has an index that means something else here.
    is_here = kind in ("macvlan", "vlan") and parent and message.get("link_netnsid") is None
    is_tagged = kind == "vlan" and message.get(("linkinfo", "data", "vlan_protocol")) in (None, _VLAN_PROTOCOL)
    return LinkState(
        name=message.get("ifname"),
        index=message["index"],
        kind=kind,
        master=kernel.name(parent) if is_here else "",
        controller=kernel.name(controller) if controller else "",
        mode=str(message.get(("linkinfo", "data", "macvlan_mode")) or "") if kind == "macvlan" else "",
        mac=str(message.get("address") or "").lower(),
        alias=str(message.get("ifalias") or ""),
        up=bool(message["flags"] & _UP),
        running=bool(message["flags"] & _RUNNING),
        promisc=bool(message["flags"] & _PROMISC),
        altnames=tuple(value for name, value in (more["attrs"] if more else ()) if name == "IFLA_ALT_IFNAME"),
        mtu=message.get("mtu") or 0,
        vlan=(message.get(("linkinfo", "data", "vlan_id")) or 0) if is_tagged else 0,
        users=kernel.listening(message["index"]) if kind == "vlan" else (),
    )


def _address(message: Any, link: str) -> AddressState:  # noqa: ANN401 - a pyroute2 message
    times = message.get("cacheinfo")
    flags = message.get("flags") or 0
    address = message.get("local") or message.get("address")
    metric = message.get("rt_priority") or 0
    return AddressState(
        link=link,
        address=f"{address}/{message['prefixlen']}",
        metric=0 if metric == _IPV6_PREFIX_METRIC and ":" in address else metric,
        protocol=message.get("proto") or 0,
        valid=times["ifa_valid"] if times else FOREVER,
        preferred=times["ifa_preferred"] if times else FOREVER,
        prefix_route=not flags & _NO_PREFIX_ROUTE,
        failed=bool(flags & _FAILED),
        tentative=flags & (_TENTATIVE | _FAILED) == _TENTATIVE,
    )


def _route(kernel: Kernel, message: Any, indexes: dict[int, str]) -> RouteState | None:  # noqa: ANN401 - a pyroute2 message
    if message["type"] != _UNICAST:
        return None
    index = message.get("oif")
    any_address = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - a destination, not a bind
    special = any(message.get(name) is not None for name in ("multipath", "encap", "via", "nh_id"))
    metrics = message.get("metrics")
    return RouteState(
        link=indexes.get(index) or (kernel.name(index) if index else ""),
        destination=f"{message.get('dst') or any_address}/{message['dst_len']}",
        gateway=message.get("gateway") or "",
        source=message.get("prefsrc") or "",
        metric=message.get("priority") or 0,
        protocol=message["proto"],
        scope=message["scope"],
        onlink=bool(message["flags"] & _ONLINK),
        metrics=tuple((name, value) for name, value in metrics["attrs"]) if metrics else (),
        plain=not special and not message["tos"] and not message["src_len"],
    )
