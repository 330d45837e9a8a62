"""What a trial that was killed would leave: its pods' addresses. Written down first, removed by whoever comes next.

A record is a file that its trial holds a lock on, and so do the plugins that it has started: a record that nobody has
locked is of one that was killed, and of which nothing is at work any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING

from podlan.node._errors import Unusable
from podlan.node.chain import Refusal
from podlan.node.codes import finding
from podlan.node.files import Root
from podlan.node.networks import network
from podlan.node.store import stored
from podlan.node.trial._plugins import Attachment, PluginsMissing, delete, require
from podlan.node.trust import require_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.diagnostics import Finding

RECORDS = "/run/podlan/verify"
PREFIX = "podlan-verify-"
"""How the containers' names begin; the record's name follows, and the pod's number."""


class Record:
    """The record of one trial; `lock` is for the plugins to inherit."""

    def __init__(self, root: Root, name: str) -> None:
        self.name = name
        self._path = root.shown(f"{RECORDS}/{name}")
        with _alone(root):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.lock = os.open(self._path, flags, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def write(self, attachments: Iterable[Attachment]) -> None:
        """Say what there is to be taken away."""
        listed = [[one.container, one.interface, one.bin_dir, one.config] for one in attachments]
        text = json.dumps(listed).encode()
        if os.pwrite(self.lock, text, 0) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)

    def close(self, *, done: bool) -> None:
        """Let it go; if not all is `done`, the next trial goes on with it."""
        if done:
            os.unlink(self._path)  # noqa: PTH108 - strings, as everywhere here
        os.close(self.lock)


def sweep(root: Root, bin_dir: str = "", configs: Iterable[dict[str, object]] = ()) -> Iterator[Finding]:
    """Take away what killed trials left; tell of each.

    `configs` are those of the networks here: a store on disk outlives a boot, and the records do not.
    """
    require_own(root.directory)
    for name, path, lock in _left(root):
        try:
            attachments = _read(lock)
            problems = list(_detached(attachments, lock))
            if not problems:
                os.unlink(path)  # noqa: PTH108 - as above
        finally:
            os.close(lock)
        yield from (finding("PL697", f"pod {PREFIX}{name} of an earlier run: {problem}") for problem in problems)
        if attachments and not problems:
            yield finding("PL699", f"pods that an earlier podlan verify had left are removed: {PREFIX}{name}")
    if bin_dir:
        yield from _sweep_stores(root, bin_dir, configs)


def _sweep_stores(root: Root, bin_dir: str, configs: Iterable[dict[str, object]]) -> Iterator[Finding]:
    for config in configs:
        found = network("", json.dumps(config).encode())
        # The configuration says where the store is from outside, already.
        for one in stored(found.store, Root()) if found is not None and found.store else ():
            name = one.container.removeprefix(PREFIX).rpartition("-")[0]
            if not one.container.startswith(PREFIX) or os.path.lexists(root.shown(f"{RECORDS}/{name}")):
                continue
            attachment = Attachment(one.container, one.interface or "eth0", bin_dir, config)
            with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor
                problems = list(_detached([attachment], nothing.fileno()))
            yield from (finding("PL697", f"pod {one.container} of an earlier run: {problem}") for problem in problems)
            if not problems:
                yield finding("PL699", f"{one.address}, which an earlier podlan verify had left reserved, is free")


def reserved(attachment: Attachment) -> list[str]:
    """Give the addresses that host-local keeps for it."""
    found = network("", json.dumps(attachment.config).encode())
    # The configuration says where the store is from outside, already.
    there = stored(found.store, Root()) if found is not None and found.store else ()
    return [str(one.address) for one in there if one.container == attachment.container]


def _detached(attachments: Iterable[Attachment], lock: int) -> Iterator[str]:
    """Give every address back; tell what refuses. The namespaces are gone, and no plugin is told of one."""
    for one in attachments:
        try:
            require(one.bin_dir, [one.config])
            delete(one, None, "", lock)
        except (Refusal, PluginsMissing) as error:
            # The kernel has taken the interface; what matters is the address, if host-local keeps it.
            found = network("", json.dumps(one.config).encode())
            if found is None or not found.store or reserved(one):
                yield str(error)


@contextlib.contextmanager
def _alone(root: Root) -> Iterator[None]:
    """Be the only one that makes or takes records: a new one must not be seen before it is locked."""
    place = root.shown(RECORDS)
    require_own(root.directory)
    try:
        os.makedirs(place, 0o755, exist_ok=True)  # noqa: PTH103 - strings, as everywhere here
        directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Unusable(place, error) from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _left(root: Root) -> list[tuple[str, str, int]]:
    """Give the records that nobody has locked, locked by us from now on."""
    if not root.names(RECORDS):
        return []
    found = []
    with _alone(root):
        for name in sorted(root.names(RECORDS) or ()):
            path = root.shown(f"{RECORDS}/{name}")
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                found.append((name, path, lock))
    return found


def _read(lock: int) -> list[Attachment]:
    """Read a record; one that was cut off was written before the first plugin was called."""
    try:
        text = os.pread(lock, os.fstat(lock).st_size, 0)
        return [Attachment(*one) for one in json.loads(text)]
    except (ValueError, TypeError):
        return []
