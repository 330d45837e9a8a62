"""The plugin binaries that the CNI files call: whose they are, which release, which versions of CNI they speak."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from podlan.node.doctor._case import told
from podlan.node.doctor._programs import run
from podlan.node.trust import Untrusted, followed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_RELEASE = re.compile(r"\bv?(\d+\.\d+\.\d+)\b")


def plugins(case: Case) -> Iterator[Finding]:
    """Ask each plugin what it is, as runtimes do (CNI_COMMAND=VERSION); one that is missing is told elsewhere."""
    for path, versions in _called(case).items():
        shown = case.root.shown(path)
        if not os.path.isfile(shown):  # noqa: PTH113 - strings, as everywhere here
            continue
        try:
            followed(shown)
        except Untrusted as error:
            yield told("PL672", f"others than root can write {error.path}, and pods run {shown} as root", place=shown)
            continue
        said = run([shown], {"CNI_COMMAND": "VERSION"}, json.dumps({"cniVersion": "1.0.0"}))
        supported = _supported(said.output)
        if not supported:
            reason = said.failure or "its answer names no version"
            yield told("PL673", f"{shown} does not say which versions of CNI it speaks: {reason}", place=shown)
            continue
        for version, file in versions.items():
            if version not in supported:
                yield told(
                    "PL671",
                    f"{shown} speaks {', '.join(supported)}, and {case.root.shown(file)} has cniVersion {version}",
                    place=case.root.shown(file),
                )
        yield from _release(case, path, shown)


def _called(case: Case) -> dict[str, dict[str, str]]:
    """Give the plugins' paths, and for each the versions that it must speak with a file that says so."""
    known = {path.rpartition("/")[2]: path for path in (case.plan.cni.plugins if case.plan.cni else ())}
    directory = next(iter(known.values()), "").rpartition("/")[0]
    called: dict[str, dict[str, str]] = {path: {} for path in known.values()}
    for network in case.networks:
        for kind in network.types:
            if directory and "/" not in kind:
                path = known.get(kind, f"{directory}/{kind}")
                called.setdefault(path, {}).setdefault(network.version, network.file)
    return called


def _supported(answer: str) -> list[str]:
    try:
        versions = json.loads(answer)["supportedVersions"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [one for one in versions if isinstance(one, str)] if isinstance(versions, list) else []


def _release(case: Case, path: str, shown: str) -> Iterator[Finding]:
    release = case.plan.release
    if release is None or path not in release.paths:
        return
    # Without a command a plugin tells what it is on stderr; a distribution's own says 'version unknown'.
    said = run([shown], {})
    found = _RELEASE.search(said.errors or said.output)
    if found is not None and found[1] != release.version.removeprefix("v"):
        yield told("PL674", f"{shown} is of release {found[1]}, planned is {release.version}", place=shown)
