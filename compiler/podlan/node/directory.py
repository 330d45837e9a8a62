"""NODEDIR: read it whole, and believe it only if it is whole, of a version we know, and nobody else could write it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from typing import TYPE_CHECKING, NoReturn

from podlan.node._checked import checked
from podlan.node._errors import BadDirectory
from podlan.node.files import LARGEST, NotPlain, Root
from podlan.node.signing import LARGEST_SIGNATURE, SIGNATURE, signer
from podlan.node.trust import Untrusted, followed, require_below
from podlan.plan import decode
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.node.signing import Signer
    from podlan.plan import Plan

MANIFEST = "manifest.json"
PLAN = "plan.json"
_VERSION = 1
_HOST = Root()
_AGAIN = "deliver the node's whole directory again, as compiled"


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """A node's artifacts: the plan, and every file of the manifest by its path, the manifest itself included.

    `signer` is who signed the manifest, None where this node does not ask.
    """

    path: str
    plan: Plan
    files: dict[str, bytes]
    signer: Signer | None = None


def load(path: str, root: Root = _HOST) -> NodeDirectory:
    """Read a node directory; raises BadDirectory or BadPlan, and trusts no file that is not in the manifest.

    `root` is where this node's allowed_signers are, which say who must have signed the manifest.
    """
    place = _place(path)
    text = _read(path, place, MANIFEST)
    signature = _read(path, place, SIGNATURE, LARGEST_SIGNATURE) if os.path.lexists(f"{place}/{SIGNATURE}") else None
    vouched = signer(path, text, signature, root)
    node, digests = _manifest(path, text)
    files = {MANIFEST: text}
    for name, digest in digests.items():
        content = _read(path, place, name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise BadDirectory(path, f"{name} is not the file that {MANIFEST} tells of (its SHA-256 differs)", _AGAIN)
        files[name] = content
    if signature is not None:
        files[SIGNATURE] = signature
    if PLAN not in digests:
        raise BadDirectory(path, f"{MANIFEST} does not name {PLAN}", _AGAIN)
    where = f"{path}/{PLAN}"
    try:
        plan = decode(files[PLAN].decode(), where)
    except UnicodeDecodeError as error:
        raise BadDirectory(path, f"{PLAN} is not UTF-8 ({error.reason})", _AGAIN) from error
    if plan.node != node:
        raise BadDirectory(path, f"{PLAN} is for node {plan.node!r}, {MANIFEST} for node {node!r}", _AGAIN)
    return NodeDirectory(path, checked(plan, where, frozenset(digests)), files, vouched)


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


def _place(path: str) -> str:
    """Give where the directory is, once and for all, if nobody else can put another one there."""
    place = os.path.realpath(path)
    try:
        place = followed(path)
        if os.path.isdir(place):  # noqa: PTH112 - strings, as everywhere here
            return place
    except Untrusted as error:
        raise _distrusted(path, place, error) from error
    except OSError as error:
        raise BadDirectory(path, f"{path}: {error.strerror}", _missing_remedy(path)) from error
    raise BadDirectory(path, f"{path} is not a directory", _missing_remedy(path))


def _read(path: str, place: str, name: str, most: int = LARGEST) -> bytes:
    try:
        require_below(place, name)
        found = Root(place).read(f"/{name}", most)
    except Untrusted as error:
        raise _distrusted(path, place, error) from error
    except NotPlain as error:
        raise BadDirectory(path, str(error.strerror), _AGAIN) from error
    except OSError as error:
        raise BadDirectory(path, f"{name} cannot be read ({error.strerror})", "run podlan as root") from error
    if found is None:
        raise BadDirectory(path, f"{name} is missing", _missing_remedy(path) if name == MANIFEST else _AGAIN)
    return found.content


def _missing_remedy(path: str) -> str:
    from podlan.node.copy import COPY  # noqa: PLC0415 - only where there is no such directory

    named = "name a node's directory of a compiled site, such as output/nodes/node-1"
    # Who gave no name, such as the unit at boot, finds no copy.
    return f"{named}: podlan reconcile makes this copy of it" if path.endswith(COPY) else named


def _distrusted(path: str, place: str, error: Untrusted) -> BadDirectory:
    if not error.remedy:
        return BadDirectory(path, str(error), _AGAIN)
    inside = place and f"{error.path}/".startswith(f"{place}/")
    what = f"-R {shlex.quote(path)}" if inside else shlex.quote(error.path)
    return BadDirectory(path, str(error), f"{error.remedy} {what}, if you trust what is in it")
