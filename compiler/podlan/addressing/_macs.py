"""The MAC of the macvlan child on a host: what the inventory says, else one that its address decides."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podlan.addressing._ranges import Range
    from podlan.inventory import Attachment

_IPV4 = 4
_SHIM_IPV4, _SHIM_IPV6, _MOVED = 0x70, 0x76, 0x6D


def child_mac(attachment: Attachment, shims: Sequence[Range]) -> str:
    """Give the child's MAC; `shims` are its own addresses, IPv4 before IPv6 as the master carries them.

    A derived one begins with 02, a locally administered unicast address (IEEE 802, 8.4), and is as unique on the
    wire as the address. An explicit MAC is left alone by udev's MACAddressPolicy, which on cloned machines gives
    every node the same one. An IPv6 address is hashed: its last four bytes are the same at the same place of every
    subnet. Without host access there is no child, and no MAC.
    """
    if attachment.access.via == "none":
        return ""
    if attachment.mac is not None:
        return attachment.mac
    if attachment.access.via == "shim":
        carried = shims[0]
        if carried.family == _IPV4:
            kind, tail = _SHIM_IPV4, carried.first.to_bytes(4, "big")
        else:
            kind, tail = _SHIM_IPV6, sha256(carried.first.to_bytes(16, "big")).digest()[:4]
    else:
        kind = _MOVED
        tail = next(address for address in attachment.addresses if address.version == _IPV4).packed
    return bytes((0x02, kind, *tail)).hex(":")
