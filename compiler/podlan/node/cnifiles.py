"""What stands beside podlan's CNI file: plugins that are missing, and files of others that the runtime would take."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from podlan.node.codes import finding
from podlan.node.runtime import goes_by_name, network_name
from podlan.node.state import obsolete

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.state import State
    from podlan.plan import Cni, Plan

_LOADED = (".conf", ".conflist", ".json")
_BIN_DIRS = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
_READ = 1 << 20  # bytes of a file; a CNI file has a few hundred


class CniFile(NamedTuple):
    """A file as a runtime reads it; `broken` says why it would not."""

    file: str
    name: str = ""
    types: tuple[str, ...] = ()
    broken: str = ""


def cni_findings(directory: NodeDirectory, last: State, root: Root) -> Iterator[Finding]:
    """Tell what keeps the runtime from podlan's file, or its plugins from the runtime."""
    plan = directory.plan
    if plan.cni is None:
        return
    yield from _plugins(plan, root)
    place, _, file = plan.cni.file.rpartition("/")
    try:
        names = os.listdir(root.shown(place))  # noqa: PTH208 - pathlib costs 10 ms
    except OSError:
        return
    leaving = obsolete(last, plan)
    others = [
        _read(root.shown(f"{place}/{name}"))
        for name in sorted(names)
        if name.endswith(_LOADED) and name != file and f"{place}/{name}" not in leaving
    ]
    first = [other for other in others if other.file.rpartition("/")[2] < file]
    runtime = plan.runtime.name if plan.runtime else ""
    own = network_name(directory)
    if not goes_by_name(directory, last, root):
        yield from _first(first, file, runtime)
    if runtime == "cri-o" and own:
        yield from (
            finding("PL644", f"{other.file} has the name {own} too")
            for other in others
            if other.name == own and not other.broken
        )
    if own and file.endswith(".conflist"):
        yield from _merged(root.shown(f"{place}/{own}"), directory, plan.cni)


def taken(directory: NodeDirectory, last: State, root: Root) -> CniFile | None:
    """Give the file that the runtime takes now, None where there is none; broken where that stops the runtime."""
    plan = directory.plan
    if plan.cni is None:
        return None
    place, _, own = plan.cni.file.rpartition("/")
    try:
        names = sorted(name for name in os.listdir(root.shown(place)) if name.endswith(_LOADED))  # noqa: PTH208 - pathlib costs 10 ms
    except OSError:
        return None
    if own in names and goes_by_name(directory, last, root):
        names = [own]
    for name in names:
        found = _read(root.shown(f"{place}/{name}"))
        if found.broken and plan.runtime is not None and plan.runtime.name == "containerd":
            return found
        # Multus calls the node's own network in turn; others skip a broken file.
        if not found.broken and "multus" not in found.types:
            return found
    return None


def _plugins(plan: Plan, root: Root) -> Iterator[Finding]:
    release, cni = plan.release, plan.cni
    brought = release.paths if release else ()
    missing = [path for path in (cni.plugins if cni else ()) if path not in brought and not _exists(root, path)]
    if missing:
        elsewhere = [
            directory
            for directory in _BIN_DIRS
            if all(_exists(root, f"{directory}/{path.rpartition('/')[2]}") for path in missing)
        ]
        found = f" (there are such in {root.shown(elsewhere[0])})" if elsewhere else ""
        yield finding("PL611", f"plugin binaries are missing: {', '.join(root.shown(path) for path in missing)}{found}")


def _exists(root: Root, path: str) -> bool:
    return os.path.exists(root.shown(path))  # noqa: PTH110 - pathlib costs 10 ms


def _first(earlier: Sequence[CniFile], file: str, runtime: str) -> Iterator[Finding]:
    for other in earlier:
        if other.broken and runtime == "containerd":
            yield finding("PL645", f"{other.file} {other.broken}, and comes before {file}")
            return
        # Multus comes first by design, and calls the node's own network in turn; others skip a broken file.
        if not (other.broken and runtime):
            if "multus" not in other.types:
                yield finding("PL612", f"{other.file} comes before {file}")
            return


def _merged(place: str, directory: NodeDirectory, cni: Cni) -> Iterator[Finding]:
    content = next((directory.files[file.source] for file in directory.plan.files if file.path == cni.file), b"")
    try:
        files = sorted(name for name in os.listdir(place) if name.endswith(".conf"))  # noqa: PTH208 - pathlib costs 10 ms
    except OSError:
        return
    if files and b'"loadOnlyInlinedPlugins": true' not in content:
        yield finding("PL643", f"{place} holds {', '.join(files)}")


def _read(path: str) -> CniFile:
    try:
        # A pipe would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
            return _parsed(path, file.read(_READ))
    except OSError as error:
        return CniFile(path, broken=f"cannot be read ({error.strerror})")


def _parsed(path: str, content: bytes) -> CniFile:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return CniFile(path, broken="is not JSON")
    if not isinstance(document, dict):
        return CniFile(path, broken="is not a JSON object")
    is_list = path.endswith(".conflist")
    plugins = document.get("plugins") if is_list else [document]
    if not isinstance(plugins, list) or not plugins:
        return CniFile(path, broken="lists no plugins")
    types = tuple(str(plugin.get("type") or "") if isinstance(plugin, dict) else "" for plugin in plugins)
    name = document.get("name")
    if not all(types):
        listed = not is_list and "plugins" in document
        broken = "is a list, which belongs into a .conflist" if listed else "names no type of plugin"
        return CniFile(path, broken=broken)
    return CniFile(path, name if isinstance(name, str) else "", types)
