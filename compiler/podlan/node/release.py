"""The plugin binaries of a release: which are to be installed, by what operation, and what podlan remembers of them."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.fileops import FileRemove, FileWrite
from podlan.plan import may_install
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node._kernel import Kernel
    from podlan.node.files import Root
    from podlan.node.state import State
    from podlan.plan import Plan, Release

_MODE = 0o755
_WORDS = 3


@dataclass(frozen=True, slots=True)
class Binary:
    """A binary that podlan installed: from which archive, and how it left it.

    `digest` is empty while the run that installs it has not ended. While `size` and `modified` (nanoseconds) are as
    recorded, the content is not read again.
    """

    path: str
    archive: str
    digest: str = ""
    size: int = 0
    modified: int = 0


@dataclass(frozen=True, slots=True)
class Install:
    """Put binaries of the release in place, each at once or not at all; `writes` is empty in a preview."""

    root: Root
    release: Release
    names: tuple[str, ...]
    writes: tuple[FileWrite, ...] = ()

    def do(self, kernel: Kernel) -> None:
        """Write them."""
        done: list[FileWrite] = []
        try:
            for write in self.writes:
                write.do(kernel)
                done.append(write)
        except OSError:
            for write in reversed(done):
                write.undo(kernel)
            raise

    def undo(self, kernel: Kernel) -> None:
        """Write what was there, or remove them."""
        for write in reversed(self.writes):
            write.undo(kernel)

    def is_kept(self) -> bool:
        """Tell whether they are in place as written."""
        return all(_is(self.root, write) for write in self.writes)

    def __str__(self) -> str:
        from podlan.node.fetch import local_path  # noqa: PLC0415 - only when something is installed

        path = local_path(self.release.url)
        url = f"file://{self.root.shown(path)}" if path else self.release.url
        directory = shlex.quote(self.root.shown(self.release.directory))
        files = " ".join(f'"$d"/{shlex.quote(name)}' for name in self.names)
        return (
            f'(set -e; d=$(mktemp -d); trap \'rm -rf "$d"\' EXIT; curl -fsSL -o "$d/archive" {shlex.quote(url)}; '
            f'echo "{self.release.sha256}  $d/archive" | sha256sum -c --quiet; tar -xf "$d/archive" -C "$d"; '
            f"mkdir -p {directory}; install -m {_MODE:04o} -t {directory} {files})"
        )


@dataclass(frozen=True, slots=True)
class Supply:
    """What is to be installed and what there is to say.

    `missing`: one of the names is not there at all, and the operation that brings it is not among these.
    """

    operations: tuple[Install, ...] = ()
    findings: tuple[Finding, ...] = ()
    pending: tuple[str, ...] = ()
    missing: bool = False


def supply(plan: Plan, last: State, root: Root, until: float, *, preview: bool) -> Supply:
    """Compare what is there with the plan's release; fetch what is to be installed, unless this is a preview."""
    findings = list(_left(plan, last, root))
    release = plan.release
    if release is None:
        return Supply(findings=tuple(findings))
    records = {record.path: record for record in last.binaries}
    missing, outdated = [], []
    for name in release.names:
        path = f"{release.directory}/{name}"
        record = records.get(path)
        if not os.path.exists(root.shown(path)):  # noqa: PTH110 - pathlib costs 10 ms
            missing.append(name)
        elif record is not None and record.digest and not _is_as_left(record, root):
            findings.append(finding("PL634", f"{root.shown(path)} was changed by others and stays"))
        elif record is not None and (record.archive != release.sha256 or not record.digest):
            outdated.append(name)
    install = Install(root, release, (*missing, *outdated))
    if not install.names or preview:
        return Supply((install,) if install.names else (), tuple(findings))
    return _fetched(install, missing, tuple(findings), until)


