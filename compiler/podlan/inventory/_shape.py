"""pydantic's errors as findings: own words by error type, the key or the value pointed at as fits."""

from __future__ import annotations

import difflib
import re
import types
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import StringConstraints
from pydantic.fields import FieldInfo

from podlan.diagnostics import Finding
from podlan.inventory import _chain, _files, _kubelet, _models, _values
from podlan.source import FINDINGS_LIMIT, KeyPath, Source, dotted

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from podlan.diagnostics import Place

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_CHAIN = "chain"
_CHAINED = ", ".join(f"'{name}'" for name in ("tuning", "sbr", "portmap", "bandwidth"))
_UNIONS = (Union, types.UnionType)
_YES_AND_NO = {"on": "true", "yes": "true", "true": "true", "1": "true"} | dict.fromkeys(
    ("off", "no", "false", "0"), "false"
)
_WIDTH = 80
"""Most characters of a value or a key that a message shows, so that it fits a line."""
_LONG = re.compile(r"[-+]?[1-9][0-9]{19,}")
"""Whole numbers that the loader leaves as text, since no key of an inventory takes one of so many digits."""
_MEANT = {
    "podsPerNode": "pods",
    "pods": "podsPerNode",
    "ip": "address",
    "nic": "interface",
    "master": "interface",
    "network": "cidr",
    "subnet": "cidr",
    "via": "gw",
    "gw": "gateway",
    "rangeStart": "pool",
    "rangeEnd": "pool",
}
"""Keys that people write for another, which do not look like it."""


def findings(error: ValidationError, source: Source) -> list[Finding]:
    """Turn every error of a validation into one finding at the place it speaks of, up to as many as are told."""
    details = [
        detail
        for detail in error.errors(include_url=False)
        if source.complete or detail["type"] not in ("missing", "too_short") or len(detail["loc"]) > 1
    ]
    told = [_finding(detail, source) for detail in details[:FINDINGS_LIMIT]]
    if len(details) > FINDINGS_LIMIT:
        message = f"of all that is wrong with this site, {len(details) - FINDINGS_LIMIT:,} things more are not told"
        told.append(Finding("PL016", message, source.place(())))
    return told


def _finding(detail: ErrorDetails, source: Source) -> Finding:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    path, at_key = _path(detail["loc"]), _is_about_key(detail)
    if kind == "podlan_missing":
        kind = "missing"
    if at_key:
        path = path[:-1]
    if at_key or kind in ("extra_forbidden", "missing"):
        return _key_finding(kind, path, context, source)
    where, at_value = dotted(path), source.place(path)
    if kind in _TYPES:
        return _type_finding(kind, value, where, at_value, source)
    if kind == "podlan":
        return Finding("PL104", f"{where}: {_cut(context['problem'])}", at_value, hint=_cut(context["hint"]))
    problem, hint = _problem(kind, context, value)
    return Finding("PL104", f"{where}: {problem}", at_value, hint=hint)


def _type_finding(kind: str, value: object, where: str, at_value: Place | None, source: Source) -> Finding:
    if kind == "string_type" and isinstance(value, int | float):
        written, shown = _cut(source.written(at_value)), _shown(value)
        what = f"to YAML {written} is {_kind(value)}" if written == shown else f"YAML reads {written} as {shown}"
        return Finding("PL105", f"{where}: text is expected, and {what}", at_value, hint=f'quote it: "{written}"')
    if kind == "int_type" and isinstance(value, str) and _LONG.fullmatch(source.written(at_value)):
        size = "small" if value.startswith("-") else "large"
        return Finding("PL104", f"{where}: {_shown(value)} is too {size}", at_value)
    message = f"{where}: {_TYPES[kind]} is expected, not {_shown(value)}"
    return Finding("PL103", message, at_value, hint=_type_hint(kind, value, where, source.written(at_value)))


def _path(loc: tuple[int | str, ...]) -> KeyPath:
    """Leave out the type that pydantic puts between the place of a chained plugin and its keys."""
    return tuple(
        step for at, step in enumerate(loc) if not (at > 1 and loc[at - 2] == _CHAIN and loc[at - 1] in range(99))
    )


def _is_about_key(detail: ErrorDetails) -> bool:
    """Tell whether pydantic speaks of a name in a mapping, not of the value behind it; a name may be [key], too."""
    loc = detail["loc"]
    return len(loc) > 1 and loc[-1] == "[key]" and detail["input"] == loc[-2]


def _type_hint(kind: str, value: object, where: str, written: str) -> str:
    if value is None:
        if kind == "list_type":
            return "write [] where there is nothing to say"
        is_entry = where.count(".") + where.count("[") == 1  # nodes.a, which may have nothing of its own
        return "write {} where there is nothing to say" if is_entry else "say something there, or leave the key out"
    if kind == "bool_type" and str(value).lower() in _YES_AND_NO:
        return f"write {_YES_AND_NO[str(value).lower()]}, without quotes"
    if kind == "int_type" and isinstance(value, str) and value.strip().isdecimal():
        return f"write {int(value)}, without quotes"
    if kind == "list_type" and 0 < len(written) <= _WIDTH and isinstance(value, str | int | float):
        return f"write [{written}]"
    return ""


