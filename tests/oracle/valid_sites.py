"""Sites that ought to compile, drawn by hypothesis: plain data to write as YAML, and what in them is taken.

Nothing of podlan is asked whether a site is valid: everything is placed where, by the arithmetic here, nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from cni_reading import Span
from hypothesis import strategies as st

V4_BASES = (10, 192, 172, 100)
V4_LENGTHS = (30, 29, 28, 27, 26, 24, 22, 16, 9)
V6_LENGTHS = (126, 125, 124, 120, 112, 64, 48)
NAMES = ("a", "b.dc1", "node-3", "n4", "e")
INTERFACES = ("eth0", "ens192", "bond0.100")
CNI_VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0")
BITS = {4: 32, 6: 128}


def text(family: int, value: int, *, full: bool = False) -> str:
    address = (IPv4Address if family == 4 else IPv6Address)(value)
    return address.exploded if full else str(address)


@dataclass
class Lan:
    """A subnet as it is drawn: its bounds and what of it nobody has yet."""

    name: str
    family: int
    length: int
    first: int
    gateway: int | None = None
    free: list[tuple[int, int]] = field(default_factory=list)
    routers: list[int] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return self.first + (1 << (BITS[self.family] - self.length)) - 1

    @property
    def usable(self) -> tuple[int, int]:
        return self.first + 1, self.last - (self.family == 4)

    @property
    def room(self) -> int:
        return sum(last - first + 1 for first, last in self.free)

    def take(self, draw: Any, size: int) -> tuple[int, int] | None:
        """Take a run of free addresses at a drawn place; None where there is none so long."""
        fitting = [gap for gap in self.free if gap[1] - gap[0] + 1 >= size]
        if not fitting:
            return None
        first, last = gap = draw(st.sampled_from(fitting))
        start = draw(st.one_of(st.sampled_from([first, last - size + 1]), st.integers(first, last - size + 1)))
        self.free.remove(gap)
        self.free += [part for part in ((first, start - 1), (start + size, last)) if part[0] <= part[1]]
        return start, start + size - 1


@dataclass
class Drawn:
    """A site: its sections, and what of its subnets is somebody's."""

    document: dict[str, Any]
    taken: list[Span]


def write_range(draw: Any, family: int, first: int, last: int) -> str:
    """Write a range in one of the ways that people do."""
    forms = [f"{text(family, first)}-{text(family, last)}", f"{text(family, first, full=True)} - {text(family, last)}"]
    size = last - first + 1
    if first == last:
        forms.append(text(family, first))
    if not size & (size - 1) and not first % size:
        forms.append(f"{text(family, first)}/{BITS[family] - size.bit_length() + 1}")
    if family == 4 and first >> 8 == last >> 8:
        forms.append(f"{text(4, first)}-{last & 255}")
    return draw(st.sampled_from(forms))


@st.composite
def lans(draw: Any, index: int, family: int) -> Lan:
    length = draw(st.sampled_from(V4_LENGTHS if family == 4 else V6_LENGTHS))
    base, fixed = (V4_BASES[index] << 24, 8) if family == 4 else (0xFD00_0000 + index << 96, 32)
    block = draw(st.integers(0, (1 << (length - fixed)) - 1))
    lan = Lan(f"lan{index}-{family}", family, length, base | block << (BITS[family] - length))
    low, high = lan.usable
    where = st.sampled_from([None, low, high]) | st.integers(low, high)
    lan.gateway = draw(where)
    lan.free = [(low, high)]
    withheld = low if lan.gateway is None else lan.gateway
    lan.free = [part for part in ((low, withheld - 1), (withheld + 1, high)) if part[0] <= part[1]]
    lan.written["cidr"] = f"{text(family, lan.first, full=draw(st.booleans()))}/{length}"
    if lan.gateway is not None:
        lan.written["gateway"] = text(family, lan.gateway)
        lan.routers.append(lan.gateway)
    return lan


