"""A site's YAML with the position of every key and value."""

from podlan.source._git import GitFailed, line_times, text_at
from podlan.source._site import CannotRead, KeyPath, Source, dotted, read_site

__all__ = ["CannotRead", "GitFailed", "KeyPath", "Source", "dotted", "line_times", "read_site", "text_at"]
