"""The JSON form of a plan: camelCase keys, defaults left out, read back strictly.

The node trusts nothing by accident: a key it does not know is something it would not do, so it refuses it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

from podlan.diagnostics import Exit, PodlanError
from podlan.plan._model import PLAN_VERSION, Address, Cni, EnvFlags, File, Link, Plan, Probe, Release, Route, Runtime

_T = TypeVar("_T")
_Parser = Callable[[object, str], Any]
_LEAST_MTU, _MOST_MTU = 68, 65535  # of IPv4 (RFC 791), and of the kernel's macvlan (ETH_MAX_MTU)
_LAST_VLAN = 4094  # 4095 is reserved, 0 is no VLAN (IEEE 802.1Q, 9.6)
_LONGEST = 60  # seconds that a run may wait for one answer


class BadPlan(PodlanError):
    """A plan that cannot be read: not JSON, of a newer version, or of another shape."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where = where
        self.problem = problem

    def __str__(self) -> str:
        return f"bad plan: {self.where}: {self.problem}; compile the site again and deliver the node's whole directory"


def encode(plan: Plan) -> dict[str, object]:
    """Give the plan as JSON values, `version` first, then the plan's own keys in a fixed order."""
    return {key: _encode_item(item) for key, item in document(plan).items()}


def document(plan: Plan) -> dict[str, object]:
    """Give the same, with the plan's records as they are: `members` tells what each of them holds."""
    return {"version": PLAN_VERSION, **members(plan)}


def members(record: Any) -> dict[str, object]:  # noqa: ANN401 - any of the model's dataclasses
    """Give what a record's JSON object holds, by its keys there; records in it are as they are."""
    values, written = _written(type(record))  # type: ignore[arg-type]  # a class can be hashed
    return {key: item for (key, default), item in zip(written, values(record), strict=True) if item != default}


@functools.cache
def _written(kind: type[Any]) -> tuple[Callable[[object], tuple[object, ...]], tuple[tuple[str, object], ...]]:
    """Give what reads a record's fields, all at once, and of each its key in JSON and its default."""
    fields = dataclasses.fields(kind)
    values = attrgetter(*[field.name for field in fields])
    return values, tuple((_camel(field.name), _default(field)) for field in fields)


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _encode_item(item: object) -> object:
    if isinstance(item, str | bool | int | dict):
        return item
    if isinstance(item, tuple):
        return [_encode_item(part) for part in item]
    return {key: _encode_item(part) for key, part in members(item).items()}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def decode(text: str, where: str) -> Plan:
    """Read a plan's JSON text; `where` names it in messages.

    Raises BadPlan for text that is not JSON, for a newer version, and for anything but the model's shape.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadPlan(where, f"not JSON ({error})") from error
    if not isinstance(document, dict):
        raise BadPlan(where, "not a JSON object")
    version = document.pop("version", None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise BadPlan(where, "no version")
    if version > PLAN_VERSION:
        raise BadPlan(where, f"version {version} is newer than this podlan reads ({PLAN_VERSION}); upgrade podlan here")
    if version < 1:
        raise BadPlan(where, f"version {version} does not exist")
    plan: Plan = _record(Plan, _PLAN)(document, where)
    return plan


def _record(kind: type[_T], parsers: Mapping[str, _Parser]) -> Callable[[object, str], _T]:
    fields = {_camel(field.name): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # always a dataclass
    required = [
        key
        for key, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def parse(value: object, where: str) -> _T:
        if not isinstance(value, dict):
            raise BadPlan(where, "not an object")
        for key in required:
            if key not in value:
                raise BadPlan(where, f"{key} is missing")
        known: dict[str, Any] = {}
        for key, item in value.items():
            if key not in fields:
                raise BadPlan(where, f"unknown key {key!r}")
            known[fields[key].name] = parsers[key](item, f"{where}.{key}")
        return kind(**known)

    return parse


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise BadPlan(where, "not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a surrogate pair
        raise BadPlan(where, "not Unicode text") from error
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise BadPlan(where, "not true or false")
    return value


def _metric(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise BadPlan(where, "not a metric (0 to 4294967295)")
    return value


def _mtu(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not _LEAST_MTU <= value <= _MOST_MTU:
        raise BadPlan(where, f"not an MTU ({_LEAST_MTU} to {_MOST_MTU})")
    return value


def _vlan(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LAST_VLAN:
        raise BadPlan(where, f"not a VLAN's number (1 to {_LAST_VLAN})")
    return value


def _seconds(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LONGEST:
        raise BadPlan(where, f"not a number of seconds (1 to {_LONGEST})")
    return value


def _one_of(*allowed: str) -> _Parser:
    def parse(value: object, where: str) -> str:
        if value not in allowed:
            raise BadPlan(where, f"not one of {', '.join(allowed)}")
        return str(value)

    return parse


def _list(item: _Parser) -> _Parser:
    def parse(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise BadPlan(where, "not a list")
        return tuple(item(part, f"{where}[{index}]") for index, part in enumerate(value))

    return parse


def _texts(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadPlan(where, "not an object")
    return {_text(key, f"{where}: {key!r}"): _text(item, f"{where}.{key}") for key, item in value.items()}


_LINK = {
    "name": _text,
    "kind": _one_of("master", "macvlan", "vlan"),
    "promisc": _flag,
    "master": _text,
    "mode": _one_of("bridge", "private", "vepa", "passthru"),
    "mac": _text,
    "alias": _text,
    "altnames": _list(_text),
    "mtu": _mtu,
    "vlan": _vlan,
}
_ADDRESS = {"link": _text, "address": _text, "metric": _metric, "adopt": _flag, "announce": _flag}
_ROUTE = {
    "link": _text,
    "destination": _text,
    "gateway": _text,
    "source": _text,
    "metric": _metric,
    "replaces": _flag,
}
_FILE = {
    "path": _text,
    "mode": _text,
    "source": _text,
    "envFlags": _record(EnvFlags, {"variable": _text, "flags": _list(_text)}),
    "block": _list(_text),
    "restart": _list(_text),
    "wantedBy": _list(_text),
    "start": _flag,
    "needs": _list(_text),
}
_RELEASE = {"version": _text, "url": _text, "sha256": _text, "directory": _text, "names": _list(_text)}
_RUNTIME = {
    "name": _one_of("containerd", "cri-o", "docker"),
    "confDir": _text,
    "binDir": _text,
    "version": _text,
}
_PLAN = {
    "node": _text,
    "links": _list(_record(Link, _LINK)),
    "addresses": _list(_record(Address, _ADDRESS)),
    "routes": _list(_record(Route, _ROUTE)),
    "sysctls": _texts,
    "files": _list(_record(File, _FILE)),
    "probes": _list(_record(Probe, {"link": _text, "address": _text, "timeout": _seconds})),
    "cni": _record(Cni, {"file": _text, "plugins": _list(_text)}),
    "identity": _list(_text),
    "release": _record(Release, _RELEASE),
    "runtime": _record(Runtime, _RUNTIME),
}
