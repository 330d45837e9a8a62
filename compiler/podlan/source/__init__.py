"""A site's YAML with the position of every key and value."""

from podlan.source._document import FINDINGS_LIMIT
from podlan.source._git import GitFailed, line_times, text_at
from podlan.source._site import CannotRead, KeyPath, Source, dotted, read_site
from podlan.source._templates import Templates, read_templates

__all__ = [
    "FINDINGS_LIMIT",
    "CannotRead",
    "GitFailed",
    "KeyPath",
    "Source",
    "Templates",
    "dotted",
    "line_times",
    "read_site",
    "read_templates",
    "text_at",
]
