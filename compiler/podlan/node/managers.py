"""Who else manages the links of the plan and would undo it: told only where it shows, before the first fight."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from podlan.node.codes import finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.files import Root
    from podlan.node.observe import LinkState, Observed
    from podlan.node.state import State
    from podlan.plan import Plan

_LARGEST = 1 << 16  # bytes of a file of others that is read for one line
_RUNS = "/run/systemd/units/invocation:{}.service"  # a link as long as systemd has the unit active
_NETWORKD = "/run/systemd/netif/links/{}"  # by the link's index: variables, ADMIN_STATE and NETWORK_FILE among them
_NETWORK_MANAGER = "/run/NetworkManager/devices/{}"  # by the link's index: managed= and connection-uuid= in [device]
_SETTLED = ("configuring", "configured")
_NETPLAN = "/run/systemd/network/10-netplan-"
_INTERFACES = "/etc/network/interfaces"
_IFUP = ("/sbin/ifup", "/usr/sbin/ifup")
_PACKETS = "/proc/self/net/packet"


def managers(plan: Plan, last: State, observed: Observed, root: Root) -> Iterator[Finding]:
    """Tell of systemd-networkd, NetworkManager, ifupdown and DHCP clients that have a child, or a moved address."""
    children = {link.name for link in plan.links if link.kind != "master"}
    if _elsewhere(root):
        return
    for name, why in (*((child, "podlan's") for child in sorted(children)), *_disputed(plan, last, observed)):
        state = observed.links.get(name)
        if state is not None:
            yield from _networkd(state, why, root)
            yield from _network_manager(state, why, root)
    yield from _ifupdown(children, root)
    yield from _dhcp(children, observed)


def _elsewhere(root: Root) -> bool:
    """Tell whether the files are of another network namespace than this one, in which links have other numbers."""
    try:
        init, own = (os.stat(f"/proc/{process}/ns/net") for process in ("1", "self"))  # noqa: PTH116 - pathlib costs 10 ms
    except OSError:  # a sandbox does not let us ask; podlan's own is in the machine's namespace
        return False
    return root.is_host and init.st_ino != own.st_ino


def _disputed(plan: Plan, last: State, observed: Observed) -> Iterator[tuple[str, str]]:
    """Give the masters on which podlan's metric is not the one that their manager sets."""
    for address in plan.addresses:
        if not address.adopt or not address.metric:
            continue
        state = observed.address(address.link, address.address)
        if f"{address.link} {address.address}" in last.metrics or (state and state.metric != address.metric):
            yield address.link, f"to keep {address.address} with metric {address.metric}"


def _networkd(link: LinkState, why: str, root: Root) -> Iterator[Finding]:
    text = _text(root, _NETWORKD.format(link.index))
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    if found.get("ADMIN_STATE") not in _SETTLED or not _runs(root, "systemd-networkd"):
        return
    file = found.get("NETWORK_FILE", "")
    by = f"{file} (netplan's)" if file.startswith(_NETPLAN) else file or "a .network file"
    yield finding("PL646", f"systemd-networkd configures {link.name}, which is {why}, by {by}")


def _network_manager(link: LinkState, why: str, root: Root) -> Iterator[Finding]:
    text = _text(root, _NETWORK_MANAGER.format(link.index))
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    profile = found.get("connection-uuid", "")
    if found.get("managed") in ("true", "1") and profile and _runs(root, "NetworkManager"):
        yield finding("PL647", f"NetworkManager has {link.name}, which is {why}, in connection {profile}")


def _ifupdown(children: set[str], root: Root) -> Iterator[Finding]:
    if not any(os.access(root.shown(program), os.X_OK) for program in _IFUP):
        return
    stanza = re.compile(r"^[ \t]*(?:auto|allow-[\w-]+|iface)[ \t](.*)$", re.MULTILINE)
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(root.shown(f"{_INTERFACES}.d")))  # noqa: PTH208 - pathlib costs 10 ms
    for path in (_INTERFACES, *(f"{_INTERFACES}.d/{name}" for name in names)):
        named = {word for words in stanza.findall(_text(root, path)) for word in words.split()}
        for child in sorted(children & named):
            yield finding("PL648", f"{root.shown(path)} has a stanza for {child}")


def _dhcp(children: set[str], observed: Observed) -> Iterator[Finding]:
    indices = {state.index: name for name in children if (state := observed.links.get(name))}
    if not indices:
        return
    try:
        with open(_PACKETS, encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms
            lines = [line.split() for line in file]
    except OSError:
        return
    for fields in lines[1:]:  # sk, users, type, protocol, index of the link, ..., inode
        name = indices.get(int(fields[4]))
        if name and (client := _client(fields[8])):
            yield finding("PL649", f"{client} asks for addresses on {name}")


def _client(inode: str) -> str:
    from podlan.node.suspects import dhcp_client  # noqa: PLC0415 - only where somebody listens on a child

    return dhcp_client(inode)


def _runs(root: Root, unit: str) -> bool:
    return os.path.lexists(root.shown(_RUNS.format(unit)))


def _text(root: Root, path: str) -> str:
    try:
        found = root.read(path, _LARGEST)
    except OSError:  # as if it were not there: it is others', and what it could tell is a warning
        return ""
    return found.content.decode(errors="replace") if found else ""
