"""What podlan remembers on a node: what it applied last, and what it displaced, so that it can give it back."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from podlan.node._errors import BadState, Unusable
from podlan.node.addresses import AddressMetric
from podlan.node.altnames import AltnameAdd
from podlan.node.links import LinkSet
from podlan.node.observe import RouteState, wanted_route
from podlan.node.operations import SysctlWrite
from podlan.node.prefixes import KERNEL, PrefixAway, shared_prefixes
from podlan.node.release import Binary
from podlan.node.routes import RouteReplace
from podlan.plan import PROTOCOL
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podlan.node.files import Root
    from podlan.node.operations import Operation
    from podlan.plan import Plan

STATE = "/var/lib/podlan/state.json"
MEMORIES = ("/var/lib/podlan/plugins",)
"""What install.sh remembers."""
_VERSION = 1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What podlan put into a file: all of it (its digest), flags of a variable, or a block; and who pulls it in.

    `restart` are the units that read it. What was there before, of a file that is others' too: `created` where there
    was none, else its `mode`, and `assigned`, the variable's value in the file's own spelling (None: it had none).
    `made` are the directories that podlan made for it.
    """

    path: str
    digest: str = ""
    variable: str = ""
    flags: tuple[str, ...] = ()
    block: bool = False
    wants: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    created: bool = False
    mode: int = 0
    assigned: str | None = None
    made: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What podlan applied last.

    What it displaced: `promisc`, `metrics`, `displaced` routes, and `sysctls` (before, set; before is ''
    where the key came with podlan's own link).

    `boot` names the boot and the network namespace that the kernel's part holds for; `restart` are units
    that still wait for their restart. `altnames` are those that podlan added, `mtus` the links whose MTU it set,
    `kept` the VLANs that it made and that stay for others' sake.
    """

    node: str = ""
    boot: str = ""
    links: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    routes: tuple[RouteState, ...] = ()
    promisc: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    displaced: tuple[RouteState, ...] = ()
    sysctls: dict[str, tuple[str, str]] = field(default_factory=dict)
    altnames: tuple[tuple[str, str], ...] = ()
    mtus: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()
    binaries: tuple[Binary, ...] = ()
    restart: tuple[str, ...] = ()


def this_boot() -> str:
    """Name this boot and this network namespace: what the kernel holds does not outlive either."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 10 ms
        return f"{file.read().strip()} {os.stat('/proc/self/ns/net').st_ino}"  # noqa: PTH116 - as above


def recall(root: Root) -> State:
    """Read the state; the kernel's part of an earlier boot is void."""
    try:
        found = root.read(STATE)
    except OSError as error:
        raise Unusable(root.shown(STATE), error) from error
    state = _parsed(root, None if found is None else found.content)
    if state.boot != this_boot():
        return State(node=state.node, files=state.files, binaries=state.binaries)
    return state


def _parsed(root: Root, text: str | bytes | None) -> State:
    if text is None:
        return State()
    shown = root.shown(STATE)
    try:
        document = json.loads(text)
        if document.pop("version") != _VERSION:
            raise BadState(shown, "it is of another version of podlan")
        return _state(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadState(shown, "it is not what podlan wrote") from error


def _state(document: dict[str, Any]) -> State:
    return State(
        node=str(document["node"]),
        boot=str(document["boot"]),
        links=tuple(document["links"]),
        addresses=tuple((link, address) for link, address in document["addresses"]),
        routes=tuple(_route(route) for route in document["routes"]),
        promisc=dict(document["promisc"]),
        metrics=dict(document["metrics"]),
        displaced=tuple(_route(route) for route in document["displaced"]),
        sysctls={key: (before, value) for key, (before, value) in document["sysctls"].items()},
        altnames=tuple((link, altname) for link, altname in document.get("altnames", ())),
        mtus=tuple(document.get("mtus", ())),
        kept=tuple(document.get("kept", ())),
        files=tuple(_file(record) for record in document["files"]),
        binaries=tuple(Binary(**record) for record in document.get("binaries", ())),
        restart=tuple(document["restart"]),
    )


def _file(document: dict[str, Any]) -> FileRecord:
    # As lists, and an earlier podlan wrote none of the last two.
    several = {name: tuple(document.get(name, ())) for name in ("flags", "wants", "restart", "made")}
    return FileRecord(**{**document, **several})


def _route(document: dict[str, Any]) -> RouteState:
    return RouteState(**{**document, "metrics": tuple((name, value) for name, value in document["metrics"])})


def remember(root: Root, state: State) -> None:
    """Write the state, at once or not at all."""
    document = {"version": _VERSION, **asdict(state)}
    restore(root, json.dumps(document, indent=1, sort_keys=True) + "\n")


def restore(root: Root, text: str | None, *, keep_binaries: bool = False) -> None:
    """Put back the text of the state as it was before a run, None where there was no state.

    `keep_binaries`: what a run installed stays podlan's, since it was not taken back.
    """
    if keep_binaries:
        remember(root, replace(_parsed(root, text), binaries=recall(root).binaries))
        return
    root.clean(STATE)
    if text is None:
        root.remove(STATE)
        return
    try:
        root.write(STATE, text.encode(), 0o644)
    except OSError as error:
        raise Unusable(root.shown(STATE), error) from error


def intended(last: State, plan: Plan, records: Iterable[FileRecord], operations: Iterable[Operation]) -> State:
    """Give what must be on disk before the first change, so that a killed run loses no ownership and no original."""
    promisc, metrics, sysctls = dict(last.promisc), dict(last.metrics), dict(last.sysctls)
    displaced = {route.key: route for route in last.displaced}
    adopted = {(address.link, address.address) for address in plan.addresses if address.adopt}
    altnames = last.altnames
    for operation in operations:
        match operation:
            case AltnameAdd(link=link, altname=altname):
                altnames = _union(altnames, ((link, altname),))
            case LinkSet(name=name, attribute="promisc", before=before):
                promisc.setdefault(name, before)
            case AddressMetric(state=state) if state.key in adopted:
                metrics.setdefault(f"{state.link} {state.address}", state.metric)
            case RouteReplace(before=RouteState() as before) if before.protocol != PROTOCOL:
                displaced[before.key] = before
            case PrefixAway(route=route):
                displaced[route.key] = route
            case SysctlWrite(key=key, value=value, before=before):
                sysctls[key] = (sysctls.get(key, (before or "", ""))[0], value)
    wanted = _applied(last, plan, records)
    return replace(
        wanted,
        links=_union(last.links, wanted.links),
        addresses=_union(last.addresses, wanted.addresses),
        routes=_union(last.routes, wanted.routes),
        mtus=_union(last.mtus, wanted.mtus),
        files=_both(last.files, wanted.files),
        promisc=promisc,
        metrics=metrics,
        displaced=tuple(displaced.values()),
        sysctls=sysctls,
        altnames=altnames,
    )


def settled(intent: State, plan: Plan, records: Iterable[FileRecord]) -> State:
    """Give what holds after a run: the plan, and the originals of what the plan still displaces."""
    promisc = {link.name for link in plan.links if link.promisc is not None}
    metrics = {f"{address.link} {address.address}" for address in plan.addresses if address.adopt}
    replaced = {wanted_route(route).key for route in plan.routes}
    shared = shared_prefixes(plan)
    altnames = {(link.name, altname) for link in plan.links for altname in link.altnames}
    return replace(
        _applied(intent, plan, records),
        promisc={name: before for name, before in intent.promisc.items() if name in promisc},
        metrics={key: metric for key, metric in intent.metrics.items() if key in metrics},
        displaced=tuple(
            route
            for route in intent.displaced
            if ((route.link, route.destination) in shared if route.protocol == KERNEL else route.key in replaced)
        ),
        sysctls={key: values for key, values in intent.sysctls.items() if key in plan.sysctls},
        altnames=tuple(one for one in intent.altnames if one in altnames),
    )


def _applied(last: State, plan: Plan, records: Iterable[FileRecord]) -> State:
    return replace(
        last,
        node=plan.node,
        boot=this_boot(),
        links=tuple(link.name for link in plan.links if link.kind != "master"),
        addresses=tuple((address.link, address.address) for address in plan.addresses if not address.adopt),
        routes=tuple(wanted_route(route) for route in plan.routes),
        mtus=tuple(link.name for link in plan.links if link.mtu and link.kind != "master"),
        files=tuple(records),
    )


def obsolete(last: State, plan: Plan) -> set[str]:
    """Give the whole files that podlan wrote and the plan has no more: the run removes them."""
    return {record.path for record in last.files if record.digest} - {file.path for file in plan.files}


def written(plan: Plan, last: State) -> tuple[str, ...]:
    """Give the files and links that a run writes or an earlier one wrote: half of one may lie beside after a kill."""
    paths = [
        *(file.path for file in plan.files),
        *(path for record in last.files for path in (record.path, *record.wants)),
        *(plan.release.paths if plan.release else ()),
        *(binary.path for binary in last.binaries),
    ]
    return tuple(dict.fromkeys(paths))


def _union(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return (*first, *(item for item in second if item not in first))


def _both(last: tuple[FileRecord, ...], wanted: tuple[FileRecord, ...]) -> tuple[FileRecord, ...]:
    # A file may hold the old flags or the new ones when the run ends early: remember both.
    merged = {record.path: record for record in last}
    for record in wanted:
        old = merged.get(record.path, record)
        same_variable = old.variable == record.variable
        flags = _union(old.flags, record.flags) if same_variable else record.flags
        merged[record.path] = replace(record, flags=flags, wants=_union(old.wants, record.wants))
    return tuple(merged.values())
