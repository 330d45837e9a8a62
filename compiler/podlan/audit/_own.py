"""The nodes' own addresses: from podlan's plan.json, or as people list them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from podlan.audit._addresses import parse_address
from podlan.audit._remarks import Remark, Spot, quoted
from podlan.audit._text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.audit._remarks import JsonPath

_WORDS = 2


class Own(NamedTuple):
    """An address that a node has itself; `what` tells of which kind."""

    node: str
    family: int
    address: int
    what: str
    spot: Spot | None = None


class Plan(NamedTuple):
    """What the audit takes from a plan: where it puts CNI files, and every address that the node has itself."""

    cni_directory: str
    own: tuple[Own, ...]


def read_plan(path: Path) -> Plan | None:
    """Read a plan as any program could, without podlan's own reader; None where the file is none of podlan's.

    Raises OSError where it cannot be read.
    """
    try:
        value = json.loads(text_of(str(path)))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("node"), str) or "version" not in value:
        return None
    cni = value.get("cni")
    file = cni.get("file") if isinstance(cni, dict) else None
    found: dict[tuple[int, int], Own] = {}
    for text, what, where in _written(value):
        try:
            family, address = parse_address(str(text or "").partition("/")[0])
        except ValueError:
            continue  # a missing source, or nothing that is an address
        own = Own("", family, address, what, Spot(str(path), where))
        found.setdefault((family, address), own)
    directory = str(Path(file).parent) if isinstance(file, str) else "/etc/cni/net.d"
    return Plan(directory, tuple(found.values()))


def _written(plan: dict[str, Any]) -> Iterator[tuple[Any, str, JsonPath]]:
    for index, item in _objects(plan, "addresses"):
        what = "address" if item.get("adopt") else f"address on {item.get('link')}"
        yield item.get("address"), what, ("addresses", index, "address")
    for index, item in _objects(plan, "files"):
        flags = item.get("envFlags")
        written = flags.get("flags") if isinstance(flags, dict) else None
        for number, flag in enumerate(written if isinstance(written, list) else []):
            if isinstance(flag, str) and flag.startswith("--node-ip="):
                for text in flag.partition("=")[2].split(","):
                    yield text, "address", ("files", index, "envFlags", "flags", number)
    for index, item in _objects(plan, "routes"):
        yield item.get("source"), "address", ("routes", index, "source")


def _objects(plan: dict[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    items = plan.get(name)
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield index, item


def read_own(node: str, text: str) -> Own:
    """Read a node's address as people give it, with or without a prefix length; raises ValueError."""
    if not node:
        raise ValueError(text)
    return Own(node, *parse_address(text.partition("/")[0]), "address")


def read_nodes_file(path: str) -> tuple[list[Own], list[Remark]]:
    """Read lines of NODE ADDRESS; `#` begins a comment."""
    found: list[Own] = []
    remarks: list[Remark] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        spot = Spot(path, line=number)
        try:
            node, text = words if len(words) == _WORDS else ("", "")
            found.append(read_own(node, text)._replace(spot=spot))
        except ValueError:
            remarks.append(Remark("PL713", f"a line must be NODE ADDRESS, not {quoted(line.strip())}", spot))
    return found, remarks
