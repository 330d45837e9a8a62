"""A site's own templates: the texts of `templates/*.j2` beside its files, which are no YAML."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Place
from podlan.source._site import TEMPLATE_DIRECTORY, CannotRead, file_content, file_name, file_text, leads_out

if TYPE_CHECKING:
    from pathlib import Path

    from podlan.source._site import Source

SUFFIX = ".j2"
_SIZE_LIMIT = 1024 * 1024
"""Most that is read of a template, in bytes."""


@dataclass(slots=True)
class Templates:
    """The templates by name; `files` are the names of all in messages, `texts` lacks what could not be read."""

    directory: Path
    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_templates(source: Source) -> Templates:
    """Read the templates of a site, a directory or one file; what cannot be read is a finding.

    Subdirectories are not entered. Raises CannotRead for what the operating system refuses.
    """
    home = source.lock_path.parent
    templates = Templates(home / TEMPLATE_DIRECTORY)
    try:
        names = sorted(os.listdir(templates.directory))  # noqa: PTH208 - names are wanted
    except (FileNotFoundError, NotADirectoryError):
        return templates
    except OSError as error:
        raise CannotRead(templates.directory, error.strerror or str(error)) from error
    for name in names:
        file = templates.directory / name
        if not name.endswith(SUFFIX) or name.startswith("."):
            continue
        templates.files[name] = file_name(file)
        if leads_out(home, file):
            message = "a symbolic link that leads out of the site is not read"
            place = Place(file_name(file), 1, 1)
            templates.findings.append(Finding("PL014", message, place, hint="copy the file into the site"))
            continue
        content = file_content(file, _SIZE_LIMIT, templates.findings, "a template has at most 1 MiB")
        text = None if content is None else file_text(file, content, templates.findings)
        if text is not None:
            templates.texts[name] = text
    return templates
