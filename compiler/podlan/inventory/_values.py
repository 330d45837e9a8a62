"""The small values people write: addresses, networks, ranges, versions, names; each parsed strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from podlan.inventory import _patterns

IP: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_LAST_OCTET = re.compile(r"[0-9]{1,3}")
_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:[-+.][0-9A-Za-z.+-]*)?")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_DIGITS = 9
"""Most digits of a version's part: more is a mistake, or an attack on int()."""
_RANGES = "write it as in 172.16.129.110-119 or fd00:129::110-fd00:129::11f"
_NO_LAN = {
    # Measured with host-local 1.1.1: it drops the leading zero when it counts on, and the next ADD has no address.
    "0.0.0.0/8": "addresses that begin with a zero byte, from which host-local cannot count on",
    "::/8": "addresses that begin with a zero byte, from which host-local cannot count on",
    "127.0.0.0/8": "loopback addresses, which every machine has for itself",
    "169.254.0.0/16": "link-local addresses, of which every link has its own",
    "fe80::/10": "link-local addresses, of which every link has its own",
    "224.0.0.0/4": "multicast addresses, which no machine has",
    "ff00::/8": "multicast addresses, which no machine has",
    "240.0.0.0/4": "reserved addresses, which routers do not carry",
}
"""What a LAN must not overlap, and why."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses from `first` to `last`, both included, of one family."""

    first: IP
    last: IP

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def _refuse(message: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("podlan", "{problem}", {"problem": message, "hint": hint})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "text is expected")
    return value


def parse_address(value: object) -> IP:
    """Read one address; zones, IPv4-mapped forms and leading zeros are refused (host-local would misread them)."""
    text = _text(value)
    try:
        address = ip_address(text)
    except ValueError:
        raise _refuse(f"{text!r} is not an IP address", _address_hint(text)) from None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise _refuse(
                f"{text!r} names a zone, which means nothing on another node", f"write {str(address).split('%')[0]}"
            )
        if address.ipv4_mapped:
            raise _refuse(f"{text!r} is an IPv4 address in IPv6 form", f"write {address.ipv4_mapped}")
    return address


def _address_hint(text: str) -> str:
    octets = text.split(".")
    if len(octets) == 4 and all(_LAST_OCTET.fullmatch(octet) and int(octet) < 256 for octet in octets):  # noqa: PLR2004 - IPv4 has four
        return f"write {'.'.join(str(int(octet)) for octet in octets)}: a leading zero may mean octal"
    if "/" in text:
        return "write the address without a prefix length"
    return "write it as in 172.16.129.101 or fd00:129::1"


def parse_host(value: object) -> IP:
    """Read the address of a machine on a LAN: one that a neighbour can have."""
    address = parse_address(value)
    if address.is_link_local:
        raise _refuse(f"{address} is link-local: every link has its own", "write an address of the LAN")
    if address.is_loopback:
        raise _refuse(f"{address} is a loopback address: every machine has it", "write an address of the LAN")
    return _unicast(address)


def parse_server(value: object) -> IP:
    """Read the address of a server that pods ask; a link-local one may be the node's own (NodeLocal DNSCache)."""
    return _unicast(parse_address(value))


def _unicast(address: IP) -> IP:
    if address.is_unspecified:
        raise _refuse(f"{address} means no address at all")
    if address.is_multicast:
        raise _refuse(f"{address} is a multicast address, which no machine has")
    if str(address) == "255.255.255.255":
        raise _refuse(f"{address} is the broadcast address, which no machine has")
    return address


def parse_network(value: object) -> Network:
    """Read a network in CIDR form; host bits are refused, the prefix length is required."""
    text = _text(value)
    if "/" not in text:
        raise _refuse(f"{text!r} is not a network", "write it with a prefix length, as in 172.16.129.0/24")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise _refuse(f"{text!r} is not a network", "write it as in 172.16.129.0/24 or fd00:129::/64") from None
    if str(network.network_address) != text.partition("/")[0] and ip_address(text.partition("/")[0]) != (
        network.network_address
    ):
        raise _refuse(f"{text!r} has host bits set", f"the network is {network}")
    if not text.partition("/")[2].isdigit():
        raise _refuse(f"{text!r} has no prefix length", f"write {network}")
    parse_address(str(network.network_address))
    return network


