"""Which units must notice what changed, and how they are told, if systemd runs here and we may."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.filediff import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node.files import Root

_RELOAD = "daemon-reload"
_NETWORK = ("networking", "network", "NetworkManager", "systemd-networkd", "wicked", "dhcpcd", "netplan")
_TIMEOUT = 120  # seconds; a kubelet that will not restart must not hold the lock for ever


@dataclass(frozen=True, slots=True)
class Restarts:
    """What was restarted, what the operator must restart, and what went wrong."""

    done: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def pending(units: Iterable[str], changed: Iterable[str]) -> tuple[str, ...]:
    """Give what is to be told: a reload of systemd before all, if a unit file changed, then the units."""
    reload = [_RELOAD] if any(path.startswith(f"{UNITS}/") for path in changed) else []
    return tuple(dict.fromkeys([*reload, *units]))


def restart(units: tuple[str, ...], root: Root, *, allowed: bool) -> Restarts:
    """Restart the units that run, never the network's; without systemd, or leave, say what is to be restarted."""
    findings = [
        finding("PL619", f"{unit} is a service of the network and was not restarted")
        for unit in units
        if _is_network(unit)
    ]
    rest = tuple(unit for unit in units if not _is_network(unit))
    if not (allowed and root.is_host and os.path.isdir("/run/systemd/system")):  # noqa: PTH112 - pathlib costs 10 ms
        return Restarts((), tuple(_commands(rest)), tuple(findings))
    import subprocess  # noqa: PLC0415 - 18 ms, and only when something is restarted

    done: list[str] = []
    failed: list[str] = []
    for command in _commands(rest):
        try:
            subprocess.run(command.split(), check=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, capture_output=True)  # noqa: S603 - units' names are checked
            done.append(command)
        except (OSError, subprocess.SubprocessError):
            failed.append(command)
    return Restarts(tuple(done), tuple(failed), tuple(findings))


def _commands(units: Iterable[str]) -> Iterator[str]:
    for unit in units:
        yield f"systemctl {_RELOAD}" if unit == _RELOAD else f"systemctl try-restart {unit}"


def _is_network(unit: str) -> bool:
    return unit.removesuffix(".service") in _NETWORK
