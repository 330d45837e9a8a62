"""The form in which a node is compared: what its compiled files mean, without how they are written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from podlan.addressing import Addresses, Range
from podlan.diagnostics import Exit, PodlanError
from podlan.plan import Plan, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.plan import File

Files: TypeAlias = "Mapping[str, bytes]"
"""A node's compiled directory: content by path."""

PLAN = "plan.json"


class BadOutput(PodlanError):
    """A compiled directory that cannot be compared: a file is missing, or says nothing that can be read."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot compare {self.where}: {self.problem}; compile the site again"


@dataclass(frozen=True, slots=True)
class FileForm:
    """A file of the plan. `facts` is what it says, key by key, for telling what changed in it.

    `meaning` is the digest of all that a CNI file says but where ranges begin and end; `digest` that of its bytes.

    `kind` 'cni' is read at every pod's start; the others by the units in `restart`, or by nobody who would notice.
    """

    kind: Literal["cni", "whole", "flags", "block"]
    digest: str
    restart: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A node as it is compared.

    `slices` is by subnet, in CIDR form; `stores` is where host-local remembers the addresses of each subnet. `texts`
    are the files that are delivered beside the plan's (boot.sh, the manifest), by digest.
    """

    plan: Plan
    slices: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileForm] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def form(node: str, files: Files) -> Form:
    """Read a node's compiled directory; raises BadOutput and BadPlan."""
    try:
        return _form(node, files)
    except RecursionError as error:
        raise BadOutput(node, "a file of it is nested too deeply") from error


def _form(node: str, files: Files) -> Form:
    if PLAN not in files:
        raise BadOutput(node, f"it has no {PLAN}")
    try:
        plan = decode(files[PLAN].decode(), f"{node}/{PLAN}")
    except UnicodeDecodeError as error:
        raise BadOutput(node, f"{PLAN} is not UTF-8") from error
    for route in plan.routes:
        if not _is_network(route.destination):
            raise BadOutput(f"{node}/{PLAN}", f"{route.destination!r} is no network to have a route to")
    slices: dict[str, tuple[Range, ...]] = {}
    stores: dict[str, str] = {}
    forms: dict[str, FileForm] = {}
    for file in plan.files:
        document = _document(node, file, files)
        forms[file.path] = _file(file, files, document)
        for subnet, store, item in _host_local(document, f"{node}{file.path}"):
            slices[subnet] = (*slices.get(subnet, ()), item)
            stores[subnet] = store
    sources = {file.source for file in plan.files}
    texts = {path: _digest(content) for path, content in files.items() if path not in sources}
    owned = {subnet: tuple(Addresses(items[0].family, items)) for subnet, items in slices.items()}
    return Form(plan, owned, stores, forms, texts)


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _document(node: str, file: File, files: Files) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give a whole file's JSON, or None where it is something else."""
    if not file.source:
        return None
    if file.source not in files:
        raise BadOutput(node, f"{PLAN} names {file.source}, which is not there")
    content = files[file.source]
    if not content.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _file(file: File, files: Files, document: Any) -> FileForm:  # noqa: ANN401 - JSON of any shape
    if file.env_flags is not None:
        facts = dict(_flag(flag) for flag in file.env_flags.flags)
        return FileForm("flags", _digest(repr((file.mode, file.env_flags)).encode()), file.restart, facts)
    if file.block:
        return FileForm("block", _digest(repr((file.mode, file.block)).encode()), file.restart, _lines(file.block))
    content = files[file.source]
    digest = _digest(repr((file.mode, file.wanted_by)).encode() + content)
    if document is None:
        return FileForm("whole", digest, file.restart, _lines(content.decode(errors="replace").splitlines()))
    is_cni = isinstance(document, dict) and "cniVersion" in document
    stripped = _without_ends(document) if is_cni else document
    meaning = _digest(json.dumps(stripped, sort_keys=True).encode()) if is_cni else ""
    return FileForm("cni" if is_cni else "whole", digest, file.restart, dict(_flat(stripped, "")), meaning)


def _flag(flag: str) -> tuple[str, str]:
    name, _, value = flag.partition("=")
    return name, value


def _lines(lines: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Take the lines of a text that mean something."""
    return {line.strip(): "" for line in lines if line.strip() and not line.lstrip().startswith("#")}


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON of any shape
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            entry = _entry(item)
            # An entry is known by what it says: one more in the middle does not change those behind it.
            yield from [(f"{_short(path)}[{entry}]", "")] if entry else _flat(item, f"{path}[{index}]")
    else:
        yield _short(path), value if isinstance(value, str) else json.dumps(value)


def _short(path: str) -> str:
    return path.removeprefix("plugins[0].")


def _entry(item: Any) -> str:  # noqa: ANN401 - JSON of any shape
    """Write an entry of a list that holds nothing deeper on one line; nothing for any other."""
    if isinstance(item, dict):
        is_flat = item and not any(isinstance(part, dict | list) for part in item.values())
        return ", ".join(f"{key} {part}" for key, part in item.items()) if is_flat else ""
    return "" if isinstance(item, list) else str(item)


def _plugins(document: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON of any shape
    """Give the plugins of a CNI file, a list of them or one alone."""
    if isinstance(document, dict) and "cniVersion" in document:
        listed = document.get("plugins", [document])
        yield from (plugin for plugin in listed if isinstance(plugin, dict)) if isinstance(listed, list) else ()


def _host_local(document: Any, where: str) -> Iterator[tuple[str, str, Range]]:  # noqa: ANN401 - JSON of any shape
    """Give (subnet, where its addresses are remembered, range) of everything that host-local hands out."""
    for plugin in _plugins(document):
        ipam = plugin.get("ipam")
        if not isinstance(ipam, dict) or ipam.get("type") != "host-local":
            continue
        # host-local's own default: plugins/ipam/host-local/backend/disk, defaultDataDir.
        store = f"{ipam.get('dataDir', '/var/lib/cni/networks')}/{document.get('name', '')}"
        try:
            for item in (item for items in ipam["ranges"] for item in items):
                subnet, owned = str(item["subnet"]), Range.parse(f"{item['rangeStart']}-{item['rangeEnd']}")
                if not Range.of_network(ip_network(subnet, strict=False)).contains(owned):
                    raise ValueError(subnet)  # noqa: TRY301 - told like the other ways to be wrong
                yield subnet, store, owned
        except (KeyError, TypeError, ValueError) as error:
            raise BadOutput(where, "its ranges are not as podlan writes them") from error


def _without_ends(document: dict[str, Any]) -> dict[str, Any]:
    """Copy a CNI file without where ranges begin and end: slices are compared as sets of addresses."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for plugin in _plugins(copy):
        ipam = plugin.get("ipam")
        if isinstance(ipam, dict) and isinstance(ipam.get("ranges"), list):
            ipam["ranges"] = [_kinds(items) for items in ipam["ranges"]]
    return copy


def _kinds(items: Any) -> list[Any]:  # noqa: ANN401 - JSON of any shape
    """Name each kind of range of a set once, however many ranges the slice has."""
    if not isinstance(items, list):
        return [items]
    kinds: list[Any] = []
    for item in items:
        ends = ("rangeStart", "rangeEnd")
        kind = {key: value for key, value in item.items() if key not in ends} if isinstance(item, dict) else item
        if kind not in kinds:
            kinds.append(kind)
    return kinds