def _fetched(install: Install, missing: list[str], findings: tuple[Finding, ...], until: float) -> Supply:
    from podlan.node.fetch import NotFetched, WrongArchive, binaries  # noqa: PLC0415 - only when something is installed

    root, release = install.root, install.release
    lacking = ", ".join(root.shown(f"{release.directory}/{name}") for name in missing)
    try:
        contents = binaries(release, root, install.names, until, patient=bool(missing))
        writes = tuple(_write(root, f"{release.directory}/{name}", contents[name]) for name in install.names)
    except (NotFetched, WrongArchive, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        what = f"{release.url}: {reason}"
        if not missing:
            found = finding("PL632", f"the plugins stay those of an earlier archive: {what}")
        elif isinstance(error, NotFetched):
            found = finding("PL631", f"{lacking} cannot be installed: {what}")
        else:
            found = finding("PL633", f"{lacking} cannot be installed: {what}")
        return Supply((), (*findings, found), (str(install),), missing=bool(missing))
    return Supply((replace(install, writes=writes),), findings)


def _write(root: Root, path: str, content: bytes) -> FileWrite:
    before = root.read(path)
    if before is not None and before.link is not None:
        raise OSError(f"{root.shown(path)} is a symbolic link to {before.link}, which is not there")
    return FileWrite(root, path, content, _MODE, before, root.missing_parents(path))


def intended(last: State, operations: Iterable[Install]) -> tuple[Binary, ...]:
    """Give what must be on disk before the first binary is written: that it is podlan's, whatever is in it."""
    records = {record.path: record for record in last.binaries}
    for install in operations:
        for write in install.writes:
            records[write.path] = Binary(write.path, install.release.sha256)
    return tuple(records.values())


def settled(plan: Plan, last: State, operations: Iterable[Install], root: Root) -> tuple[Binary, ...]:
    """Give what holds after a run: of the plan's binaries, those that podlan installed."""
    wanted = plan.release.paths if plan.release else ()
    records = {record.path: record for record in last.binaries if record.path in wanted}
    for install in operations:
        for write in install.writes:
            found = os.stat(root.shown(write.path))  # noqa: PTH116 - pathlib costs 10 ms
            digest = hashlib.sha256(write.content).hexdigest()
            records[write.path] = Binary(write.path, install.release.sha256, digest, found.st_size, found.st_mtime_ns)
    return tuple(records.values())


def brought(root: Root, path: str) -> tuple[Binary, ...]:
    """Give what install.sh notes of the binaries that it installed: a line each, the last one counts."""
    found = root.read(path)
    lines = found.content.decode(errors="replace").splitlines() if found else []
    rows = [words for line in lines if len(words := line.rsplit(" ", 2)) == _WORDS and may_install(words[0])]
    return tuple({name: Binary(name, archive, digest) for name, digest, archive in rows}.values())


def removals(last: State, root: Root) -> tuple[tuple[FileRemove, ...], tuple[Finding, ...]]:
    """Give the removal of all binaries that are as podlan left them, and tell which are not."""
    operations, findings = [], []
    for record in last.binaries:
        before = root.read(record.path) if os.path.lexists(root.shown(record.path)) else None
        if before is None:
            continue
        if record.digest and before.link is None and hashlib.sha256(before.content).hexdigest() == record.digest:
            operations.append(FileRemove(root, record.path, before))
        else:
            findings.append(finding("PL634", f"{root.shown(record.path)} was changed by others and stays"))
    return tuple(operations), tuple(findings)


def _left(plan: Plan, last: State, root: Root) -> Iterator[Finding]:
    wanted = plan.release.paths if plan.release else ()
    for record in last.binaries:
        if record.path not in wanted and os.path.lexists(root.shown(record.path)):
            yield finding("PL635", f"{root.shown(record.path)} is no longer podlan's, and stays")


def _is_as_left(record: Binary, root: Root) -> bool:
    found = os.stat(root.shown(record.path))  # noqa: PTH116 - pathlib costs 10 ms
    if (found.st_size, found.st_mtime_ns) == (record.size, record.modified):
        return True
    try:
        state = root.read(record.path)
    except OSError:
        return False
    return state is not None and state.link is None and hashlib.sha256(state.content).hexdigest() == record.digest


def _is(root: Root, write: FileWrite) -> bool:
    state = root.read(write.path)
    return state is not None and state.content == write.content and state.mode == write.mode
