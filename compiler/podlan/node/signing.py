"""Who vouches for a node directory: the signature of its manifest, as the real ssh-keygen judges it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from podlan.diagnostics import printable
from podlan.node._errors import BadDirectory, Unusable
from podlan.node.files import NotPlain
from podlan.node.trust import Untrusted, require_below
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.node.files import Root

ALLOWED_SIGNERS = "/etc/podlan/allowed_signers"
"""Where it is there, nothing is applied that none of its keys has signed; ssh-keygen(1) tells its form."""
NAMESPACE = "podlan"
"""What the signatures are for: one that the same key made for git, or for a file, vouches for nothing here."""
SIGNATURE = "manifest.json.sig"
LARGEST_SIGNATURE = 1 << 16  # bytes; one of RSA with 16384 bits has 6000
_LARGEST_LIST = 1 << 20  # bytes, which would be some thousand signers
_PROGRAMS = ("/usr/bin/ssh-keygen", "/bin/ssh-keygen", "/usr/local/bin/ssh-keygen")
_SECONDS = 10.0  # for one call, which takes milliseconds
_SHOWN = 300  # characters of complaints; the last ones say most
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_GOOD = re.compile(rb'Good "podlan" signature for .* with (\S+ key \S+)\s*')


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature it is: the name that allowed_signers gives the key, and the key's kind and fingerprint."""

    principal: str
    key: str

    def __str__(self) -> str:
        return f"{self.principal} ({self.key})"


def signer(path: str, manifest: bytes, signature: bytes | None, root: Root) -> Signer | None:
    """Give who signed the manifest; None where nobody has to, since the node has no allowed_signers.

    Raises BadDirectory where nobody whom allowed_signers names has signed just these bytes.
    """
    allowed = _allowed(root)
    if allowed is None:
        return None
    shown = root.shown(ALLOWED_SIGNERS)
    if signature is None:
        raise BadDirectory(path, f"it is not signed, and {shown} asks for it", _remedy(path))
    if len(signature) > LARGEST_SIGNATURE:
        raise BadDirectory(path, f"{SIGNATURE} is too large for a signature", _remedy(path))
    found, reason = _verified(manifest, signature, allowed)
    if found is None:
        told = f" (ssh-keygen: {reason})" if reason else ""
        raise BadDirectory(path, f"{SIGNATURE} is of nobody in {shown} who may sign this manifest{told}", _remedy(path))
    return found


def _remedy(path: str) -> str:
    return f"have it signed where it is compiled: podlan sign --key KEY {os.path.basename(path)}"  # noqa: PTH119 - pathlib costs 10 ms


def _allowed(root: Root) -> bytes | None:
    shown = root.shown(ALLOWED_SIGNERS)
    try:
        require_below(root.directory, ALLOWED_SIGNERS)
        found = root.read(ALLOWED_SIGNERS, _LARGEST_LIST)
    except Untrusted as error:
        raise Unusable(shown, f"{error}, so it says nothing of who may sign; mend that, if you trust it") from error
    except NotPlain as error:
        raise Unusable(shown, str(error.strerror)) from error
    except OSError as error:
        raise Unusable(shown, error) from error
    if found is None:
        return None
    return found.content


def _verified(manifest: bytes, signature: bytes, allowed: bytes) -> tuple[Signer | None, str]:
    program = next((one for one in _PROGRAMS if os.access(one, os.X_OK)), None)
    if program is None:
        raise Unusable(ALLOWED_SIGNERS, "it asks for signatures, and there is no ssh-keygen: install openssh-client")
    # Of what was read once, in memory: what a file holds by the time ssh-keygen opens it may be something else.
    with _in_memory(signature) as signed, _in_memory(allowed) as listed:
        given = ("-s", f"/proc/self/fd/{signed}", "-f", f"/proc/self/fd/{listed}")

        def ask(*words: str | bytes) -> tuple[bytes, str]:
            told, why = _ssh_keygen((program, "-Y", *words, *given), manifest, (signed, listed))
            return told, why.replace(f"/proc/self/fd/{listed}:", "line ").replace(given[1], SIGNATURE)

        principals, reason = ask("find-principals")
        # A name is a line, of any bytes but its end.
        for principal in dict.fromkeys(principals.removesuffix(b"\n").split(b"\n") if principals else ()):
            told, reason = ask("verify", "-n", NAMESPACE, "-I", principal)
            if match := _GOOD.fullmatch(told):
                return Signer(*(printable(words.decode(errors="replace")) for words in (principal, match[1]))), ""
    return None, reason


def _ssh_keygen(argv: Sequence[str | bytes], text: bytes, descriptors: Sequence[int]) -> tuple[bytes, str]:
    """Give what it answers, nothing if it failed, and its complaints on one line."""
    import subprocess  # noqa: PLC0415 - only where signatures are asked for

    try:
        done = subprocess.run(  # noqa: S603 - a program by its path, and no shell
            argv, input=text, capture_output=True, check=False, timeout=_SECONDS, pass_fds=descriptors, env=_ENVIRONMENT
        )
    except subprocess.TimeoutExpired:
        return b"", f"no answer within {_SECONDS:g} s"
    except OSError as error:
        raise Unusable(str(argv[0]), error) from error
    complaints = "; ".join(line.rstrip(".\r") for line in done.stderr.decode(errors="replace").split("\n") if line)
    return b"" if done.returncode else done.stdout, printable(complaints[-_SHOWN:])


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("podlan")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield descriptor
    finally:
        os.close(descriptor)
