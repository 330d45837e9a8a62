"""The manifest of a directory of the output: whose it is, and the digests of its files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from podlan import __version__
from podlan.render._artifact import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_VERSION = 1


def manifest(owner: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """Write the digests of a directory's files; nothing of it depends on when or where it was compiled.

    `owner` is {"node": NAME}, or {"site": NAME} for what the whole cluster gets.
    """
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    return json_text({"version": MANIFEST_VERSION, **owner, "podlan": __version__, "files": digests})
