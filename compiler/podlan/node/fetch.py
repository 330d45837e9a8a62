"""An archive from its URL: fetched whole, believed only with its digest, and only then read."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from itertools import count
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podlan.node.files import Root
    from podlan.plan import Release

_SILENCE = 10.0  # seconds without a byte
_WHOLE = 90.0  # seconds for all attempts, where --wait grants no more: the unit's start is given 180
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
_LONGEST_PAUSE = 8.0
_REDIRECTS = 5
_LARGEST = 256 << 20  # bytes, of the archive and of each file in it; the upstream one has 50 MB
_CHUNK = 1 << 16
_LATER = (408, 425, 429)  # HTTP statuses below 500 that another attempt may change
_ELF = b"\x7fELF"
_MACHINES = {  # e_machine of ELF(5) by uname's name: what such a kernel starts
    "x86_64": (62, 3),
    "aarch64": (183, 40),
    "ppc64le": (21,),
    "s390x": (22,),
    "riscv64": (243,),
}


class NotFetched(Exception):
    """The archive did not come; `lasting`: another attempt within this run would end in the same way."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class WrongArchive(Exception):
    """What came is not the archive that the plan means, or does not hold what it needs."""


def binaries(release: Release, root: Root, names: Collection[str], until: float, *, patient: bool) -> dict[str, bytes]:
    """Give the content of the named files; raises NotFetched or WrongArchive.

    `patient`: try again a few times, and until the monotonic clock says `until`.
    """
    import tempfile  # noqa: PLC0415 - 18 ms, and only when something is installed

    # Without a name: nothing of it is left when the run is killed.
    with tempfile.TemporaryFile() as archive:
        end = max(until, time.monotonic() + _WHOLE)
        for attempt in count():
            try:
                digest = _copy(_chunks(release.url, root, end), archive)
                break
            except NotFetched as error:
                pause = min(_PAUSE * 2**attempt, _LONGEST_PAUSE)
                then = time.monotonic() + pause
                if error.lasting or not patient or then >= (until if attempt + 1 >= _ATTEMPTS else end):
                    raise
                time.sleep(pause)
        if digest != release.sha256:
            raise WrongArchive(f"its SHA-256 is {digest}, and the inventory says {release.sha256}")
        archive.seek(0)
        return _unpacked(archive, names)


def local_path(url: str) -> str:
    """Give the path of a file URL, '' for another one."""
    if not url.startswith("file:"):
        return ""
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - only when something is installed

    return unquote(urlsplit(url).path)


def _copy(chunks: Iterator[bytes], archive: IO[bytes]) -> str:
    archive.seek(0)
    archive.truncate()
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > _LARGEST:
            raise NotFetched(f"it is larger than {_LARGEST >> 20} MiB", lasting=True)
        digest.update(chunk)
        try:
            archive.write(chunk)
            archive.flush()
        except OSError as error:
            raise NotFetched(f"it cannot be kept: {error.strerror}", lasting=True) from error
    return digest.hexdigest()


def _chunks(url: str, root: Root, end: float) -> Iterator[bytes]:
    path = local_path(url)
    return _of_file(root.shown(path)) if path else _of_server(url, end)


def _of_file(path: str) -> Iterator[bytes]:
    try:
        # A pipe or a device would never end, and opening a pipe would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotFetched(f"{path} is not a regular file", lasting=True)
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise NotFetched(f"{path}: {error.strerror}", lasting=True) from error


def _of_server(url: str, end: float) -> Iterator[bytes]:
    from http.client import HTTPException  # noqa: PLC0415 - as below
    from urllib.error import HTTPError, URLError  # noqa: PLC0415 - as below

    try:
        with _opener().open(url, timeout=_SILENCE) as answer:
            told, come = answer.headers.get("Content-Length", ""), 0
            if told.isdecimal() and int(told) > _LARGEST:
                raise NotFetched(f"it is larger than {_LARGEST >> 20} MiB", lasting=True)
            while chunk := answer.read1(_CHUNK):
                come += len(chunk)
                yield chunk
                if time.monotonic() >= end:
                    raise NotFetched("it did not come in time")
            if told.isdecimal() and come < int(told):
                raise NotFetched(f"only {come} of {told} bytes came")
    except HTTPError as error:
        refused = error.code < 500 and error.code not in _LATER  # noqa: PLR2004 - HTTP's own line
        raise NotFetched(f"HTTP {error.code} {error.reason}", lasting=refused) from error
    except URLError as error:
        raise NotFetched(str(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:
        raise NotFetched(str(error) or type(error).__name__) from error


def _opener() -> Any:  # noqa: ANN401 - urllib is imported only here
    from urllib import request  # noqa: PLC0415 - 60 ms, and only when something is installed
    from urllib.error import HTTPError  # noqa: PLC0415 - as above
    from urllib.parse import urlsplit  # noqa: PLC0415 - as above

    class Redirects(request.HTTPRedirectHandler):
        max_redirections = _REDIRECTS

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: ANN401 - urllib's own
            scheme = urlsplit(newurl).scheme
            if scheme not in ("https", req.type) or scheme not in ("http", "https"):
                raise HTTPError(req.full_url, code, f"it leads from {req.type} to {scheme}", headers, fp)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = request.OpenerDirector()  # build_opener's would also speak ftp, and read files on a server's word
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        Redirects(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _unpacked(archive: IO[bytes], names: Collection[str]) -> dict[str, bytes]:
    import lzma  # noqa: PLC0415 - as below
    import tarfile  # noqa: PLC0415 - 10 ms, and only when something is installed
    import zlib  # noqa: PLC0415 - as above

    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=archive, mode="r:*") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name in found:
                    raise WrongArchive(f"it holds {name} twice")
                if name in names:
                    found[name] = _plain(tar, member)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise WrongArchive(f"it cannot be unpacked: {error}") from error
    if lacking := [name for name in names if name not in found]:
        raise WrongArchive(f"it holds no {', '.join(lacking)} at its top")
    for name, content in found.items():
        _require_this_machine(name, content)
    return found


def _plain(tar: Any, member: Any) -> bytes:  # noqa: ANN401 - tarfile is imported only where it is needed
    if not member.isreg() or member.issparse() or not 0 < member.size <= _LARGEST:
        raise WrongArchive(f"{member.name} is not a plain file in it")
    content: bytes = tar.extractfile(member).read()
    return content


def _require_this_machine(name: str, content: bytes) -> None:
    machine = os.uname().machine
    if not content.startswith(_ELF) or machine not in _MACHINES:
        return
    number = content[18:20] if content[5:6] == b"\x02" else content[19:17:-1]  # the sixth byte tells the byte order
    if int.from_bytes(number, "big") not in _MACHINES[machine]:
        raise WrongArchive(f"{name} in it is for another kind of machine than this one ({machine})")
