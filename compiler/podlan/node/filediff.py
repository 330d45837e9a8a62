"""Plan, what podlan wrote last, what is there → the operations on files, and what preflight should say of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.copy import COPY
from podlan.node.fileops import DirectoryRemove, Enable, FileRemove, FileWrite
from podlan.node.merge import Unmergeable, assigned, merge_block, merge_flags, unmerge_flags
from podlan.node.state import FileRecord
from podlan.records import dataclass

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
    records: list[FileRecord] = []
    restart: dict[str, None] = {}
    findings: list[Finding] = []
    earlier = {record.path: record for record in last.files}
    was_here = root.names(COPY) is not None
    for file in directory.plan.files:
        try:
            before = root.read(file.path)
            changes: list[FileWrite | Enable] = list(_file(file, directory, earlier.get(file.path), root, before))
            changes += _enabled(file, root)
            records.append(_record(file, directory, earlier.get(file.path), before, changes, was_here=was_here))
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
            leaving = list(_obsolete(record, directory.plan, root, findings))
        except (OSError, Unmergeable, UnicodeDecodeError) as error:
            findings.append(finding("PL616", f"{root.shown(record.path)} was changed by others and stays ({error})"))
            continue
        operations += leaving
        if any(change.path == record.path for change in leaving):
            restart |= dict.fromkeys(record.restart)
    # A unit that is gone cannot be restarted.
    gone = {change.path for change in operations if isinstance(change, FileRemove)}
    restart = {unit: None for unit in restart if f"{UNITS}/{unit}" not in gone}
    operations += _emptied(directory.plan, last, root, gone)
    return FileChanges(tuple(operations), tuple(records), tuple(restart), tuple(findings))


def _file(
    file: File, directory: NodeDirectory, earlier: FileRecord | None, root: Root, before: FileState | None
) -> Iterator[FileWrite]:
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
        text = unmerge_flags(text, earlier.variable, earlier.flags, earlier.assigned)
    return merge_flags(text, file.env_flags.variable, file.env_flags.flags, dropped)


def _wants(file: File) -> tuple[str, ...]:
    return tuple(f"{UNITS}/{target}.wants/{_unit(file)}" for target in file.wanted_by)


def _unit(file: File) -> str:
    return file.path.rpartition("/")[2]


def _enabled(file: File, root: Root) -> Iterator[Enable]:
    for path in _wants(file):
        before = root.read(path)
        if before is not None and before.link is None:
            raise Unmergeable(f"{root.shown(path)} is a file, not a symbolic link")
        if before is None or before.link != file.path:
            yield Enable(root, path, file.path, before, root.missing_parents(path))


def recorded(file: File, directory: NodeDirectory) -> FileRecord:
    """Give what podlan has in a file of the directory's plan, whatever was there before it."""
    record = FileRecord(file.path, wants=_wants(file), restart=file.restart)
    if file.env_flags is not None:
        return replace(record, variable=file.env_flags.variable, flags=file.env_flags.flags)
    if file.block:
        return replace(record, block=True)
    return replace(record, digest=hashlib.sha256(directory.files[file.source]).hexdigest())


def _record(
    file: File,
    directory: NodeDirectory,
    earlier: FileRecord | None,
    before: FileState | None,
    changes: list[FileWrite | Enable],
    *,
    was_here: bool,
) -> FileRecord:
    """Give what podlan has in the file from now on; `was_here`: what fits already may be an earlier podlan's."""
    record = recorded(file, directory)
    made = tuple(dict.fromkeys(path for change in changes for path in change.made))
    if earlier is not None:
        record = replace(record, created=earlier.created, mode=earlier.mode)
        made = (*earlier.made, *(path for path in made if path not in earlier.made))
    elif not record.digest:
        record = replace(record, created=before is None, mode=before.mode if before else 0)
    if earlier is not None and earlier.variable == record.variable:
        record = replace(record, assigned=earlier.assigned)
    elif record.variable and before is not None and (changes or not was_here):
        record = replace(record, assigned=assigned(before.content.decode(), record.variable))
    return replace(record, made=made)


def _emptied(plan: Plan, last: State, root: Root, gone: set[str]) -> Iterator[DirectoryRemove]:
    """Give the directories that podlan made for files that the plan has no more, and in which nothing is left."""
    wanted = [path for file in plan.files for path in (file.path, *_wants(file))]
    kept = {file.path for file in plan.files}
    made = {path for record in last.files if record.path not in kept for path in record.made}
    for path in sorted(made, key=lambda one: one.count("/"), reverse=True):
        names = root.names(path)
        if (
            names is not None
            and gone.issuperset(f"{path}/{name}" for name in names)
            and not any(one.startswith(f"{path}/") for one in wanted)
        ):
            gone.add(path)
            yield DirectoryRemove(root, path)


def _obsolete(record: FileRecord, plan: Plan, root: Root, findings: list[Finding]) -> Iterator[FileRemove | FileWrite]:
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
        left = merge_block(text, (), executable=False)
    else:
        left = unmerge_flags(text, record.variable, record.flags, record.assigned)
    if left == text:
        return
    if record.created and left in ("", "#!/bin/sh\n"):
        yield FileRemove(root, record.path, before)
        return
    mode = record.mode if record.mode and before.mode == record.mode | _EXECUTABLE else before.mode
    yield FileWrite(root, record.path, left.encode(), mode, before)
