"""From what is written to a resolved site, or to findings that say why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from podlan.diagnostics import Finding
from podlan.inventory import _shape
from podlan.inventory._models import Inventory
from podlan.inventory._site import Site

if TYPE_CHECKING:
    from podlan.source import Source

_ENTRY = 2  # a section's name and an entry's: what can be left out without hurting the rest
_REMOVABLE = frozenset({"subnets", "masters", "profiles", "nodes"})


def load(source: Source) -> tuple[Site | None, list[Finding]]:
    """Validate the shape of a site.

    Gives the site and no finding when all is well. With shape errors it gives their findings and, where it
    can, the site without the entries that are wrong, so that the rules can still speak of the rest. Of a source
    that is not complete it never gives a site, nor says that a section is missing: what could not be read may hold it.
    """
    if not source.data:
        if source.findings:
            return None, []
        place = source.place(())
        return None, [Finding("PL001", "this site is empty", place, hint="a site begins with `version: 1`")]
    known = {field.alias or name for name, field in Inventory.model_fields.items()}
    if not source.data.keys() & known:
        if not source.complete:
            return None, []
        place = source.place(())
        message = "this is no podlan site: none of its keys is one that podlan knows"
        return None, [Finding("PL009", message, place, hint="name the directory or file of an inventory")]
    try:
        inventory = Inventory.model_validate(source.data)
    except ValidationError as error:
        findings = _shape.findings(error, source)
        return _without_bad_entries(source, error), findings
    return Site(inventory, source) if source.complete else None, []


def _without_bad_entries(source: Source, error: ValidationError) -> Site | None:
    if not source.complete:
        return None
    bad: set[tuple[str, Any]] = set()
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        path = tuple(step for step in detail["loc"] if step != "[key]")
        if len(path) < _ENTRY or path[0] not in _REMOVABLE:
            return None
        bad.add((str(path[0]), path[1]))
    data = dict(source.data)
    for section in _REMOVABLE & data.keys():
        data[section] = {name: entry for name, entry in data[section].items() if (section, name) not in bad}
    try:
        return Site(Inventory.model_validate(data), source)
    except ValidationError:
        return None
