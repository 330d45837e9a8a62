"""The small values people write: addresses, networks, ranges, versions, names; each parsed strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

IP: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_LAST_OCTET = re.compile(r"[0-9]{1,3}")
_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:[-+.][0-9A-Za-z.+-]*)?")
_DIGITS = 9
"""Most digits of a version's part: more is a mistake, or an attack on int()."""


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
            raise _refuse(f"{text!r} names a zone, which means nothing on another node", str(address).split("%")[0])
        if address.ipv4_mapped:
            raise _refuse(f"{text!r} is an IPv4 address in IPv6 form", f"write {address.ipv4_mapped}")
    return address


def _address_hint(text: str) -> str:
    octets = text.split(".")
    if len(octets) == 4 and all(_LAST_OCTET.fullmatch(octet) and int(octet) < 256 for octet in octets):  # noqa: PLR2004 - IPv4 has four
        return f"write {'.'.join(str(int(octet)) for octet in octets)}: a leading zero may mean octal"
    if "/" in text:
        return "write the address without a prefix length"
    return ""


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
        raise _refuse(f"{text!r} is not a network") from None
    if str(network.network_address) != text.partition("/")[0] and ip_address(text.partition("/")[0]) != (
        network.network_address
    ):
        raise _refuse(f"{text!r} has host bits set", f"the network is {network}")
    if not text.partition("/")[2].isdigit():
        raise _refuse(f"{text!r} has no prefix length", f"write {network}")
    parse_address(str(network.network_address))
    return network


def parse_lan(value: object) -> Network:
    """Read the network of a LAN: one whose addresses machines can have."""
    network = parse_network(value)
    if not network.prefixlen:
        raise _refuse(f"{network} is every address there is", "write the network of the LAN")
    if network.is_loopback or network.is_multicast:
        kind = "loopback" if network.is_loopback else "multicast"
        raise _refuse(f"{network} is a {kind} network, which no LAN has", "write the network of the LAN")
    return network


def parse_range(value: object) -> AddressRange:
    """Read `first-last`, `first-lastOctet` (IPv4), a network in CIDR form, or a single address."""
    text = _text(value).strip()
    if "/" in text:
        network = parse_network(text)
        return AddressRange(network.network_address, network.broadcast_address)
    start, dash, end = (part.strip() for part in text.partition("-"))
    first = parse_address(start)
    if not dash:
        return AddressRange(first, first)
    if isinstance(first, IPv4Address) and _LAST_OCTET.fullmatch(end):
        end = f"{start.rpartition('.')[0]}.{end}"
    last = parse_address(end)
    if first.version != last.version:
        raise _refuse(f"{text!r} mixes IPv4 and IPv6")
    if int(first) > int(last):
        raise _refuse(f"{text!r} ends before it begins", f"did you mean {last}-{first}?")
    return AddressRange(first, last)


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


def _schema(pattern: str, description: str, *examples: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": pattern, "description": description}
    return WithJsonSchema({**schema, "examples": list(examples)})


Address = Annotated[IP, PlainValidator(parse_address), _schema(r"^[0-9A-Fa-f.:]+$", "An IP address", "172.16.129.101")]
HostAddress = Annotated[
    IP, PlainValidator(parse_host), _schema(r"^[0-9A-Fa-f.:]+$", "A machine's address", "172.16.129.101")
]
ServerAddress = Annotated[
    IP, PlainValidator(parse_server), _schema(r"^[0-9A-Fa-f.:]+$", "A server's address", "172.16.129.53")
]
Cidr = Annotated[
    Network, PlainValidator(parse_network), _schema(r"^[0-9A-Fa-f.:]+/[0-9]+$", "A network", "172.16.129.0/24")
]
LanCidr = Annotated[
    Network, PlainValidator(parse_lan), _schema(r"^[0-9A-Fa-f.:]+/[0-9]+$", "A LAN's network", "172.16.129.0/24")
]
Range = Annotated[
    AddressRange,
    PlainValidator(parse_range),
    _schema(
        r"^[0-9A-Fa-f.:]+(\s*-\s*[0-9A-Fa-f.:]+|/[0-9]+)?$",
        "Addresses: a-b, a-lastOctet, a CIDR, or a single one",
        "172.16.129.110-119",
    ),
]
VersionText = Annotated[
    Version, PlainValidator(parse_version), _schema(f"^{_VERSION.pattern}$", "A version, quoted", "1.31", "1.31.2")
]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=63)]
NodeName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
"""A Kubernetes node's name: an RFC 1123 subdomain."""
NetworkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=253)]
"""libcni's rule for a network's name (libcni/conf.go, utils.ValidateNetworkName)."""
InterfaceName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+=-]*$", max_length=15),
    AfterValidator(check_interface),
]
"""IFNAMSIZ less the final NUL (linux/if.h); no '/', ':' or white space (net/core/dev.c, dev_valid_name)."""
Domain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=253)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(check_printable)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)+$", max_length=255)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.(conf|conflist)$", max_length=255)]
