"""Writes schemas/: `python -m podlan.cli.schemas DIRECTORY`. The schemas are made from the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from podlan.cli.cni_schema import cni_schema
from podlan.diagnostics import Severity
from podlan.inventory import Inventory
from podlan.plan import PLAN_VERSION, Plan

_Schema: TypeAlias = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def site_schema() -> _Schema:
    """Give the schema of one inventory file; a site may be split, so nothing is required of a file by itself."""
    schema = Inventory.model_json_schema()
    schema.pop("required", None)
    for holder in (schema, *schema["$defs"].values()):
        holder["properties"] = {key: _for_editors(value) for key, value in holder["properties"].items()}
    for section in schema["properties"].values():
        section.pop("minProperties", None)
    return {"$schema": _DIALECT, "$id": "site.schema.json", **schema, "title": "podlan site"}


def _for_editors(key: _Schema) -> _Schema:
    """Say the same as pydantic does in the way that editors explain best: few unions, no titles made from keys."""
    known = {word: value for word, value in key.items() if word != "title" and (word, value) != ("default", None)}
    if "$ref" in known and "default" in known:
        known["default"] = {}  # what it holds has defaults of its own
    if "patternProperties" in known:
        # Else a name that does not match would be nobody's business.
        [(pattern, value)] = known.pop("patternProperties").items()
        names = {"type": "string", "pattern": pattern, **known.get("propertyNames", {})}
        known |= {"propertyNames": names, "additionalProperties": value}
    options = known.get("anyOf", ())
    if len(options) == 2 and "type" in options[0] and options[1] == {"type": "null"}:  # noqa: PLR2004 - a type, or nothing
        known = {**options[0], **known, "type": [options[0]["type"], "null"]}
        known.pop("anyOf")
        if "enum" in known:
            known["enum"] = [*known["enum"], None]
    return known


def plan_schema() -> _Schema:
    """Give the schema of plan.json."""
    schema = TypeAdapter(Plan).json_schema()
    schema = _camel_keys(schema)
    schema["properties"] = {"version": {"const": PLAN_VERSION, "title": "Version"}, **schema["properties"]}
    schema["required"] = ["version", *schema["required"]]
    schema["additionalProperties"] = False
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    return {"$schema": _DIALECT, "$id": "plan.schema.json", **schema, "title": "podlan plan"}


def _camel_keys(schema: _Schema) -> _Schema:
    """Rename properties as plan.json spells them; the node's side knows no pydantic, so no alias says it."""
    for holder in (schema, *schema["$defs"].values()):
        holder["properties"] = {_camel(key): value for key, value in holder["properties"].items()}
        if "required" in holder:
            holder["required"] = [_camel(key) for key in holder["required"]]
    return schema


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def findings_schema() -> _Schema:
    """Give the schema of what `--format json` prints. It refuses no unknown key: later versions may say more."""
    findings = {"type": "array", "items": {"$ref": "#/$defs/Finding"}}
    return {
        "$schema": _DIALECT,
        "$id": "findings.schema.json",
        "title": "podlan findings",
        "description": "What `podlan check`, `compile` and `audit` print with --format json",
        "type": "object",
        "properties": {"findings": _described("All findings, in the order of their places", findings), **_BESIDE},
        "required": ["findings"],
        "dependentRequired": {
            "lock": ["output"],
            "output": ["lock"],
            "outputs": ["files"],
            "files": ["outputs", "nodes", "addresses"],
            "nodes": ["files", "addresses"],
            "addresses": ["files", "nodes"],
        },
        "$defs": {
            "Finding": _record("One thing that is wrong, or worth knowing", _FINDING),
            "Place": _record("A span on one line of one file", _PLACE),
        },
    }


def _described(description: str, schema: _Schema) -> _Schema:
    return {"description": description, **schema}


def _record(description: str, properties: dict[str, _Schema]) -> _Schema:
    return _described(description, {"type": "object", "properties": properties, "required": list(properties)})


_TEXT: _Schema = {"type": "string"}
_COUNT: _Schema = {"type": "integer", "minimum": 0}
_FROM_ONE: _Schema = {"type": "integer", "minimum": 1}
_PLACE = {
    "file": _described("The file, by the path that podlan was called with", _TEXT),
    "line": _described("The line, from 1", _FROM_ONE),
    "column": _described("The first column, from 1, in code points", _FROM_ONE),
    "length": _described("How many code points the span has", _FROM_ONE),
    "label": _described("What is there, at a place of `also`; else empty", _TEXT),
    "path": _described(
        "The way to it in the inventory: keys of mappings, indexes of lists from 0; empty where it has none",
        {"type": "array", "items": {"type": ["string", "integer"]}, "examples": [["nodes", "node-1", "ranges", 0]]},
    ),
}
_FINDING = {
    "code": _described(
        "Never changes its meaning; `podlan rule CODE` explains it", {**_TEXT, "pattern": "^PL[0-9]{3}$"}
    ),
    "severity": _described(
        "Only errors fail a run, and with --strict warnings", {"enum": [one.value for one in Severity]}
    ),
    "message": _described("What is wrong, on one line that makes sense alone", {**_TEXT, "minLength": 1}),
    "hint": _described("What to do about it; empty where that is plain", _TEXT),
    "place": _described(
        "Where it is; null where no file is to blame", {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]}
    ),
    "also": _described("Other places that it is about", {"type": "array", "items": {"$ref": "#/$defs/Place"}}),
    "silenced": _described(
        "The reason that the inventory gives for living with it; empty where it is not silenced", _TEXT
    ),
}
_CHANGE = {
    "change": _described("Why it differs", {"enum": ["missing", "stale", "orphaned"]}),
    "path": _described("The file, below the output directory", _TEXT),
}
_CHANGES = {
    "lock": _described(
        "compile: the lines that podlan.lock gains and loses, as a diff shows them",
        {"type": "array", "items": _TEXT, "examples": [["podlan.lock: +slice lan node-4 172.16.129.120-129"]]},
    ),
    "output": _described(
        "compile: the files of the output that change, or with --check would",
        {"type": "array", "items": _record("One file of the output", _CHANGE)},
    ),
}
_SITE = {
    "site": _described("Its name: that of its directory", _TEXT),
    "path": _described("Where it is, as podlan was called with it", _TEXT),
    "directory": _described("Its output", _TEXT),
    "exitCode": _described("What a compile of this site alone would exit with", {"enum": [0, 1, 3, 4, 75]}),
    "error": _described("What stood in its way; empty where nothing did, or findings say it", _TEXT),
    **_CHANGES,
}
_BESIDE = {
    **_CHANGES,
    "timings": _described(
        "check and compile with --timings: milliseconds that each stage took",
        {"type": "object", "additionalProperties": {"type": "number"}, "examples": [{"read": 3.1, "shape": 1.2}]},
    ),
    "sites": _described(
        "compile, with several sites or a shard of them: how each ended, in the order of their names",
        {"type": "array", "items": _record("One site", _SITE)},
    ),
    "outputs": _described("audit: how many sites' outputs were among what was read", _COUNT),
    "files": _described("audit: how many CNI files were read", _COUNT),
    "nodes": _described("audit: how many nodes they belong to", _COUNT),
    "addresses": _described("audit: how many addresses these nodes hand out", _COUNT),
}

SCHEMAS = {
    "site.schema.json": site_schema,
    "plan.schema.json": plan_schema,
    "findings.schema.json": findings_schema,
    "cni.schema.json": cni_schema,
}


def main(directory: Path) -> None:
    """Write every schema into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in SCHEMAS.items():
        (directory / name).write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
