"""A site's YAML with the position of every key and value."""

from podlan.source._site import CannotRead, KeyPath, Source, dotted, read_site

__all__ = ["CannotRead", "KeyPath", "Source", "dotted", "read_site"]
