"""The kubelet's flags on this node, and which of them the next upgrade ends on."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from podlan.diagnostics import Place, Severity
from podlan.node.doctor._case import told
from podlan.node.doctor._programs import run
from podlan.node.trust import Untrusted, followed
from podlan.plan.kubelet_flags import CONFIG_FLAGS, GONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_FILES = (
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/kubernetes/kubelet",
    "/etc/kubernetes/kubelet.env",
)
_PROGRAMS = ("/usr/bin/kubelet", "/usr/local/bin/kubelet", "/opt/bin/kubelet")
_FLAG = re.compile(r"(?<![^\s\"'=])--([a-z][a-z0-9-]*)(?=[\s=\"']|$)")
_MOST = 1 << 20
_STAYING = ("provider-id", "seccomp-default")
"""Flags with a field of the same meaning that are not deprecated (options.go; kubernetes/kubernetes#116530)."""


_OLD = {*CONFIG_FLAGS.values(), "cluster-dns", "max-pods", "register-with-taints", "resolv-conf"}.difference(_STAYING)
"""The table leaves out what podlan itself says to a kubelet."""


class _Flag(NamedTuple):
    name: str
    place: Place


def kubelet(case: Case) -> Iterator[Finding]:
    """Tell which flags are gone, in the release that is here or in a later one, and which are only deprecated."""
    here = _version(case)
    merged = {file.path: file.env_flags.flags for file in case.plan.files if file.env_flags is not None}
    # podlan's own change with the inventory's version of Kubernetes, and are right for this one.
    own = {flag.partition("=")[0].lstrip("-") for flags in merged.values() for flag in flags}
    for path in dict.fromkeys([*_FILES, *merged]):
        flags = list(_flags(case, path))
        yield from (_gone(flag, here) for flag in flags if flag.name in GONE)
        old = dict.fromkeys(flag.name for flag in flags if flag.name in _OLD - own)
        if old:
            names = ", ".join(f"--{name}" for name in old)
            yield told(
                "PL678",
                f"{names} still {'work' if len(old) > 1 else 'works'}, and {'are' if len(old) > 1 else 'is'} "
                f"deprecated: KubeletConfiguration has fields for that",
                place=next(flag.place for flag in flags if flag.name in old),
                hint="before they go, set them in the kubelet's configuration file",
                severity=Severity.NOTE,
            )


def _gone(flag: _Flag, here: str) -> Finding:
    gone = GONE[flag.name]
    if here and _number(gone.version) <= _number(here):
        return told(
            "PL678",
            f"the kubelet {here} of this node does not know --{flag.name}, gone since {gone.version}: it ends at its "
            f"next start",
            place=flag.place,
            hint=f"take it out: {gone.instead}",
            severity=Severity.ERROR,
        )
    installed = f"installed is {here}" if here else "which kubelet is installed nobody could tell"
    return told(
        "PL678",
        f"kubelets from {gone.version} on do not know --{flag.name}, and end at once ({installed})",
        place=flag.place,
        hint=f"take it out before the upgrade: {gone.instead}",
    )


def _flags(case: Case, path: str) -> Iterator[_Flag]:
    shown = case.root.shown(path)
    try:
        descriptor = os.open(shown, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            text = file.read(_MOST).decode(errors="replace")
    except OSError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith(("#", ";")):
            for match in _FLAG.finditer(line):
                yield _Flag(match[1], Place(shown, number, match.start() + 1, len(match[0])))


def _version(case: Case) -> str:
    """Ask the kubelet that is installed; '' where there is none, or none that root alone can write."""
    for path in map(case.root.shown, _PROGRAMS):
        with contextlib.suppress(OSError, Untrusted):
            followed(path)
            match = re.search(r"\bv(\d+\.\d+)(\.\d+)?", run([path, "--version"], {}).output)
            if match is not None:
                return match[1]
    return ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
