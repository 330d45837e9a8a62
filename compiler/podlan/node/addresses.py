"""Operations on addresses: add, delete, change the metric, and tell or ask the neighbours."""

from __future__ import annotations

import time
from dataclasses import field
from typing import TYPE_CHECKING, Any

from podlan.node import frames
from podlan.node.observe import FOREVER, AddressState, bare
from podlan.plan import PROTOCOL
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node._kernel import Kernel


_NO_DAD = 0x02  # IFA_F_NODAD: podlan has asked the wire before, and a tentative address cannot be a source
_KEPT_FLAGS = 0x300  # IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE
_HANDOVER_SECONDS = 0.2  # until the neighbours have heard that an address is elsewhere


@dataclass(frozen=True, slots=True)
class AddressAdd:
    """Add an address to a link; `master` names the link that has the same address and answers when this one goes."""

    link: str
    address: str
    metric: int = 0
    master: str = ""
    protocol: int = PROTOCOL

    def do(self, kernel: Kernel) -> None:
        """Add it with podlan's protocol number, where the kernel keeps one."""
        _add_address(kernel, AddressState(self.link, self.address, self.metric, self.protocol))

    def undo(self, kernel: Kernel) -> None:
        """Delete it if it is there, after the neighbours were told who has it from now on."""
        if _find(kernel, self.link, self.address) is not None:
            _delete_address(kernel, self.link, self.address, self.master)

    def __str__(self) -> str:
        return f"ip address add {self.address} dev {self.link}{_metric(self.metric)}{_nodad(self.address)}"


@dataclass(frozen=True, slots=True)
class AddressDelete:
    """Delete an address of podlan's."""

    state: AddressState
    master: str = ""

    def do(self, kernel: Kernel) -> None:
        """Delete it, after the neighbours were told who has it from now on."""
        _delete_address(kernel, self.state.link, self.state.address, self.master)

    def undo(self, kernel: Kernel) -> None:
        """Add it as it was, unless it is there; the neighbours may have been told otherwise even so."""
        if _find(kernel, self.state.link, self.state.address) is None:
            _add_address(kernel, self.state)
        if self.master:
            frames.announce(self.state.link, bare(self.state.address))

    def __str__(self) -> str:
        return f"ip address delete {self.state.address} dev {self.state.link}"


@dataclass(frozen=True, slots=True)
class AddressMetric:
    """Change the metric of an address's prefix route, in place: the address is never away."""

    state: AddressState
    metric: int

    def do(self, kernel: Kernel) -> None:
        """Set the metric."""
        if not self._set(kernel, self.metric):
            raise OSError(99, f"{self.state.address} is no longer on {self.state.link}")

    def undo(self, kernel: Kernel) -> None:
        """Set the metric that was there; an address that has gone has none."""
        self._set(kernel, self.state.metric)

    def _set(self, kernel: Kernel, metric: int) -> bool:
        # A replace sets the lifetimes too: read them now, a DHCP lease may have been renewed since.
        address, _, length = self.state.address.partition("/")
        message = _find(kernel, self.state.link, self.state.address)
        if message is None:
            return False
        times = message.get("cacheinfo")
        lifetimes = (
            {}
            if times["ifa_valid"] == FOREVER
            else {
                "valid": times["ifa_valid"],
                "preferred": times["ifa_preferred"],
            }
        )
        protocol = message.get("proto")
        own = {"proto": protocol} if protocol else {}
        flags = (message.get("flags") or 0) & _KEPT_FLAGS
        kernel.address(
            "replace",
            index=message["index"],
            address=address,
            prefixlen=int(length),
            rt_priority=metric,
            flags=flags,
            **own,
            **lifetimes,
        )
        return True

    def __str__(self) -> str:
        times = (
            "" if self.state.valid == FOREVER else f" valid_lft {self.state.valid} preferred_lft {self.state.preferred}"
        )
        return f"ip address change {self.state.address} dev {self.state.link} metric {self.metric}{times}"


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the neighbours which MAC an address has now."""

    link: str
    address: str

    def do(self, kernel: Kernel) -> None:
        """Send it."""
        del kernel
        frames.announce(self.link, bare(self.address))

    def undo(self, kernel: Kernel) -> None:
        """Nothing to take back: whoever gives the address back announces it."""

    def __str__(self) -> str:
        if ":" in self.address:
            return f"# neighbour advertisement: {bare(self.address)} is on {self.link}"
        return f"arping -q -A -c 1 -I {self.link} {bare(self.address)}"


class GateClosed(OSError):
    """The network answers the master and not its child: it lets one MAC a port through."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Go on only if the network answers the child as it answers the master; nothing is routed through it yet."""

    link: str
    master: str
    address: str
    seconds: float = field(default=1.0, compare=False)

    def do(self, kernel: Kernel) -> None:
        """Ask through the child, and only if nobody answers through the master."""
        del kernel
        if frames.is_answered(self.link, self.address, self.seconds):
            return
        if frames.is_answered(self.master, self.address, self.seconds):
            raise GateClosed(
                110,
                f"{self.address} answers on {self.master}, not on {self.link}: the network refuses a second MAC",
            )

    def undo(self, kernel: Kernel) -> None:
        """Nothing to take back."""

    def __str__(self) -> str:
        return f"# {self.address} must answer through {self.link} as it does through {self.master}"


def _metric(metric: int) -> str:
    return f" metric {metric}" if metric else ""


def _nodad(address: str) -> str:
    return " nodad" if ":" in address else ""


def _find(kernel: Kernel, link: str, address: str) -> Any | None:  # noqa: ANN401 - a pyroute2 message
    """Give the message of an address of a link, None where either is not there."""
    found = kernel.find_link(link)
    own, _, length = address.partition("/")
    for message in [] if found is None else kernel.addresses(found["index"]):
        if (message.get("local") or message.get("address")) == own and message["prefixlen"] == int(length):
            return message
    return None


def _add_address(kernel: Kernel, state: AddressState) -> None:
    address, _, length = state.address.partition("/")
    # One that was another's goes back to the kernel's own doubt.
    more: dict[str, object] = {"flags": _NO_DAD} if ":" in address and not state.failed else {}
    if state.metric:
        more["rt_priority"] = state.metric
    if state.protocol:
        more["proto"] = state.protocol
    kernel.address("add", index=kernel.index(state.link), address=address, prefixlen=int(length), **more)


def _delete_address(kernel: Kernel, link: str, address: str, master: str) -> None:
    own, _, length = address.partition("/")
    if master:
        frames.announce(master, own)
        time.sleep(_HANDOVER_SECONDS)
    kernel.address("del", index=kernel.index(link), address=own, prefixlen=int(length))
