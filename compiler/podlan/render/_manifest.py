"""The manifest of a directory of the output: whose it is, and the digests of its files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from podlan import __version__
from podlan.render._artifact import digest, json_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from hashlib import _Hash as Hash

MANIFEST_VERSION = 1


def manifest(owner: Mapping[str, str], files: Mapping[str, bytes], known: Mapping[str, str] | None = None) -> bytes:
    """Write the digests of a directory's files; nothing of it depends on when or where it was compiled.

    `owner` is {"node": NAME}, or {"site": NAME} for what the whole cluster gets; `known` are digests made before.
    """
    known = known or {}
    digests = {path: known.get(path) or digest(content) for path, content in sorted(files.items())}
    return json_text({"version": MANIFEST_VERSION, **owner, "podlan": __version__, "files": digests})


def digest_of_parts(before: bytes, rest: bytes) -> str:
    """Give the digest of a file in two parts, the first of which many files begin with."""
    begun = _begun(before).copy()
    begun.update(rest)
    return begun.hexdigest()


@lru_cache(maxsize=64)
def _begun(before: bytes) -> Hash:
    return hashlib.sha256(before)
