"""Operations on links: add, delete, and set one attribute."""

from __future__ import annotations

import contextlib
import shlex
from typing import TYPE_CHECKING

from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel
    from podlan.node.observe import LinkState


_UP, _PROMISC = 0x1, 0x100


@dataclass(frozen=True, slots=True)
class LinkAdd:
    """Create a macvlan child, or a VLAN where it has a number, down."""

    name: str
    master: str
    mode: str
    mac: str = ""
    mtu: int = 0
    vlan: int = 0

    def do(self, kernel: Kernel) -> None:
        """Create it."""
        more: dict[str, object] = {"address": self.mac} if self.mac else {}
        if self.mtu:
            more["mtu"] = self.mtu
        if self.vlan:
            more |= {"kind": "vlan", "vlan_id": self.vlan}
        else:
            more |= {"kind": "macvlan", "macvlan_mode": self.mode}
        kernel.link("add", ifname=self.name, link=kernel.index(self.master), **more)

    def undo(self, kernel: Kernel) -> None:
        """Delete it, if it is there."""
        message = kernel.find_link(self.name)
        if message is not None:
            kernel.link("del", index=message["index"])

    def __str__(self) -> str:
        mac = f" address {self.mac}" if self.mac else ""
        mtu = f" mtu {self.mtu}" if self.mtu else ""
        kind = f"vlan id {self.vlan}" if self.vlan else f"macvlan mode {self.mode}"
        return f"ip link add link {self.master} name {self.name}{mac}{mtu} type {kind}"


@dataclass(frozen=True, slots=True)
class LinkDelete:
    """Delete a child or VLAN; what is on it was deleted by operations of their own."""

    link: LinkState
    sysctls: tuple[tuple[str, str], ...] = ()

    def do(self, kernel: Kernel) -> None:
        """Delete it."""
        kernel.link("del", index=kernel.index(self.link.name))

    def undo(self, kernel: Kernel) -> None:
        """Create it as it was; where it is there already, see to what is on it."""
        link = self.link
        if kernel.find_link(link.name) is None:
            # A VLAN has its link's MAC, and follows it as long as nobody gives it one.
            LinkAdd(link.name, link.master, link.mode, "" if link.vlan else link.mac, link.mtu, link.vlan).do(kernel)
        if self.link.alias:
            LinkSet(self.link.name, "alias", self.link.alias, "").do(kernel)
        for key, value in self.sysctls:
            kernel.write_sysctl(key, value)
        if self.link.up:
            LinkSet(self.link.name, "up", "up", "down").do(kernel)
        for altname in link.altnames:
            with contextlib.suppress(FileExistsError):
                kernel.link("property_add", index=kernel.index(link.name), altname=altname)

    def __str__(self) -> str:
        return f"ip link delete dev {self.link.name}"


@dataclass(frozen=True, slots=True)
class LinkSet:
    """Change one attribute: 'mode', 'mac', 'mtu', 'alias', 'up' (values up, down) or 'promisc' (values on, off)."""

    name: str
    attribute: str
    value: str
    before: str

    def do(self, kernel: Kernel) -> None:
        """Set the value."""
        self._set(kernel, self.value)

    def undo(self, kernel: Kernel) -> None:
        """Set the value that was there; a link that has gone has none."""
        if kernel.find_link(self.name) is not None:
            self._set(kernel, self.before)

    def _set(self, kernel: Kernel, value: str) -> None:
        index = kernel.index(self.name)
        if self.attribute == "mode":
            kernel.link("set", index=index, kind="macvlan", macvlan_mode=value)
        elif self.attribute == "mac":
            kernel.link("set", index=index, address=value)
        elif self.attribute == "mtu":
            kernel.link("set", index=index, mtu=int(value))
        elif self.attribute == "alias":
            kernel.link("set", index=index, ifalias=value)
        elif self.attribute == "up":
            kernel.link("set", index=index, flags=_UP * (value == "up"), mask=_UP)
        else:
            kernel.link("set", index=index, flags=_PROMISC * (value == "on"), mask=_PROMISC)

    def __str__(self) -> str:
        what = {
            "mode": f"type macvlan mode {self.value}",
            "mac": f"address {self.value}",
            "mtu": f"mtu {self.value}",
            "alias": f"alias {shlex.quote(self.value)}",
            "up": self.value,
            "promisc": f"promisc {self.value}",
        }[self.attribute]
        return f"ip link set dev {self.name} {what}"