def parse_lan(value: object) -> Network:
    """Read the network of a LAN: one whose addresses machines can have, all of them."""
    network = parse_network(value)
    if not network.prefixlen:
        raise _refuse(f"{network} is every address there is", "write the network of the LAN")
    for unfit, what in _NO_LAN.items():
        if network.overlaps(ip_network(unfit)):
            raise _refuse(f"{network} holds {what}", "write the network of the LAN")
    return network


def parse_range(value: object) -> AddressRange:
    """Read `first-last`, `first-lastOctet` (IPv4), a network in CIDR form, or a single address."""
    text = _text(value).strip()
    if "/" in text:
        network = parse_network(text)
        return AddressRange(network.network_address, network.broadcast_address)
    start, dash, end = (part.strip() for part in text.partition("-"))
    if not dash:
        return AddressRange(address := parse_address(text), address)
    if not start or not end:
        raise _refuse(f"{text!r} has no {'last' if start else 'first'} address", _RANGES)
    first = _end(text, start)
    if isinstance(first, IPv4Address) and _LAST_OCTET.fullmatch(end):
        end = f"{start.rpartition('.')[0]}.{end}"
    last = _end(text, end)
    if first.version != last.version:
        raise _refuse(f"{text!r} mixes IPv4 and IPv6")
    if int(first) > int(last):
        raise _refuse(f"{text!r} ends before it begins", f"did you mean {last}-{first}?")
    return AddressRange(first, last)


def _end(written: str, end: str) -> IP:
    try:
        return parse_address(end)
    except PydanticCustomError as error:
        context = error.context or {}
        hint = context["hint"] if "." in end or ":" in end else _RANGES
        raise _refuse(f"{written!r}: {context['problem']}", hint) from None


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version as far as it decides anything: major, minor, patch (0 where not given)."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def parse_version(value: object) -> Version:
    """Read '1.31', '1.31.2' or 'v1.31.2'; text only, since YAML reads an unquoted 1.30 as 1.3."""
    text = _text(value)
    match = _VERSION.fullmatch(text)
    if match is None:
        raise _refuse(f"{text!r} is not a version", 'write it as in "1.31" or "1.31.2"')
    numbers = [number for number in match.groups()[:3] if number is not None]
    if any(len(number) > _DIGITS for number in numbers):
        raise _refuse(f"{_short(text)} is not a version: a part of it has more than {_DIGITS} digits")
    return Version(*map(int, numbers))


def parse_mac(value: object) -> str:
    """Read an interface's MAC: unicast, as the kernel wants it (is_valid_ether_addr); given in lower case."""
    text = _text(value)
    if not _MAC.fullmatch(text):
        raise _refuse(f"{_short(text)} is not a MAC", "write six bytes in hexadecimal, as in 02:70:ac:10:81:c8")
    mac = text.lower()
    if int(mac[:2], 16) & 1:
        raise _refuse(f"{mac} is a multicast MAC, which no interface has", "the first byte must be even")
    if mac == "00:00:00:00:00:00":
        raise _refuse(f"{mac} means no MAC at all")
    return mac


def check_interface(name: str) -> str:
    """Refuse names that mean something else to the kernel."""
    if name == "lo":
        raise _refuse("'lo' is the loopback interface", "name an Ethernet interface")
    if name in {"all", "default"}:  # directories of /proc/sys/net/ipv4/conf that speak of every interface
        raise _refuse(f"{name!r} stands for every interface in sysctls", "choose another name")
    return name


def check_printable(text: str) -> str:
    """Refuse text that a terminal or a review would not show as it is."""
    if not text.isprintable():
        raise _refuse(f"{_short(text)} holds a character that cannot be printed", "write plain text on one line")
    return text


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."  # noqa: PLR2004 - fits a line


def _schema(pattern: str, is_: str, *examples: str) -> WithJsonSchema:
    """Give the schema of text that a parser reads. Editors show `patternErrorMessage` instead of the pattern."""
    schema: dict[str, Any] = {"type": "string", "pattern": pattern, "patternErrorMessage": f"write {is_}"}
    return WithJsonSchema({**schema, "description": is_[:1].upper() + is_[1:], "examples": list(examples)})


def named(is_: str, *examples: str, pattern: str = "") -> Any:  # noqa: ANN401 - pydantic's own record of a field
    """Add to text with a pattern what editors show; `pattern` says more than pydantic's engine could read."""
    more: dict[str, Any] = {"patternErrorMessage": f"write {is_}"} | ({"pattern": pattern} if pattern else {})
    return Field(description=is_[:1].upper() + is_[1:], examples=list(examples), json_schema_extra=more)


