"""What the parsers of values accept, as patterns for editors: as close as a pattern can say it, and never stricter.

They keep to what ECMA 262 and Python read alike. Host bits within an octet, and a range that ends before it begins, are
beyond a pattern; podlan itself finds them.
"""

from __future__ import annotations

from ipaddress import IPv4Network


def _any(*patterns: str) -> str:
    return "|".join(patterns)


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_DIGIT = "[0-9A-Fa-f]"
_GROUP = f"{_DIGIT}{{1,4}}"
_TOO_LONG = rf":*(?:{_DIGIT}+:+){{6}}(?:{_DIGIT}+:+{_DIGIT}|[0-9]+\.)"
"""With `::` seven groups at most; the last two may be written as in IPv4."""
_ZERO = "(?:0{1,4}:)"
_MAPPED = (
    rf"(?:{_ZERO}{{5}}|(?:::|{_ZERO}+:){_ZERO}*)[fF]{{4}}:(?:{_DIGIT}+:{_DIGIT}+|[0-9]+\.[0-9.]+)(?![0-9A-Fa-f:.])"
    f"|{_ZERO}{{5}}[fF]{{4}}:{_DIGIT}*:"
)
_V6 = (
    f"(?!{_MAPPED})(?:(?:{_GROUP}:){{6}}(?:{_GROUP}:{_GROUP}|{_V4})"
    f"|(?!{_TOO_LONG})(?:{_GROUP}(?::{_GROUP})*)?::(?:(?:{_GROUP}:)*(?:{_GROUP}|{_V4}))?)"
)

_NOBODY = _any(
    r"[0:.]+$",  # unspecified
    r"2(?:2[4-9]|3[0-9])\.",  # multicast
    "[fF]{2}[0-9A-Fa-f]{2}:",
    r"255\.255\.255\.255$",
)
_OWN = _any(
    r"127\.",  # loopback
    r"[0:]*:(?:0{0,3}1|0\.0\.0\.1)$",
    r"169\.254\.",  # link-local
    "[fF][eE][89abAB][0-9A-Fa-f]:",
)

SERVER = f"^(?!{_NOBODY})(?:{_V4}|{_V6})$"
HOST = f"^(?!{_NOBODY}|{_OWN})(?:{_V4}|{_V6})$"

_LAST_GROUP = f"(?![0-9A-Fa-f:]*:0*[1-9A-Fa-f]{_DIGIT}*/0*(?:11[0-2]|10[0-9]|[1-9]?[0-9])(?![0-9]))"
"""Up to /112 the last group holds host bits only."""
_NETWORK = _any(
    r"0(?:\.0){3}/0+",  # whole octets of host bits are zeros
    rf"{_OCTET}(?:\.0){{3}}/0*[1-8]",
    rf"{_OCTET}\.{_OCTET}(?:\.0){{2}}/0*(?:9|1[0-6])",
    rf"(?:{_OCTET}\.){{3}}0/0*(?:1[7-9]|2[0-4])",
    rf"{_V4}/0*(?:2[5-9]|3[0-2])",
    f"{_LAST_GROUP}{_V6}/0*(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])",
)
NETWORK = f"^(?:{_NETWORK})$"


def _around(network: str) -> str:
    """Match the wider networks that hold an IPv4 network: only their length tells."""
    inner = IPv4Network(network)
    wider = (inner.supernet(new_prefix=length) for length in range(1, inner.prefixlen))
    return _any(*(str(item).replace(".", r"\.").replace("/", "/0*") + "$" for item in wider))


_NO_LAN = _any(
    ".*/0+$",
    r"0\.",  # a first byte of zero
    "::",
    f"0{{0,2}}{_DIGIT}{{1,2}}:",
    r"127\.",  # loopback
    _around("127.0.0.0/8"),
    r"169\.254\.",  # link-local
    _around("169.254.0.0/16"),
    "[fF][eE][89abAB][0-9A-Fa-f]:",
    r"2(?:2[4-9]|[34][0-9]|5[0-5])\.",  # multicast, reserved
    _around("224.0.0.0/4"),
    "[fF]{2}[0-9A-Fa-f]{2}:",
    "(?:8000:.*/0*1|[cC]000:.*/0*2|[eE]000:.*/0*3|[fF]000:.*/0*4|[fF]800:.*/0*5|[fF][cC]00:.*/0*6)$",  # around both
    "[fF][eE]00:.*/0*[78]$",
)
LAN = f"^(?!{_NO_LAN})(?:{_NETWORK})$"

RANGE = rf"^\s*(?:{_NETWORK}|{_V4}(?:\s*-\s*(?:{_V4}|{_OCTET}))?|{_V6}(?:\s*-\s*{_V6})?)\s*$"

VERSION = (
    r"^(?!v?(?:[0-9]+\.){0,2}[0-9]{10,}(?![0-9A-Za-z]))"  # a part of more than nine digits
    r"v?[0-9]+\.[0-9]+(?:\.[0-9]+)?(?:[-+.][0-9A-Za-z.+-]*)?$"
)
MAC = "^(?!00(?::00){5}$)[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}$"
INTERFACE = r"^(?!(?:lo|all|default)$)[A-Za-z0-9_][A-Za-z0-9_.+-]*$"
PRINTABLE = (
    r"^[^\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u3000\ufeff\ufff9-\ufffb\ufffe\uffff]+$"
)
