"""What systemd hears of a service: sd_notify, the watchdog, and the journal's priorities."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
import time
from typing import IO, TYPE_CHECKING

import click

from podlan.diagnostics import Severity, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 1.0  # for a service manager that does not read
_PRIORITIES = {Severity.ERROR: "<3>", Severity.WARNING: "<4>", Severity.NOTE: "<6>"}


class Systemd:
    """The service manager that started this process; where there is none, nobody hears anything."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        place = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + place[1:] if place.startswith("@") else place
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environment.get("WATCHDOG_USEC", "") if for_us and place else ""
        self.beat = int(usec) / 2e6 if usec.isdecimal() and int(usec) else math.inf
        self._heard = time.monotonic()
        self._status = ""

    def tell(self, *lines: str) -> None:
        """Send assignments such as READY=1; no answer and no reader are no reason to stop."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.settimeout(_SECONDS)
            to.sendto("\n".join(lines).encode(), self._address)

    def status(self, text: str) -> None:
        """Tell what `systemctl status` shows, if that is news."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")

    def alive(self) -> None:
        """Tell the watchdog, at half of its time."""
        now = time.monotonic()
        if now - self._heard >= self.beat:
            self._heard = now
            self.tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Tell that the plan is read again; READY=1 ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


class Voice:
    """Prints lines, notes on stdout and the rest on stderr; in the journal each has its priority."""

    def __init__(self, environment: Mapping[str, str], *, quiet: bool) -> None:
        self._journal = environment.get("JOURNAL_STREAM", "")
        self._quiet = quiet

    def say(self, severity: Severity, text: str) -> None:
        """Print it; of several lines each has the mark."""
        if self._quiet and severity is not Severity.ERROR:
            return
        is_note = severity is Severity.NOTE
        stream = sys.stdout if is_note else sys.stderr
        mark = _PRIORITIES[severity] if self._is_journal(stream) else "" if is_note else f"{severity.value}: "
        for line in text.splitlines():
            click.echo(mark + printable(line), file=stream)

    def _is_journal(self, stream: IO[str]) -> bool:
        try:
            found = os.fstat(stream.fileno())
        except (OSError, ValueError):
            return False
        return self._journal == f"{found.st_dev}:{found.st_ino}"
