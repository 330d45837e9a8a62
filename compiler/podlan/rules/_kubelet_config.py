"""PL41x: the fields that people add to KubeletConfiguration, and whether their kubelets take them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.inventory.kubelet_tables import CONFIG_DIR_SINCE, fields, flags
from podlan.rules._kubelet import OWN_FIELDS, near, short, with_version
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site, Version
    from podlan.source import KeyPath


@rule("PL411", "a field that the kubelet does not know")
def known_fields(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A field in cluster.kubelet.config is one that the node's KubeletConfiguration has.

    Of a Kubernetes newer than podlan's table an unknown field is a note.
    Why: a field that it does not know keeps the kubelet from starting, or is left out without a word.
    Source: kubernetes/kubelet, config/v1beta1/types.go.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {config: {podPerCore: 10}}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {config: {podsPerCore: 10}}}
    """
    del grounds
    judged: set[tuple[KeyPath, Version]] = set()
    told: set[tuple[KeyPath, Severity]] = set()
    for node, version in with_version(site):
        for name in node.cluster.kubelet.config if version >= CONFIG_DIR_SINCE else ():
            path = site.origin(node, "cluster", "kubelet", "config", name)
            found = None if name in OWN_FIELDS or (path, version) in judged else _field(node, version, name)
            judged.add((path, version))
            if found is not None and (path, found[2]) not in told:
                message, hint, severity = found
                told.add((path, severity))
                yield Finding("PL411", message, site.place(path, key=True), severity, hint)


def _field(node: ResolvedNode, version: Version, name: str) -> tuple[str, str, Severity] | None:
    known = fields().since.get(name)
    if known is not None and version >= known:
        return None
    message = f"KubeletConfiguration of {node.name} ({short(version)}) has no {name}"
    if known is not None:
        return f"{message} yet", f"it came with {short(known)}: leave it out until then", Severity.ERROR
    guess = near(name, frozenset(fields().since), "")
    if fields().missing(name, version):
        return message, guess or "leave it out", Severity.ERROR
    message = f"podlan knows no field {name} of KubeletConfiguration, only those up to {short(fields().newest)}"
    return message, guess, Severity.NOTE


@rule("PL413", "kubelet.config that no kubelet reads")
def config_is_read(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A node with cluster.kubelet.config runs Kubernetes 1.30 or newer.

    Why: podlan writes these fields into a drop-in, and kubelets read such files (--config-dir) from 1.30 on. An older
    one has a single file, which belongs to kubeadm; most fields have a flag there.
    Source: KEP-3983.
    Example:
        cluster: {kubernetes: "1.29", kubelet: {config: {podsPerCore: 10}}}
    Instead:
        cluster: {kubernetes: "1.29", kubelet: {flags: {pods-per-core: "10"}}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node, version in with_version(site):
        config = node.cluster.kubelet.config
        if not config or version >= CONFIG_DIR_SINCE:
            continue
        written: dict[KeyPath, list[str]] = {}
        for name in config:
            written.setdefault(site.origin(node, "cluster", "kubelet", "config", name)[:-1], []).append(name)
        for path, names in written.items():
            if path not in told:
                told.add(path)
                message = f"the kubelet of {node.name} ({short(version)}) reads no drop-in: that begins with 1.30"
                yield Finding("PL413", message, site.place(path, key=True), hint=_as_flags(names, version))


def _as_flags(config: Iterable[str], version: Version) -> str:
    """Say what can be said as a flag; fields that hold more than one value need a person's eye."""
    named = {name: fields().flags.get(name) for name in sorted(config) if name not in OWN_FIELDS}
    written = [f"{flag} for {name}" for name, flag in named.items() if flag and not flags().missing(flag, version)]
    if not written:
        return "leave it out before 1.30"
    return f"write it in kubelet.flags: {', '.join(written)}"


@rule("PL418", "a field with a value of another kind")
def fields_have_their_kind(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A field in cluster.kubelet.config holds what its kind is: a number, a text, true or false, a list, a map.

    A field of null is taken out of what the kubelet's own file says. Of maps and lists only those of texts and of
    true and false are looked into; resource quantities and spans of time are texts ("100Mi", "30s").
    Why: the kubelet decodes its configuration strictly, and does not start on a text where a number is wanted.
    Source: kubernetes/kubelet, config/v1beta1/types.go; Go's encoding/json.
    Example:
        cluster: {kubernetes: "1.31", kubelet: {config: {podsPerCore: "10"}}}
    Instead:
        cluster: {kubernetes: "1.31", kubelet: {config: {podsPerCore: 10}}}
    """
    del grounds
    told: set[KeyPath] = set()
    for node, version in with_version(site):
        for name, value in node.cluster.kubelet.config.items() if version >= CONFIG_DIR_SINCE else ():
            kind = fields().kinds.get(name)
            if kind is None or value is None or name in OWN_FIELDS:
                continue
            for below, part, wanted in _parts(value, kind):
                path = () if _is(part, wanted) else _written(site, node, name, *below)
                if path and path not in told:
                    told.add(path)
                    shown = ".".join((name, *map(str, below)))
                    message = f"{shown} of {node.name} is {_called(part)}, and {_WORDS[wanted]} is wanted"
                    yield Finding("PL418", message, site.place(path), hint=_other_kind(part, wanted))


def _written(site: Site, node: ResolvedNode, name: str, *below: str | int) -> KeyPath:
    """Find who says a part of a field: maps are laid over each other key by key, lists replace each other."""
    keys = [key for key in below if isinstance(key, str)]
    return (*site.origin(node, "cluster", "kubelet", "config", name, *keys), *below[len(keys) :])


_KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "number": (int, float),
    "text": (str,),
    "list": (list,),
    "map": (dict,),
}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "number": "a number",
    "text": "a text",
    "list": "a list",
    "map": "a map",
}


def _parts(value: object, kind: str) -> Iterator[tuple[tuple[str | int, ...], object, str]]:
    """Give what is to be looked at: the way to it, the value, and its kind."""
    if kind == "texts":
        yield (), value, "list"
        yield from (((number,), item, "text") for number, item in enumerate(value if isinstance(value, list) else ()))
    elif kind.startswith("map of "):
        yield (), value, "map"
        wanted = "text" if kind == "map of texts" else "bool"
        yield from (((key,), item, wanted) for key, item in (value.items() if isinstance(value, dict) else ()))
    else:
        yield (), value, kind


def _is(value: object, kind: str) -> bool:
    # To Python true is a number.
    return isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))


def _called(value: object) -> str:
    if value is None:
        return "nothing"
    return next(_WORDS[kind] for kind in _KINDS if _is(value, kind))


def _other_kind(value: object, wanted: str) -> str:
    if wanted == "text" and isinstance(value, (bool, int, float)):
        return f'write it in quotes, as "{str(value).lower()}"'
    if isinstance(value, str) and wanted in {"bool", "int", "number"}:
        return "write it without quotes" if _looks(value, wanted) else f"write {_WORDS[wanted]}"
    return f"write {_WORDS[wanted]}"


def _looks(value: str, wanted: str) -> bool:
    return value in {"true", "false"} if wanted == "bool" else re.fullmatch("-?[0-9]+", value) is not None


RULES = (known_fields, config_is_read, fields_have_their_kind)
