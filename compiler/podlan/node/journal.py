"""What a run means to do, on disk before its first change, so that another process can take it back.

The operations are values: journal.json, written once. How many of them were begun is a file of one character each on
a file system in memory, since the kernel's part does not outlive the boot anyway.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.node import state
from podlan.node._errors import Busy, RollbackFailed, Unusable
from podlan.node._kernel import Kernel
from podlan.node.apply import take_back
from podlan.node.recorded import FILE_OPERATIONS, Told, decoded, encoded
from podlan.node.unfinished import JOURNAL, close

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.node.files import Root
    from podlan.node.operations import Operation

STEPS = "/run/podlan/steps"
RECORDS = (*state.MEMORIES, state.STATE, JOURNAL)
"""All that is remembered beyond a boot, in the order in which it is forgotten."""
_VERSION = 2
_BEGUN, _UNDONE = b"+", b"-"
_OTHERS = 0o022


@dataclass(frozen=True, slots=True)
class Journal:
    """A run: its operations, the text of state.json before it (None where there was none), and where it holds.

    `token` names the run if it waits for `podlan confirm`.
    """

    node: str
    boot: str
    operations: tuple[Operation, ...]
    before: str | None
    token: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """What became of a run that was killed.

    `undone` operations were taken back; `problem` is why that was not possible, '' if it was; `confirmed` is a run
    whose changes were kept, since `podlan confirm` came in time.
    """

    undone: int = 0
    problem: str = ""
    confirmed: bool = False


class Steps:
    """How far a run has come: a character for each operation that was begun, and for each that was undone."""

    def __init__(self, root: Root) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(root.shown(STEPS), flags, 0o600)

    def begin(self) -> None:
        """Say that the next operation begins."""
        os.write(self._descriptor, _BEGUN)

    def undone(self) -> None:
        """Say that the last operation is not done, or no longer."""
        with contextlib.suppress(OSError):  # it would be undone once more
            os.write(self._descriptor, _UNDONE)

    def count(self) -> int:
        """Give how many operations are done, or may be."""
        return _count(os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def _count(text: bytes) -> int:
    return text.count(_BEGUN) - text.count(_UNDONE)


def begin(root: Root, node: str, operations: Sequence[Operation], token: str = "") -> Journal:
    """Note that a run begins."""
    try:
        found = root.read(state.STATE)
    except OSError as error:
        raise Unusable(root.shown(state.STATE), error) from error
    before = None if found is None else found.content.decode()
    journal = Journal(node, state.this_boot(), tuple(operations), before, token)
    document = {
        "version": _VERSION,
        "node": node,
        "boot": journal.boot,
        "token": token,
        "state": before,
        "operations": [{"text": str(operation), **encoded(operation)} for operation in operations],
    }
    try:
        root.write(JOURNAL, json.dumps(document, indent=1).encode() + b"\n", 0o600)
    except OSError as error:
        with contextlib.suppress(OSError):
            close(root)  # it may be there all the same, and tell of a run that never began
        raise Unusable(root.shown(JOURNAL), error) from error
    return journal


@contextlib.contextmanager
def held(root: Root) -> Iterator[None]:
    """Show that who is at the run in the journal lives; raises Busy where another process does so.

    The lock of all runs is in /run, which a container may have for itself, and which somebody may have emptied.
    """
    path = root.shown(JOURNAL)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(path, 0.0) from error
        yield
    finally:
        os.close(descriptor)


def forget(root: Root) -> None:
    """Remove all that is remembered, and the directory unless others use it."""
    for path in RECORDS:
        try:
            root.clean(path)
            root.remove(path)
        except OSError as error:
            raise Unusable(root.shown(path), error) from error
    root.remove_directories((JOURNAL.rpartition("/")[0],))


def read(root: Root) -> Journal | None:
    """Give the run that never ended, None if each one did; raises ValueError for what podlan did not write."""
    try:
        found = root.read(JOURNAL)
    except OSError as error:
        raise Unusable(root.shown(JOURNAL), error) from error
    if found is None:
        return None
    if found.link is not None or found.mode & _OTHERS or found.owner[0] not in (0, os.geteuid()):
        raise ValueError("others than root may have written it")
    try:
        document = json.loads(found.content)
        if document["version"] != _VERSION:
            raise ValueError("it is of another version of podlan")
        texts = [str(document[name]) for name in ("node", "boot", "token")]
        before = None if document["state"] is None else str(document["state"])
        operations = tuple(decoded(entry, root) for entry in document["operations"])
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("it is not what podlan wrote") from error
    return Journal(texts[0], texts[1], operations, before, texts[2])


def take_back_interrupted(root: Root) -> Interrupted | None:
    """Take back a run that was killed, the process that guarded it included; None where there is no such run.

    The caller holds the lock. Of a run in an earlier boot only the files are left.
    """
    from podlan.node.confirm import withdraw  # noqa: PLC0415 - only after a run that was killed

    try:
        journal = read(root)
        if journal is None:
            return None
        with held(root):
            found = _taken_back(root, journal)
            withdraw(root)  # nothing waits any more, and whoever comes next must not look as if it did
            return found
    except ValueError as error:
        return Interrupted(problem=f"{root.shown(JOURNAL)}: {error}")


def _taken_back(root: Root, journal: Journal) -> Interrupted:
    from podlan.node.confirm import is_kept  # noqa: PLC0415 - only after a run that was killed

    try:
        if journal.boot == state.this_boot():
            if journal.token and is_kept(root, journal.token):
                close(root)
                return Interrupted(confirmed=True)
            count = _steps_taken(root, len(journal.operations))
            done = journal.operations[:count]
        else:
            done = tuple(operation for operation in journal.operations if isinstance(operation, FILE_OPERATIONS))
        with Kernel(root) as kernel:
            undo(root, journal, done, kernel)
    except RollbackFailed as error:
        return Interrupted(len(done) - len(error.left), "; ".join(error.left))
    return Interrupted(len(done))


def undo(root: Root, journal: Journal, done: Sequence[Operation], kernel: Kernel, steps: Steps | None = None) -> None:
    """Take back what a run did and close its journal; raises RollbackFailed, and then the journal stays."""
    left = take_back(done, kernel, steps.undone if steps else lambda: None)
    if left:
        raise RollbackFailed("a run that was killed", "it could not be taken back", left)
    restore(root, journal, done)
    close(root)


def restore(root: Root, journal: Journal, done: Sequence[Operation] = ()) -> None:
    """Put state.json back as it was; what cannot be undone from the journal alone stays podlan's."""
    state.restore(root, journal.before, keep_binaries=any(isinstance(operation, Told) for operation in done))


def _steps_taken(root: Root, most: int) -> int:
    try:
        with open(root.shown(STEPS), "rb") as file:  # noqa: PTH123 - pathlib costs 10 ms
            return min(max(_count(file.read()), 0), most)
    except OSError:
        return most
