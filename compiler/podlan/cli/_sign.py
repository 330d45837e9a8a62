"""`podlan sign`: vouch for compiled node directories with an SSH key."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from podlan.cli import EXIT_CODES
from podlan.diagnostics import Exit, PodlanError, printable
from podlan.node.signing import NAMESPACE, SIGNATURE
from podlan.output import MANIFEST, NODES, Reader, listed, remove_leftovers, turn, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PREAMBLE = b"SSHSIG\x00\x00\x00\x01"
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
_AGAIN = "compile the site again"
_AT_ONCE = 8  # ssh-keygens that judge signatures, which takes each some milliseconds of processor time
_MOST = 20_000  # files for one ssh-keygen, which asks for the passphrase once: a command line has its limits


class CannotSign(PodlanError):
    """Something stands in the way of a signature."""

    exit_code: ClassVar[int] = Exit.ENVIRONMENT

    def __init__(self, what: object, problem: str, remedy: str = "") -> None:
        super().__init__(what, problem, remedy)
        self.what = what
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return printable(f"{self.what}: {self.problem}") + (f"; {self.remedy}" if self.remedy else "")


class NotWhole(CannotSign):
    """A directory that is not what its manifest says: nobody should vouch for it."""

    exit_code: ClassVar[int] = Exit.FAILED


@dataclass(frozen=True, slots=True)
class _Node:
    directory: Path
    manifest: bytes
    signature: bytes | None


@click.command(epilog=EXIT_CODES)
@click.argument(
    "targets",
    metavar="NODEDIR|OUTPUT...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--key",
    metavar="KEY",
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=False, path_type=Path),
    help="The private key's file, or the .pub of one that an ssh-agent holds.",
)
def sign(targets: tuple[Path, ...], *, key: Path) -> None:
    """Sign the manifest of each NODEDIR, or of all nodes of an OUTPUT, for nodes that have an allowed_signers.

    The manifest has the digest of every file, so its signature, manifest.json.sig beside it, is for the whole
    directory. A node with /etc/podlan/allowed_signers applies nothing else. What this key has signed is left alone.
    ssh-keygen signs, in the namespace "podlan"; it asks for a passphrase, a touch or a PIN as it always does.

    \b
    Examples:
      podlan sign output --key ~/.ssh/id_ed25519
      podlan sign output/nodes/node-1 --key ~/.ssh/id_ed25519.pub    by ssh-agent
    On a node:
      echo "alice@example.com namespaces=\\"podlan\\" $(cat id_ed25519.pub)" > /etc/podlan/allowed_signers
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        raise CannotSign("ssh-keygen", "it is not installed", "it comes with the package openssh-client")
    public = _public(program, key)
    with turn(*dict.fromkeys(map(_whose_turn, targets))):
        nodes = [_read(directory) for directory in dict.fromkeys(_directories(targets))]
        unsigned = list(_unsigned(program, public, nodes))
        for start in range(0, len(unsigned), _MOST):
            _sign(program, key, unsigned[start : start + _MOST])
    click.echo(f"{_count(len(nodes), 'node')}: {len(unsigned)} signed, {len(nodes) - len(unsigned)} unchanged")


def _whose_turn(target: Path) -> Path:
    """Give the directory by which compile and sign take turns: the output."""
    real = target.resolve()
    return real.parent.parent if (real / MANIFEST).is_file() and real.parent.name == NODES else real


def _directories(targets: Iterable[Path]) -> Iterator[Path]:
    for target in targets:
        if (target / MANIFEST).is_file():
            yield target
            continue
        found = sorted(manifest.parent for manifest in target.glob(f"{NODES}/*/{MANIFEST}"))
        if not found:
            raise CannotSign(target, f"there is neither {MANIFEST} nor {NODES}/*/{MANIFEST}", "compile the site first")
        yield from found


def _read(directory: Path) -> _Node:
    reader = Reader(directory)
    manifest = reader.content(MANIFEST)
    try:
        document = json.loads(manifest or b"")
        digests = {name: document["files"][name] for name in listed(f"{NODES}/{document['node']}", manifest)[:-1]}
    except (ValueError, RecursionError, KeyError, TypeError):
        digests = {}
    if manifest is None or not digests:
        raise NotWhole(directory / MANIFEST, "it is not a node's manifest", _AGAIN)
    for name, digest in digests.items():
        content = reader.content(name)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            raise NotWhole(directory / name, f"it is not the file that {MANIFEST} tells of", _AGAIN)
    return _Node(directory, manifest, reader.content(SIGNATURE))


def _public(program: str, key: Path) -> bytes:
    """Give the public key as signatures hold it; a private key's file has it readable, locked or not."""
    done = _run([program, "-e", "-f", str(key)], None)
    lines = done.stdout.decode(errors="replace").splitlines()
    text = "".join(line for line in lines if ":" not in line and not line.startswith("----"))
    with contextlib.suppress(binascii.Error):
        if not done.returncode and (public := base64.b64decode(text, validate=True)):
            return public
    complaints = done.stderr.decode(errors="replace").strip().splitlines()
    raise CannotSign(key, complaints[-1] if complaints else "it is no key that ssh-keygen reads")


def _unsigned(program: str, public: bytes, nodes: Sequence[_Node]) -> Iterator[_Node]:
    """Give the nodes without a valid signature of this key, in order."""

    def is_signed(node: _Node) -> bool:
        if node.signature is None or _holder(node.signature) != public:
            return False
        argv = [program, "-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(node.directory / SIGNATURE)]
        return not _run(argv, node.manifest).returncode

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from (node for node, signed in zip(nodes, pool.map(is_signed, nodes), strict=True) if not signed)


def _holder(signature: bytes) -> bytes:
    """Give the public key that a signature says it is of, as OpenSSH's PROTOCOL.sshsig lays it out."""
    text = signature.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        return b""
    try:
        blob = base64.b64decode(text[len(_BEGIN) : -len(_END)])
    except binascii.Error:
        return b""
    start = len(_PREAMBLE) + 4
    size = int.from_bytes(blob[len(_PREAMBLE) : start], "big")
    return blob[start : start + size] if blob.startswith(_PREAMBLE) else b""


def _sign(program: str, key: Path, nodes: Sequence[_Node]) -> None:
    """Sign copies, all by one ssh-keygen, and put each signature in place at once."""
    if not nodes:
        return
    with tempfile.TemporaryDirectory() as work:
        for number, node in enumerate(nodes):
            (Path(work) / str(number)).write_bytes(node.manifest)
        argv = [program, "-q", "-Y", "sign", "-n", NAMESPACE, "-f", str(key.absolute())]
        # It asks at the terminal, and what it has to say belongs there too.
        done = subprocess.run(  # noqa: S603 - a program by its path, and no shell
            [*argv, *map(str, range(len(nodes)))], cwd=work, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise CannotSign(key, "ssh-keygen did not sign with it", "nothing was written; it said why")
        for number, node in enumerate(nodes):
            remove_leftovers(node.directory / SIGNATURE)
            write_durably(node.directory / SIGNATURE, (Path(work) / f"{number}.sig").read_bytes())


def _run(argv: list[str], text: bytes | None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, input=text, capture_output=True, check=False)  # noqa: S603 - as above


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