@st.composite
def reservations(draw: Any, lan: Lan) -> list[tuple[int, int]]:
    sizes = draw(st.lists(st.integers(1, max(1, min(9, lan.room // 6))), max_size=3))
    found = [got for size in sizes if lan.room > 4 and (got := lan.take(draw, size))]
    if found:
        lan.written["reserved"] = [
            {"range": write_range(draw, lan.family, *item), "reason": "printers"} for item in found
        ]
        lan.routers.append(found[0][0])
    return found


@st.composite
def machines(draw: Any, lan: Lan) -> list[Span]:
    """A router and a DNS server, of which nothing but a route and `dns` speak."""
    found = []
    if draw(st.booleans()) and lan.room > 4 and (router := lan.take(draw, 1)):
        target = "198.51.100.0/24" if lan.family == 4 else "2001:db8:2::/48"
        lan.written["routes"] = [{"dst": target, "gw": text(lan.family, router[0])}]
        found.append(Span(lan.family, *router, f"the router of {lan.name}"))
    if draw(st.booleans()) and lan.room > 4 and (server := lan.take(draw, 1)):
        lan.written["dns"] = {"nameservers": [text(lan.family, server[0])]}
        found.append(Span(lan.family, *server, f"the DNS server of {lan.name}"))
    return found


@st.composite
def routes(draw: Any, lan: Lan) -> list[dict[str, str]]:
    """Routes to different networks, by routers that are no pods."""
    targets = ("0.0.0.0/0", "203.0.113.0/24", "198.51.100.7/32") if lan.family == 4 else ("::/0", "2001:db8:1::/48")
    found = []
    for target in draw(st.lists(st.sampled_from(targets), unique=True, max_size=3)):
        route = {"dst": target}
        if lan.gateway is None or draw(st.booleans()):
            if not lan.routers:
                continue
            route["gw"] = text(lan.family, draw(st.sampled_from(lan.routers)))
        found.append(route)
    return found


@st.composite
def pools(draw: Any, lan: Lan) -> list[str]:
    """The subnet in one, two, or all of its parts; a part alone may be too small for what is asked."""
    low, high = lan.usable
    middle = draw(st.integers(low, high))
    whole = [write_range(draw, lan.family, low, high)]
    parts = [whole, [lan.written["cidr"]]]
    if middle < high:
        parts.append([write_range(draw, lan.family, middle + 1, high), write_range(draw, lan.family, low, middle)])
    if lan.room > 64:
        parts.append([write_range(draw, lan.family, low + (high - low) // 2, high)])
    return draw(st.sampled_from(parts))


@st.composite
def cni(draw: Any) -> dict[str, Any]:
    form = draw(st.sampled_from(["conflist", "conf"]))
    options = {
        "name": draw(st.sampled_from(["pods", "k8s-pod-network", "A.b_c-1"])),
        "format": form,
        "dataDir": draw(st.sampled_from(["/run/podlan/ipam", "/var/lib/cni/networks"])),
    }
    if draw(st.booleans()):
        options["fileName"] = f"10-lan.{form}"
    asked = draw(st.sampled_from([*CNI_VERSIONS, "old plugins", "plugins", None]))
    if asked in CNI_VERSIONS:
        options["cniVersion"] = asked
    elif asked:
        options["plugins"] = {"version": "0.9.1" if asked == "old plugins" else "1.1.1"}
    return options


@st.composite
def valid_sites(draw: Any) -> Drawn:
    """Draw one to three masters, each with a subnet or two, and up to five nodes, each on one of them."""
    nodes: dict[str, dict[str, Any]] = {}
    document: dict[str, Any] = {
        "version": 1,
        "site": "drawn",
        "cluster": draw(st.sampled_from([{"kubernetes": "1.31"}, {"kubernetes": "1.23", "runtime": "docker"}])) | {},
        "cni": draw(cni()),
        "subnets": {},
        "masters": {},
        "profiles": {"old": {"cluster": {"kubernetes": "1.22"}}},
        "nodes": nodes,
    }
    if "cniVersion" in document["cni"]:
        document["cluster"] = {"kubernetes": "1.31"}  # dockershim takes 0.4.0 at most
        document["profiles"]["early"] = {"cni": {"cniVersion": "0.3.1"}}
    if draw(st.booleans()):
        document["cluster"]["serviceCIDR"] = draw(
            st.sampled_from([["198.18.0.0/16"], ["198.18.0.0/16", "fdff::/108"], ["fdff::/108"]])
        )
    names = list(draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=5)))
    count = draw(st.integers(1, min(3, len(names))))
    taken: list[Span] = []
    for index in range(count):
        own = names[index::count]
        taken += draw(wires(document, index, own, single=count == 1))
    return Drawn(document, taken)


@st.composite
def wires(draw: Any, document: dict[str, Any], index: int, names: list[str], *, single: bool) -> list[Span]:
    """Add a master, its subnets and its nodes to a site; give what is taken of these subnets."""
    families = draw(st.sampled_from([(4,), (4,), (6,), (4, 6), (6, 4)]))
    found = [draw(lans(index, family)) for family in families]
    taken = [
        Span(lan.family, item[0], item[1], f"reserved in {lan.name}")
        for lan in found
        for item in draw(reservations(lan))
    ]
    taken += [span for lan in found for span in draw(machines(lan))]
    holders = {name: {} for name in names}
    for name, holder in holders.items():
        addresses = [
            (lan, got[0]) for lan in found if draw(st.booleans()) and lan.room > 4 and (got := lan.take(draw, 1))
        ]
        taken += [Span(lan.family, value, value, f"the node {name}") for lan, value in addresses]
        if addresses:
            holder["addresses"] = [text(lan.family, value) for lan, value in addresses]
    mode = draw(st.sampled_from(["bridge", "bridge", "bridge", "private", "vepa", "passthru"]))
    master = {"interface": draw(st.sampled_from(INTERFACES)), "subnets": [lan.name for lan in found], "mode": mode}
    master["hostAccess"] = {"via": draw(access(found, holders)) if mode == "bridge" else "none"}
    if draw(st.booleans()):
        master["mtu"] = draw(st.sampled_from([1280, 1400, 1500]))
    options = {"allocate": "packed", "fragmented": True, "promisc": True}
    master |= {key: value for key, value in options.items() if draw(st.booleans())}
    lone = mode == "passthru"
    pinned = set(draw(st.lists(st.sampled_from(names), unique=True)))
    for name in sorted(pinned):
        if ranges := draw(pins(found, lone=lone)):
            holders[name]["ranges"] = ranges
    asking = sum("ranges" not in holder for holder in holders.values())
    least = min(lan.room for lan in found) // (2 * asking + 2)
    master["podsPerNode"] = 1 if lone else draw(st.integers(1, max(1, min(40, least))))
    if master["hostAccess"]["via"] == "shim" and draw(st.booleans()):
        pool = [got for lan in found if lan.room > 12 * len(names) and (got := lan.take(draw, len(names)))]
        if len(pool) == len(found):
            master["hostAccess"]["pool"] = [
                write_range(draw, lan.family, *item) for lan, item in zip(found, pool, strict=True)
            ]
    _write(draw, document, found, holders, master, single=single)
    return taken + [
        Span(lan.family, lan.gateway, lan.gateway, f"the gateway of {lan.name}")
        for lan in found
        if lan.gateway is not None
    ]


def _write(
    draw: Any,
    document: dict[str, Any],
    found: list[Lan],
    holders: dict[str, dict[str, Any]],
    master: dict[str, Any],
    *,
    single: bool,
) -> None:
    """Write a master with its subnets and nodes into the site, short where one master is all."""
    for lan in found:
        lan.written["routes"] = [*lan.written.get("routes", []), *draw(routes(lan))]
        if draw(st.booleans()):
            lan.written["pool"] = draw(pools(lan))
        if draw(st.booleans()):
            known = lan.written.get("dns", {}).get("nameservers", [])
            lan.written["dns"] = {"nameservers": [*known, "198.51.100.53"], "search": ["example.org"]}
        document["subnets"][lan.name] = lan.written
    name = f"m-{found[0].name}"
    document["masters"][name] = master
    for node, holder in holders.items():
        if single and len(holder.get("addresses", ())) <= 1 and draw(st.booleans()):
            short = {"address": holder["addresses"][0]} if "addresses" in holder else {}
            written = short | {key: value for key, value in holder.items() if key != "addresses"}
        else:
            written = {"masters": {name: holder}}
        document["nodes"][node] = written
        if draw(st.booleans()):
            written["profiles"] = draw(st.lists(st.sampled_from(sorted(document["profiles"])), unique=True))


@st.composite
def access(draw: Any, found: list[Lan], holders: dict[str, dict[str, Any]]) -> str:
    """Say how hosts reach their pods; `move` wants a gateway and every node's IPv4 address."""
    ways = ["shim", "shim", "none"]
    movable = any(lan.family == 4 and lan.gateway is not None for lan in found)
    if movable and all(any("." in address for address in holder.get("addresses", ())) for holder in holders.values()):
        ways.append("move")
    return draw(st.sampled_from(ways))


@st.composite
def pins(draw: Any, carried: list[Lan], *, lone: bool) -> list[str]:
    """Pin a slice of one range or more; in one of the families, or in all."""
    written = []
    for lan in carried if draw(st.booleans()) else carried[:1]:
        most = 1 if lone else max(1, min(20, lan.room // 6))
        sizes = [1] if lone else draw(st.lists(st.integers(1, most), min_size=1, max_size=4))
        found = [got for size in sizes if lan.room > size + 4 and (got := lan.take(draw, size))]
        written += [write_range(draw, lan.family, *got) for got in found]
    return written
