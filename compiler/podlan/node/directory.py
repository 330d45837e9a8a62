"""NODEDIR: read it whole, and believe it only if it is whole, of a version we know, and nobody else could write it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, NoReturn

from podlan.node._checked import checked
from podlan.node._errors import BadDirectory
from podlan.node.files import NotPlain, Root
from podlan.plan import decode
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.plan import Plan

MANIFEST = "manifest.json"
PLAN = "plan.json"
SIGNATURE = "manifest.json.sig"
_VERSION = 1
_AGAIN = "deliver the node's whole directory again, as compiled"


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """A node's artifacts: the plan, and every file of the manifest by its path, the manifest itself included."""

    path: str
    plan: Plan
    files: dict[str, bytes]


def load(path: str) -> NodeDirectory:
    """Read a node directory; raises BadDirectory or BadPlan, and trusts no file that is not in the manifest."""
    _trusted_directory(path, path)
    text = _read(path, MANIFEST)
    node, digests = _manifest(path, text)
    files = {MANIFEST: text}
    for name, digest in digests.items():
        content = _read(path, name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BadDirectory(path, f"{name} is not the file that {MANIFEST} tells of (its SHA-256 differs)", _AGAIN)
        files[name] = content
    if os.path.lexists(f"{path}/{SIGNATURE}"):
        files[SIGNATURE] = _read(path, SIGNATURE)
    if PLAN not in digests:
        raise BadDirectory(path, f"{MANIFEST} does not name {PLAN}", _AGAIN)
    where = f"{path}/{PLAN}"
    try:
        plan = decode(files[PLAN].decode(), where)
    except UnicodeDecodeError as error:
        raise BadDirectory(path, f"{PLAN} is not UTF-8 ({error.reason})", _AGAIN) from error
    if plan.node != node:
        raise BadDirectory(path, f"{PLAN} is for node {plan.node!r}, {MANIFEST} for node {node!r}", _AGAIN)
    return NodeDirectory(path, checked(plan, where, frozenset(digests)), files)


def _manifest(path: str, text: bytes) -> tuple[str, dict[str, str]]:
    def bad(problem: str) -> NoReturn:
        raise BadDirectory(path, f"{MANIFEST} {problem}", _AGAIN)

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        bad("is not JSON")
    if not isinstance(document, dict):
        bad("is not a JSON object")
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        bad("has no version")
    if version != _VERSION:
        bad(f"has version {version}, this podlan reads {_VERSION}; upgrade podlan here")
    files = document.get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        bad("has no files with digests")
    for name in files:
        parts = name.split("/")
        if name.startswith("/") or not all(parts) or ".." in parts or "." in parts or not name.isprintable():
            bad(f"names {name!r}, which is not a path below the directory")
    return str(document.get("node")), files


def _read(path: str, name: str) -> bytes:
    directory = path
    for part in name.split("/")[:-1]:
        directory += f"/{part}"
        _trusted_directory(path, directory)
    try:
        found = Root(os.path.realpath(path)).read(f"/{name}")
    except NotPlain as error:
        raise BadDirectory(path, str(error.strerror), _AGAIN) from error
    except OSError as error:
        raise BadDirectory(path, f"{name} cannot be read ({error.strerror})", "run podlan as root") from error
    if found is None:
        raise BadDirectory(path, f"{name} is missing", _missing_remedy(name))
    if found.link is not None:
        raise BadDirectory(path, f"{name} is a symbolic link", _AGAIN)
    _trusted(path, name, found.owner[0], found.mode)
    return found.content


def _missing_remedy(name: str) -> str:
    if name == MANIFEST:
        return "name a node's directory of a compiled site, such as output/nodes/node-1"
    return _AGAIN


def _trusted_directory(path: str, directory: str) -> None:
    try:
        found = os.stat(directory, follow_symlinks=directory == path)  # noqa: PTH116 - strings, as everywhere here
    except OSError as error:
        raise BadDirectory(path, f"{directory}: {error.strerror}", _missing_remedy(MANIFEST)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise BadDirectory(path, f"{directory} is not a directory", _missing_remedy(MANIFEST))
    _trusted(path, directory, found.st_uid, found.st_mode)


def _trusted(path: str, name: str, owner: int, mode: int) -> None:
    if owner not in (0, os.geteuid()):
        raise BadDirectory(path, f"{name} belongs to user {owner}", f"chown -R root {path}, if you trust what is in it")
    if mode & 0o022:
        raise BadDirectory(path, f"others can write {name}", f"chmod -R go-w {path}, if you trust what is in it")
