"""pydantic's errors as findings: own words by error type, the key or the value pointed at as fits."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from podlan.diagnostics import Finding
from podlan.inventory import _models
from podlan.source import KeyPath, Source, dotted

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_LONG = re.compile(r"[-+]?[1-9][0-9]{19,}")
"""Whole numbers that the loader leaves as text, since no key of an inventory takes one of so many digits."""
_MEANT = {"podsPerNode": "pods", "pods": "podsPerNode", "ip": "address", "nic": "interface", "network": "cidr"}
"""Keys that people write for another, which do not look like it."""
_CHILDREN: dict[str, type[BaseModel]] = {
    "cluster": _models.Cluster,
    "cni": _models.Cni,
    "plugins": _models.Plugins,
    "dns": _models.Dns,
    "reserved": _models.Reservation,
    "routes": _models.PodRoute,
    "hostAccess": _models.HostAccess,
}
_NAMED: dict[str, type[BaseModel]] = {
    "subnets": _models.Subnet,
    "profiles": _models.Profile,
    "nodes": _models.Node,
}


def findings(error: ValidationError, source: Source) -> list[Finding]:
    """Turn every error of a validation into one finding at the place it speaks of."""
    return [
        _finding(detail, source)
        for detail in error.errors(include_url=False)
        if source.complete or detail["type"] not in ("missing", "too_short") or len(detail["loc"]) > 1
    ]


def _finding(detail: ErrorDetails, source: Source) -> Finding:
    path = tuple(step for step in detail["loc"] if step != "[key]")
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    where = dotted(path)
    if kind in ("extra_forbidden", "missing") or "[key]" in detail["loc"]:
        return _key_finding(kind, path, context, source)
    at_value = source.place(path)
    if kind in _TYPES:
        if kind == "string_type" and isinstance(value, int | float):
            written = source.written(at_value)
            message = f"{where}: text is expected, and YAML reads {written} as {_shown(value)}"
            return Finding("PL105", message, at_value, hint=f'quote it: "{written}"')
        if kind == "int_type" and isinstance(value, str) and _LONG.fullmatch(source.written(at_value)):
            size = "small" if value.startswith("-") else "large"
            return Finding("PL104", f"{where}: {_shown(value)} is too {size}", at_value)
        message = f"{where}: {_TYPES[kind]} is expected, not {_shown(value)}"
        return Finding("PL103", message, at_value, hint=_type_hint(kind, value, source.written(at_value)))
    if kind == "podlan":
        return Finding("PL104", f"{where}: {context['problem']}", at_value, hint=str(context["hint"]))
    return Finding(
        "PL104", f"{where}: {_shown(value)} {_problem(kind, context)}", at_value, hint=_rule_of(kind, context)
    )


def _type_hint(kind: str, value: object, written: str) -> str:
    if value is None and kind in ("dict_type", "model_type", "model_attributes_type"):
        return "write {} where there is nothing to say"
    if kind == "list_type" and written and isinstance(value, str | int | float):
        return f"write [{written}]"
    return ""


def _key_finding(kind: str, path: KeyPath, context: dict[str, Any], source: Source) -> Finding:
    """Point at the key: it is the key that is wrong, or that would have to be there."""
    where = dotted(path)
    if kind == "missing":
        at_parent = source.place(path[:-1], key=True)
        return Finding("PL102", f"{where} is missing", at_parent, hint="every site needs it" if len(path) == 1 else "")
    at_key = source.place(path, key=True)
    if kind == "extra_forbidden":
        return Finding("PL101", f"{where}: podlan knows no key {path[-1]} here", at_key, hint=_nearest(path))
    return Finding("PL104", f"{where}: {path[-1]!r} is not a valid name here", at_key, hint=_rule_of(kind, context))


def _problem(kind: str, context: dict[str, Any]) -> str:
    bounds = {
        "greater_than_equal": f"is less than {context.get('ge')}",
        "less_than_equal": f"is more than {context.get('le')}",
        "too_short": f"has fewer than {context.get('min_length')} entries",
        "too_long": f"has more than {context.get('max_length')} entries",
        "string_too_short": f"has fewer than {context.get('min_length')} characters",
        "string_too_long": f"has more than {context.get('max_length')} characters",
        "literal_error": f"is not one of {context.get('expected')}",
    }
    return bounds.get(kind, "is not valid here")


def _rule_of(kind: str, context: dict[str, Any]) -> str:
    if kind == "string_pattern_mismatch":
        return f"it must match {context['pattern']}"
    return ""


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."  # noqa: PLR2004 - fits a line


def _nearest(path: KeyPath) -> str:
    known = _known_keys(path[:-1])
    meant = _MEANT.get(str(path[-1]))
    near = [meant] if meant in known else difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"


def _known_keys(path: KeyPath) -> list[str]:
    """List the keys that the model at a path has."""
    model: type[BaseModel] = _models.Inventory
    steps = [step for step in path if isinstance(step, str)]
    while steps:
        step = steps.pop(0)
        if step == "masters":
            model = _models.Master if model is _models.Inventory else _models.NodeMaster
            steps = steps[1:]
        elif step in _NAMED:
            model = _NAMED[step]
            steps = steps[1:]
        else:
            model = _CHILDREN[step]
    return [field.alias or name for name, field in model.model_fields.items()]
