"""Plan, what podlan wrote last, what is there → the operations on files, and what preflight should say of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.fileops import Enable, FileRemove, FileWrite
from podlan.node.merge import Unmergeable, merge_block, merge_flags
from podlan.node.state import FileRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import FileState, Root
    from podlan.node.operations import Operation
    from podlan.node.state import State
    from podlan.plan import File, Plan

UNITS = "/etc/systemd/system"
START = "start "
"""Before a unit that is new here, among those to restart."""
_EXECUTABLE = 0o111


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Operations, what podlan will have in each file, the units that must notice, and what to tell the operator."""

    operations: tuple[Operation, ...]
    records: tuple[FileRecord, ...]
    restart: tuple[str, ...]
    findings: tuple[Finding, ...]


def file_changes(directory: NodeDirectory, last: State, root: Root) -> FileChanges:
    """Compare every file of the plan, and every file that podlan wrote before."""
    operations: list[Operation] = []
    restart: dict[str, None] = {}
    findings: list[Finding] = []
    earlier = {record.path: record for record in last.files}
    for file in directory.plan.files:
        try:
            changes = [*_file(file, directory, earlier.get(file.path), root), *_enabled(file, root)]
        except (OSError, Unmergeable, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            findings.append(finding("PL617", f"{root.shown(file.path)} cannot be brought into line: {reason}"))
            continue
        operations += changes
        if changes:
            restart |= dict.fromkeys(file.restart)
        if file.start and any(isinstance(change, Enable) for change in changes):
            restart[f"{START}{_unit(file)}"] = None
    for record in last.files:
        try:
            operations += _obsolete(record, directory.plan, root, findings)
        except (OSError, Unmergeable, UnicodeDecodeError) as error:
            findings.append(finding("PL616", f"{root.shown(record.path)} was changed by others and stays ({error})"))
    records = tuple(_record(file, directory) for file in directory.plan.files)
    return FileChanges(tuple(operations), records, tuple(restart), tuple(findings))


def _file(file: File, directory: NodeDirectory, earlier: FileRecord | None, root: Root) -> Iterator[Operation]:
    before = root.read(file.path)
    if before is not None and before.link is not None:
        raise Unmergeable(f"it is a symbolic link to {before.link}, and podlan writes through none")
    mode = int(file.mode, 8)
    if file.source:
        content = directory.files[file.source]
        source = f"{directory.path}/{file.source}"
    else:
        content = _merged(file, before, earlier).encode()
        source = ""
        if before is not None:
            # The file is others' too: its mode stays, but for a script that must be able to run.
            mode = before.mode | (mode & _EXECUTABLE)
    if before is None or before.content != content or before.mode != mode:
        yield FileWrite(root, file.path, content, mode, before, root.missing_parents(file.path), source)


def _merged(file: File, before: FileState | None, earlier: FileRecord | None) -> str:
    text = before.content.decode() if before else ""
    if file.env_flags is None:
        return merge_block(text, file.block, executable=bool(int(file.mode, 8) & _EXECUTABLE))
    dropped: tuple[str, ...] = ()
    if earlier is not None and earlier.variable == file.env_flags.variable:
        dropped = tuple(flag for flag in earlier.flags if flag not in file.env_flags.flags)
    elif earlier is not None and earlier.variable:
        text = merge_flags(text, earlier.variable, (), earlier.flags)
    return merge_flags(text, file.env_flags.variable, file.env_flags.flags, dropped)


def _wants(file: File) -> tuple[str, ...]:
    return tuple(f"{UNITS}/{target}.wants/{_unit(file)}" for target in file.wanted_by)


def _unit(file: File) -> str:
    return file.path.rpartition("/")[2]


def _enabled(file: File, root: Root) -> Iterator[Operation]:
    for path in _wants(file):
        before = root.read(path)
        if before is not None and before.link is None:
            raise Unmergeable(f"{root.shown(path)} is a file, not a symbolic link")
        if before is None or before.link != file.path:
            yield Enable(root, path, file.path, before, root.missing_parents(path))


def _record(file: File, directory: NodeDirectory) -> FileRecord:
    if file.env_flags is not None:
        return FileRecord(file.path, variable=file.env_flags.variable, flags=file.env_flags.flags, wants=_wants(file))
    if file.block:
        return FileRecord(file.path, block=True, wants=_wants(file))
    digest = hashlib.sha256(directory.files[file.source]).hexdigest()
    return FileRecord(file.path, digest, wants=_wants(file))


def _obsolete(record: FileRecord, plan: Plan, root: Root, findings: list[Finding]) -> Iterator[Operation]:
    wanted = {path for file in plan.files for path in _wants(file)}
    for path in record.wants:
        link = root.read(path)
        if path not in wanted and link is not None and link.link == record.path:
            yield FileRemove(root, path, link)
    if any(file.path == record.path for file in plan.files):
        return
    before = root.read(record.path)
    if before is None or before.link is not None:
        return
    if record.digest:
        if hashlib.sha256(before.content).hexdigest() == record.digest:
            yield FileRemove(root, record.path, before)
        else:
            findings.append(finding("PL616", f"{root.shown(record.path)} was changed by others and stays"))
        return
    text = before.content.decode()
    if record.block:
        content = merge_block(text, (), executable=False).encode()
    else:
        content = merge_flags(text, record.variable, (), record.flags).encode()
    if content != before.content:
        yield FileWrite(root, record.path, content, before.mode, before)
