"""Which units must notice what changed, and how they are told, if systemd runs here and we may."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from podlan.node._errors import Unusable
from podlan.node.codes import finding
from podlan.node.filediff import START, UNITS
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.diagnostics import Finding
    from podlan.node._kernel import Kernel
    from podlan.node.files import Root

_RELOAD = "daemon-reload"
_NETWORK = ("networking", "network", "NetworkManager", "systemd-networkd", "wicked", "dhcpcd", "netplan")
TIMEOUT = 120  # seconds; a kubelet that will not restart must not hold the lock for ever


@dataclass(frozen=True, slots=True)
class Restarts:
    """What was restarted, what the operator must restart, what must be tried again, and what there is to say."""

    done: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a unit of podlan's own."""

    unit: str

    def do(self, kernel: Kernel) -> None:
        """Stop it, and wait until it has ended."""
        del kernel
        self._tell("stop")

    def undo(self, kernel: Kernel) -> None:
        """Start it, without waiting: it waits for this run to end."""
        del kernel
        self._tell("start --no-block")

    def _tell(self, verb: str) -> None:
        if words := _failure(f"systemctl {verb} {self.unit}"):
            raise OSError(errno.EIO, words)

    def __str__(self) -> str:
        return f"systemctl stop {self.unit}"


def running(unit: str, root: Root) -> int | None:
    """Give the main process of a unit that runs here, 0 for one that has none by now; None if it does not run."""
    if not _is_systemd_here(root):
        return None
    import subprocess  # noqa: PLC0415 - 18 ms, and only for who asks

    argv = ["systemctl", "show", "-p", "ActiveState,MainPID", unit]
    try:
        done = subprocess.run(  # noqa: S603 - units' names are checked
            argv, check=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unusable(" ".join(argv), str(error)) from error
    shown = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    return None if shown.get("ActiveState") in ("inactive", "failed", None) else int(shown.get("MainPID") or 0)


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
    if not (allowed and _is_systemd_here(root)):
        return Restarts(by_hand=commands(rest), findings=tuple(findings))
    failed = {unit: words for unit in rest if (words := _failure(command(unit)))}
    findings += [
        finding("PL627", f"{command(unit)}: {words}; all else is as planned, and the next run tries this again")
        for unit, words in failed.items()
    ]
    done = tuple(unit for unit in rest if unit not in failed)
    return Restarts(commands(done), pending=tuple(failed), findings=tuple(findings))


def command(unit: str) -> str:
    """Give what tells a unit, or systemd itself."""
    if unit == _RELOAD or unit.startswith(START):
        return f"systemctl {unit}"
    return f"systemctl try-restart {unit}"


def commands(units: Iterable[str]) -> tuple[str, ...]:
    """Give what tells each of them."""
    return tuple(command(unit) for unit in units)


def _failure(line: str) -> str:
    """Run it; give what went wrong in one line, '' if nothing did."""
    import subprocess  # noqa: PLC0415 - 18 ms, and only when something is restarted

    try:
        done = subprocess.run(  # noqa: S603 - units' names are checked
            line.split(),
            check=False,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT} s"
    except OSError as error:
        return error.strerror or str(error)
    if not done.returncode:
        return ""
    return " ".join(done.stderr.split()) or f"exit code {done.returncode}"


def _is_systemd_here(root: Root) -> bool:
    return root.is_host and os.path.isdir("/run/systemd/system")  # noqa: PTH112 - pathlib costs 10 ms


def _is_network(unit: str) -> bool:
    return unit.removesuffix(".service") in _NETWORK