def _key_finding(kind: str, path: KeyPath, context: dict[str, Any], source: Source) -> Finding:
    """Point at the key: it is the key that is wrong, or that would have to be there."""
    where = dotted(path)
    if kind == "missing":
        at_parent = source.place(path[:-1], key=True)
        needs = "every site needs it" if len(path) == 1 else f"{dotted(path[:-1])} needs it"
        return Finding("PL102", f"{where} is missing", at_parent, hint=needs)
    at_key = source.place(path, key=True)
    if kind == "extra_forbidden":
        name = _cut(str(path[-1]))
        shown = name if name.isidentifier() else repr(name)
        return Finding("PL101", f"{where}: podlan knows no key {shown} here", at_key, hint=_nearest(path, source))
    return Finding(
        "PL104",
        f"{where}: {_shown(path[-1])} is not a valid name here",
        at_key,
        hint=_problem(kind, context, path[-1])[1],
    )


def _problem(kind: str, context: dict[str, Any], value: object) -> tuple[str, str]:
    """Say what is wrong with a value of the right type, and what to do."""
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return "nothing says of which type it is", f"give it a type: {context.get('expected_tags', _CHAINED)}"
    if kind == "literal_error":
        expected = context["expected"]
        if value is None:
            return "nothing is said", f"say {expected}, or leave the key out"
        near = difflib.get_close_matches(str(value).lower(), re.findall(r"'([^']*)'", expected), n=1)
        return f"{_shown(value)} is not one of {expected}", f"did you mean {near[0]}?" if near else ""
    if kind == "string_pattern_mismatch":
        pattern = context["pattern"]
        return f"{_shown(value)} is not valid here", _messages().get(pattern, f"it must match {pattern}")
    bounds = {
        "greater_than_equal": f"{_shown(value)} is less than {context.get('ge')}",
        "less_than_equal": f"{_shown(value)} is more than {context.get('le')}",
        "too_short": "it is empty",
        "too_long": f"it has more than {context.get('max_length')} entries",
        "string_too_short": "it says nothing",
        "string_too_long": f"{_shown(value)} has more than {context.get('max_length')} characters",
    }
    return bounds.get(kind, f"{_shown(value)} is not valid here"), ""


@cache
def _messages() -> dict[str, str]:
    """Give what to write instead of text that a pattern refuses, by the pattern."""
    found: dict[str, str] = {}
    for module in (_values, _chain, _files, _kubelet):
        for alias in vars(module).values():
            parts = get_args(alias) if get_origin(alias) is Annotated else ()
            patterns = [part.pattern for part in parts if isinstance(part, StringConstraints)]
            extras = [part.json_schema_extra for part in parts if isinstance(part, FieldInfo)]
            for pattern, extra in zip(patterns, extras, strict=False):
                if isinstance(pattern, str) and isinstance(extra, dict):
                    found[pattern] = str(extra.get("patternErrorMessage", ""))
    return found


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _cut(repr(value[:_WIDTH] if isinstance(value, str) else value), _WIDTH)


def _kind(value: float) -> str:
    return "no text" if isinstance(value, bool) else "a number"


def _cut(text: str, width: int = 300) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _nearest(path: KeyPath, source: Source) -> str:
    return _near(str(path[-1]), _known_keys(path[:-1], source))


@cache
def _near(key: str, known: tuple[str, ...]) -> str:
    meant = _MEANT.get(key)
    if meant in known:
        return f"did you mean {meant}?"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) if len(key) <= _WIDTH else []
    return f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"


def _known_keys(path: KeyPath, source: Source) -> tuple[str, ...]:
    """List the keys that the model at a path has."""
    at: Any = _models.Inventory
    for depth, step in enumerate(path, 1):
        at = _below(at)[step] if get_origin(at) is None else _bare(get_args(at)[-1])
        members = [member for member in get_args(at) if get_origin(at) in _UNIONS]
        kind = source.get((*path[:depth], "type"))
        at = next((member for member in members if kind in get_args(member.model_fields["type"].annotation)), at)
    return tuple(map(str, _below(at)))


@cache
def _below(model: type[BaseModel]) -> dict[str | int, Any]:
    """Give for every key of a model, as people write it, the type that stands there."""
    return {field.alias or name: _bare(field.annotation) for name, field in model.model_fields.items()}


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - a type in any of its spellings
    """Take off Annotated and `| None`; a choice of several sections stays."""
    while get_origin(annotation) is Annotated or (
        get_origin(annotation) in _UNIONS and type(None) in get_args(annotation)
    ):
        annotation = get_args(annotation)[0]
    return annotation
