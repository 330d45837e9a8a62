"""Calling plugins as a runtime does: a program, its orders in the environment, the configuration on its input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from podlan.diagnostics import PodlanError
from podlan.node import chain
from podlan.node.chain import Document, Refusal
from podlan.node.codes import CODES
from podlan.node.trust import Untrusted, followed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.node.trial._stop import Stop

_SECONDS = 60.0  # for one plugin; dhcp asks a server, and an IPv6 address waits for the end of duplicate detection
_POLL = 0.1
_HINTS = {
    "no IP addresses available": "no address of the slice is free: podlan doctor tells which reservations have no pod, "
    "and how to free them",
    "Link not found": "the CNI file's master is not there: compare it with `ip link`",
    "incompatible CNI versions": CODES["PL671"].hint,
    "failed to find plugin": CODES["PL611"].hint,
    "invalid MTU": CODES["PL650"].hint,
    "invalid argument": "another pod, or podlan's child, may have the master for itself (mode passthru)",
    "device or resource busy": "the master may be in a bridge or bond, or have children of ipvlan",
    "network is unreachable": "a gateway of the CNI file's routes lies outside the pods' network",
    "dhcp.sock": "ipam dhcp asks a daemon on the node: start `dhcp daemon`, of the same plugins",
    "duplicate allocation": "host-local has a reservation for this container already",
}


class PluginsMissing(PodlanError):
    """The CNI file names plugins that the node does not have, or that others than root could have written."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of one pod: what DEL needs to take it away again."""

    container: str
    interface: str
    bin_dir: str
    config: Document

    def caller(self, namespace: str, lock: int, stop: Stop | None) -> chain.Call:
        """Give what calls the plugins for it; they inherit the lock, so that who gets it knows that none runs.

        `stop` ends a plugin that is at work; without it each is waited for.
        """
        environment = {
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": namespace,
            "CNI_IFNAME": self.interface,
            "CNI_PATH": self.bin_dir,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }

        def call(verb: str, plugin: Document) -> Document:
            kind = str(plugin.get("type", ""))
            if not kind or "/" in kind:
                raise Refusal(verb, repr(kind), "the configuration names no plugin")
            argv, given = f"{self.bin_dir}/{kind}", json.dumps(plugin)
            return _run(verb, kind, argv, given, {**environment, "CNI_COMMAND": verb}, lock, stop)

        return call


def delete(attachment: Attachment, result: Document | None, namespace: str, lock: int) -> None:
    """Detach; raises Refusal, but gives the address back even where the plugin that has it refuses.

    Up to release 1.3 macvlan's DEL fails without the master, and its address stays reserved.
    """
    call = attachment.caller(namespace, lock, None)
    try:
        chain.delete(attachment.config, result, call)
    except Refusal:
        for plugin in chain.plugins(attachment.config):
            ipam = plugin.get("ipam")
            if isinstance(ipam, dict) and ipam.get("type"):
                _call_ipam(call, plugin, str(ipam["type"]))
        raise


def _call_ipam(call: chain.Call, plugin: Document, kind: str) -> None:
    try:
        call("DEL", plugin | {"type": kind})
    except Refusal:
        return  # the first refusal is the one to tell


def require(bin_dir: str, configs: Iterable[Document]) -> None:
    """Raise PluginsMissing unless all plugins of these configurations are there, and root's."""
    kinds: dict[str, None] = {}
    for config in configs:
        for plugin in chain.plugins(config):
            ipam = plugin.get("ipam")
            own = ipam.get("type") if isinstance(ipam, dict) else None
            kinds |= dict.fromkeys(str(kind) for kind in (plugin.get("type"), own) if kind)
    missing = [kind for kind in kinds if not os.path.isfile(f"{bin_dir}/{kind}")]  # noqa: PTH113 - strings, as everywhere here
    if missing:
        raise PluginsMissing(f"no CNI plugins {', '.join(missing)} in {bin_dir}", CODES["PL611"].hint)
    for kind in kinds:
        try:
            followed(f"{bin_dir}/{kind}")
        except Untrusted as error:
            raise PluginsMissing(f"{error}, and pods run {bin_dir}/{kind} as root", CODES["PL672"].hint) from error


def hint(refusal: Refusal) -> str:
    """Say what to do about a plugin's message."""
    return next((hint for words, hint in _HINTS.items() if words in refusal.message), CODES["PL697"].hint)


def is_full(refusal: Refusal) -> bool:
    """Tell whether host-local had no address left."""
    return "no IP addresses available" in refusal.message


def _run(
    verb: str, kind: str, argv: str, given: str, environment: dict[str, str], lock: int, stop: Stop | None
) -> Document:
    try:
        process = subprocess.Popen(  # noqa: S603 - `require` has seen that root alone can write it
            [argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            cwd="/",
            start_new_session=True,  # a Ctrl-C reaches podlan only
            pass_fds=(lock,),
        )
    except OSError as error:
        raise Refusal(verb, kind, f"cannot run {argv}: {error.strerror}") from error
    with process:
        try:
            out, err = _ended(process, given, stop)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise Refusal(verb, kind, f"it did not end within {_SECONDS:g} s") from error
            raise
    return chain.answer(verb, kind, process.returncode, out, err)


def _ended(process: subprocess.Popen[str], given: str, stop: Stop | None) -> tuple[str, str]:
    end = time.monotonic() + _SECONDS
    text: Any = given
    while True:
        try:
            return process.communicate(text, _POLL)
        except subprocess.TimeoutExpired:
            text = None  # what is left of it is sent by the next call
            if stop is not None:
                stop.check()
            if time.monotonic() >= end:
                raise
