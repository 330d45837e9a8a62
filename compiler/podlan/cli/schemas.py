"""Writes schemas/: `python -m podlan.cli.schemas DIRECTORY`. The schemas are made from the models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from podlan.inventory import Inventory
from podlan.plan import PLAN_VERSION, Plan

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def site_schema() -> dict[str, Any]:
    """Give the schema of one inventory file; a site may be split, so no section is required of a file."""
    schema = Inventory.model_json_schema()
    schema.pop("required", None)
    return {"$schema": _DIALECT, "$id": "site.schema.json", **schema, "title": "podlan site"}


def plan_schema() -> dict[str, Any]:
    """Give the schema of plan.json."""
    schema = TypeAdapter(Plan).json_schema()
    schema = _camel_keys(schema)
    schema["properties"] = {"version": {"const": PLAN_VERSION, "title": "Version"}, **schema["properties"]}
    schema["required"] = ["version", *schema["required"]]
    schema["additionalProperties"] = False
    for definition in schema["$defs"].values():
        definition["additionalProperties"] = False
    return {"$schema": _DIALECT, "$id": "plan.schema.json", **schema, "title": "podlan plan"}


def _camel_keys(schema: dict[str, Any]) -> dict[str, Any]:
    """Rename properties as plan.json spells them; the node's side knows no pydantic, so no alias says it."""
    for holder in (schema, *schema["$defs"].values()):
        holder["properties"] = {_camel(key): value for key, value in holder["properties"].items()}
        if "required" in holder:
            holder["required"] = [_camel(key) for key in holder["required"]]
    return schema


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


SCHEMAS = {"site.schema.json": site_schema, "plan.schema.json": plan_schema}


def main(directory: Path) -> None:
    """Write every schema into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in SCHEMAS.items():
        (directory / name).write_text(json.dumps(make(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