HostAddress = Annotated[
    IP,
    PlainValidator(parse_host),
    _schema(
        _patterns.HOST, "a machine's IPv4 or IPv6 address, without a prefix length", "172.16.129.101", "fd00:129::1"
    ),
]
ServerAddress = Annotated[
    IP,
    PlainValidator(parse_server),
    _schema(_patterns.SERVER, "a server's IPv4 or IPv6 address", "172.16.129.53", "fd00:129::53"),
]
Cidr = Annotated[
    Network,
    PlainValidator(parse_network),
    _schema(_patterns.NETWORK, "a network in CIDR form, without host bits", "10.96.0.0/12", "fd00:96::/112"),
]
LanCidr = Annotated[
    Network,
    PlainValidator(parse_lan),
    _schema(_patterns.LAN, "a LAN's network in CIDR form, without host bits", "172.16.129.0/24", "fd00:129::/64"),
]
Range = Annotated[
    AddressRange,
    PlainValidator(parse_range),
    _schema(
        _patterns.RANGE,
        "addresses as first-last, first-lastOctet, a network in CIDR form, or a single one",
        "172.16.129.110-119",
        "172.16.129.110-172.16.129.119",
        "172.16.129.112/29",
        "fd00:129::110-fd00:129::11f",
    ),
]
VersionText = Annotated[
    Version,
    PlainValidator(parse_version),
    _schema(_patterns.VERSION, 'a version in quotes, such as "1.31" or "1.31.2"', "1.31", "1.31.2"),
]
Mac = Annotated[
    str,
    PlainValidator(parse_mac),
    _schema(_patterns.MAC, "a unicast MAC: six bytes in hexadecimal, the first one even", "02:70:ac:10:81:c8"),
]
RuleCode = Annotated[
    str, StringConstraints(pattern=r"^PL[0-9]{3}$"), named("the code of a rule, as podlan prints it", "PL214")
]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=63),
    named("a name: letters, digits, '-' and '_', up to 63", "lan"),
]
NodeName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        max_length=253,
    ),
    named("a node's name as Kubernetes has it: lower case letters, digits, '-' and '.', up to 253", "node-1"),
]
"""A Kubernetes node's name: an RFC 1123 subdomain."""
NetworkName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=253),
    named("a name: letters, digits, '_', '.' and '-'", "k8s-pod-network"),
]
"""libcni's rule for a network's name (libcni/conf.go, utils.ValidateNetworkName)."""
InterfaceName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=15),
    AfterValidator(check_interface),
    named(
        "the name of an interface, up to 15 characters; not lo, all or default",
        "eth0",
        "bond0.101",
        pattern=_patterns.INTERFACE,
    ),
]
"""IFNAMSIZ less the final NUL (linux/if.h); no '/', ':' or white space (net/core/dev.c, dev_valid_name), and none of
what sysctl.d ('=') and ip ('@') read otherwise."""
Domain = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=253), named("a DNS domain", "example.com")
]
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(check_printable),
    named(
        "a reason on one line, up to 200 characters",
        "accepted until the new switch is there",
        pattern=_patterns.PRINTABLE,
    ),
]
AbsolutePath = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)+$", max_length=255),
    named("an absolute path without '..', hidden directories or blanks", "/etc/cni/net.d"),
]
FileName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.(conf|conflist)$", max_length=255),
    named("a file's name that ends in .conflist or .conf", "05-podlan.conflist"),
]
Mtu = Annotated[int, Field(ge=68, le=65535)]
"""From 68, the least of IPv4 (RFC 791, ETH_MIN_MTU), to the most that the kernel's macvlan takes (ETH_MAX_MTU)."""
ProbeTimeout = Annotated[int, Field(ge=1, le=60)]
"""Seconds. A neighbour answers in milliseconds; a switch that learns anew (spanning tree) may take half a minute."""
KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""A DNS label (RFC 1123), which Kubernetes wants of namespaces and most objects' names."""
PluginsUrl = Annotated[
    str, StringConstraints(pattern=r"^(https?://[A-Za-z0-9.:_\[\]-]+|file://)(/[A-Za-z0-9_.~%+=-]+)+$", max_length=1000)
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
