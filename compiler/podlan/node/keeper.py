"""One round of a watch: reconcile, hold the last good plan where a newer one fails, tell who is to be told."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit, PodlanError, Severity
from podlan.node._errors import NotReady, Stopped
from podlan.node.backoff import Backoff, pause
from podlan.node.directory import MANIFEST, load
from podlan.node.files import Root
from podlan.node.metrics import Metrics, write
from podlan.node.reconcile import reconcile
from podlan.node.signing import ALLOWED_SIGNERS, SIGNATURE
from podlan.node.suspects import Suspects
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.events import Event, Events
    from podlan.node.notify import Systemd, Voice
    from podlan.node.run import Options, Result

_PATIENCE = 2.0  # seconds to wait for another run's end; then the loop looks around again


@dataclass(frozen=True, slots=True)
class Settings:
    """What is watched and how: `resync` seconds between full looks, `metrics` the file for figures or ''."""

    path: str
    options: Options
    resync: float
    metrics: str = ""
    quiet: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds until the next round at the latest, and for which not even drift starts one."""

    at_most: float
    at_least: float = 0.0


def edition(settings: Settings) -> object:
    """Give what changes whenever the directory is delivered or signed anew, or others may sign; None without it."""
    manifest = f"{settings.path}/{MANIFEST}"
    signers = Root(settings.options.root).shown(ALLOWED_SIGNERS)
    found = [_stamp(path) for path in (manifest, f"{settings.path}/{SIGNATURE}", signers)]
    return found if found[0] else None


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib costs 10 ms
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Keeper:
    """Keeps a node as planned, round by round."""

    def __init__(self, settings: Settings, events: Events, systemd: Systemd, voice: Voice) -> None:
        self._settings = settings
        self._options = replace(settings.options, patience=_PATIENCE)
        self._events = events
        self._systemd = systemd
        self._voice = voice
        self._metrics = Metrics()
        self._backoff = Backoff()
        self._suspects = Suspects()
        self._ready = False
        self._failures = 0
        self._said: dict[str, str] = {}
        # The directory as it was read last, None if it could not be, and the last one that was applied.
        self._newest: NodeDirectory | None = None
        self._good: NodeDirectory | None = None
        self._read: object = None
        self._again = 0.0  # the moment before which the newest one is not tried again

    def heard(self, event: Event) -> None:
        """Take note of a change."""
        if event.lost:
            self._voice.say(Severity.NOTE, "there were more changes than the kernel could tell of: all is read again")
        self._suspects.note(event)

    def reread(self) -> None:
        """Read the directory again in the next round, and be patient with nobody."""
        self._read = None
        self._again = 0.0
        self._backoff.forget()

    def round(self, since: float) -> Pause:
        """Run once; `since` is the moment of the first change that led to it, infinite without one.

        Raises what only a person can mend, until a run has succeeded.
        """
        reloading = self._ready and self._read != edition(self._settings)
        if reloading:
            self._systemd.reloading()
        if self._good is not None and time.monotonic() < self._again and not reloading:
            wait = Pause(self._again - time.monotonic(), self._keep(self._good, since))
        else:
            wait = self._attempt(since)
        if reloading:
            self._systemd.tell("READY=1")
        self._suspects.clear()
        self._write_metrics()
        return wait

    def _attempt(self, since: float) -> Pause:
        good = self._good
        self._again = 0.0
        try:
            result = self._reconcile(self._load)
        except PodlanError as error:
            wait = self._failed(error)
            if good is None or self._newest == good:
                return wait
            # The newest plan is not tried again at every change, and the drift from the last good one does not wait.
            self._again = time.monotonic() + wait.at_least
            return replace(wait, at_least=self._keep(good, since))
        self._good = self._newest
        return self._applied(result, since, is_repair=self._good == good)

    def _load(self, path: str, root: Root) -> NodeDirectory:
        now = edition(self._settings)
        if self._newest is None or now != self._read:
            self._newest, self._read = None, now
            self._newest = load(path, root)
            self._metrics.node = self._newest.plan.node
            self._events.concern(one.plan for one in (self._newest, self._good) if one is not None)
        return self._newest

    def _reconcile(self, read: Callable[[str, Root], NodeDirectory]) -> Result:
        try:
            result = reconcile(self._settings.path, self._options, read)
        finally:
            self._metrics.last_run = time.time()
        self._options = replace(self._options, rename=False)
        return result

    def _failed(self, error: PodlanError) -> Pause:
        waits = error.exit_code == Exit.NOT_READY
        if self._good is None and not waits:
            raise error
        self._metrics.runs["waiting" if waits else "failed"] += 1
        self._metrics.drift = True
        self._metrics.findings = _by_code(error.findings if isinstance(error, Stopped) else ())
        self._failures += 1
        text = error.told_while_waiting() if isinstance(error, NotReady) else str(error)
        if waits or self._failures > 1:  # what others change while we look may look like anything, once
            self._once("problem", Severity.WARNING if waits else Severity.ERROR, text)
            self._systemd.status(text.splitlines()[0])
        seconds = pause(self._failures)
        # What is not there yet is told of when it comes; everything else is not to be tried at every change.
        return Pause(seconds, 0.0 if isinstance(error, NotReady) else seconds)

    def _keep(self, good: NodeDirectory, since: float) -> float:
        """Hold the node to the last plan that was applied; give the pause that this asks for."""
        if "problem" in self._said:
            self._once("kept", Severity.WARNING, "this node is kept as it was planned before")
        try:
            result = self._reconcile(lambda *_: good)
        except PodlanError as error:
            self._metrics.runs["failed"] += 1
            self._once("not kept", Severity.ERROR, str(error))
            return pause(self._failures)
        self._said.pop("not kept", None)
        return self._changes(result, since, is_repair=True)

    def _applied(self, result: Result, since: float, *, is_repair: bool) -> Pause:
        at_least = self._changes(result, since, is_repair=is_repair)
        self._metrics.findings = _by_code(result.findings)
        whole = result.exit_code == Exit.DONE and not result.pending
        self._metrics.drift = not whole
        for what in ("kept", "not kept"):
            self._said.pop(what, None)
        if self._said.pop("problem", ""):
            self._voice.say(Severity.NOTE, f"{result.node} is as planned again")
        if result.exit_code == Exit.DONE:
            self._metrics.last_success = self._metrics.last_run
            if not self._ready:
                self._ready = True
                whose = f", signed by {result.signer}" if result.signer else ""
                self._voice.say(Severity.NOTE, f"{result.node} is as planned{whose}, and watched from now on")
                self._systemd.tell("READY=1")
            self._systemd.tell(
                f"STATUS={result.node} is as planned; operations that repaired it: {self._metrics.repairs}"
            )
        # What is pending is a download or a unit: as slow as a person, so it is asked for in seconds.
        self._failures = 0 if whole else self._failures + 1
        return Pause(
            self._settings.resync if whole else min(self._settings.resync, 10 * pause(self._failures)), at_least
        )

    def _changes(self, result: Result, since: float, *, is_repair: bool) -> float:
        """Tell what a run did; give the pause before the next, where somebody undoes the same thing all the time."""
        self._metrics.runs["changed" if result.changed else "unchanged"] += 1
        for line in (*result.operations, *result.restarted):
            self._voice.say(Severity.NOTE, f"+ {line}")
        self._lists("by hand", Severity.WARNING, [f"to do by hand: {line}" for line in result.by_hand])
        self._lists("pending", Severity.WARNING, [f"the next run tries again: {line}" for line in result.pending])
        for severity in Severity:
            found = [self._sentence(one) for one in result.findings if one.severity is severity]
            self._lists(severity.value, severity, found)
        if not (result.changed and is_repair):
            return 0.0
        self._metrics.repairs += len(result.operations)
        now = time.monotonic()
        if since < math.inf:
            self._metrics.repair_seconds = now - since
            self._voice.say(Severity.NOTE, f"repaired {1000 * (now - since):.0f} ms after the first change")
        seconds = self._backoff.repaired(result.operations[0], now)
        if seconds:
            told = f"undone again and again by {self._suspects}: {result.operations[0]}; repaired from now on after"
            self._once("fight", Severity.WARNING, f"{told} {seconds:g} s")
        else:
            self._said.pop("fight", None)
        return seconds

    def _sentence(self, found: Finding) -> str:
        hint = f"; {found.hint}" if self._settings.verbose and found.hint else ""
        return f"{found.message} [{found.code}]{hint}"

    def _lists(self, what: str, severity: Severity, lines: list[str]) -> None:
        if lines:
            self._once(what, severity, "\n".join(lines))
        else:
            self._said.pop(what, None)

    def _once(self, what: str, severity: Severity, text: str) -> None:
        """Say it, unless it was the last word on the matter."""
        if self._said.get(what) != text:
            self._said[what] = text
            self._voice.say(severity, text)

    def _write_metrics(self) -> None:
        if not self._settings.metrics:
            return
        try:
            write(self._settings.metrics, self._metrics)
        except OSError as error:
            self._once("metrics", Severity.WARNING, f"{self._settings.metrics}: {error.strerror or error}")
        else:
            self._said.pop("metrics", None)


def _by_code(findings: Iterable[Finding]) -> dict[str, int]:
    return dict(Counter(found.code for found in findings))
