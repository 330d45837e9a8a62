"""What of an output is podlan's: the files that a directory's manifest lists, and the marker that names the site.

The directories are `nodes/NODE`, one a node, and `cluster`, what the whole cluster gets. Everything else belongs to
others, also inside these directories, and is neither changed nor removed; but a node's signature goes with the
manifest that it is for.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from podlan.output._errors import CannotWrite, LostLock, OtherSite
from podlan.output._reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODES = "nodes"
CLUSTER = "cluster"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.sig"
MARKER = "site.json"
_MARKER_VERSION = 1


def marker(site: str) -> bytes:
    """Write the file that says which site's nodes an output holds."""
    return (json.dumps({"version": _MARKER_VERSION, "site": site}, indent=2, ensure_ascii=False) + "\n").encode()


def refuse_other_site(out: Path, site: str) -> None:
    """Refuse an output whose marker names another site; one without a marker becomes this site's."""
    content = Reader(out).content(MARKER)
    if content is None:
        return
    written = _json(content)
    held = written.get("site") if isinstance(written, dict) else None
    if not isinstance(held, str):
        raise CannotWrite(out / MARKER, "what stands there is not podlan's; move it, or choose another directory")
    if held != site:
        raise OtherSite(out, MARKER, held)


def refuse_lost_lock(lock: Path, out: Path) -> None:
    """Refuse to deal addresses when an output shows that they were dealt before, and the lock is not there."""
    if not lock.exists() and any(_lists(out, name) for name in directories(out) if name != CLUSTER):
        raise LostLock(lock, out)


def directories(out: Path) -> Iterator[str]:
    """Name the directories of an output that may be podlan's, as they lie below it."""
    try:
        # lstat, since a link is nothing that podlan made.
        if stat.S_ISDIR(os.lstat(out / CLUSTER).st_mode):
            yield CLUSTER
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise CannotWrite(out / CLUSTER, error.strerror or str(error)) from error
    try:
        with os.scandir(out / NODES) as entries:
            yield from (f"{NODES}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CannotWrite(out / NODES, error.strerror or str(error)) from error


def parted(name: str) -> tuple[str, str]:
    """Split the name of a file below an output into its directory, one of `directories`, and the rest."""
    if name.startswith(f"{NODES}/"):
        _, node, path = name.split("/", 2)
        return f"{NODES}/{node}", path
    directory, _, path = name.partition("/")
    return directory, path


def _lists(out: Path, directory: str) -> bool:
    try:
        content = Reader(out / directory).content(MANIFEST)
    except CannotWrite:
        return False  # a link or a directory of that name is nothing that podlan wrote
    return bool(listed(directory, content))


def listed(directory: str, manifest: bytes | None) -> list[str]:
    """Give the files that a directory's manifest says podlan wrote, itself last; none where it is not a manifest."""
    written = _json(manifest or b"")
    if not isinstance(written, dict) or "podlan" not in written:
        return []
    # A manifest copied into another node's directory is not that node's.
    node = directory.removeprefix(f"{NODES}/") if directory != CLUSTER else None
    if written.get("node") != node or (node is None and "site" not in written):
        return []
    files = written.get("files")
    if not isinstance(files, dict) or not all(map(_is_inside, files)):
        return []
    return [*sorted(files), MANIFEST]


def _is_inside(name: str) -> bool:
    """Tell whether a name leads to a file below its directory, so that no manifest can have others' removed."""
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


def _json(content: bytes) -> Any:  # noqa: ANN401 - whatever stands there
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
