"""The stages in their order: from a site's path to findings, and to files."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from podlan import rules
from podlan.addressing import Allocation, Decisions, Lock, Range, allocate, read_lock, survey
from podlan.diagnostics import Exit, Finding, PodlanError, has_errors, has_warnings
from podlan.inventory import Site, load
from podlan.output import CannotWrite, Difference, Staged, compare, refuse_nesting, turn, write_durably
from podlan.planning import blueprint
from podlan.render import render
from podlan.source import CannotRead, Source, line_times, read_site, text_at

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


NOTHING_DECIDED = Decisions()


class BadBase(PodlanError):
    """The lock of the revision that --base names cannot be read."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, revision: str, problem: str) -> None:
        super().__init__(revision, problem)
        self.revision = revision
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot use {self.revision} as base: {self.problem}"


@dataclass(slots=True)
class Checked:
    """A site that was read and judged. Where `findings` hold an error, what comes after it is None or empty."""

    source: Source
    findings: list[Finding] = field(default_factory=list)
    site: Site | None = None
    lock: Lock = field(default_factory=Lock)
    allocation: Allocation | None = None

    @property
    def failed(self) -> bool:
        """Tell whether any finding is an error."""
        return has_errors(self.findings)

    @property
    def lock_changes(self) -> bool:
        """Tell whether compiling would change the lock."""
        text = self.source.texts.get(str(self.source.lock_path))
        return self.allocation is not None and self.allocation.lock.text() != text


@dataclass(slots=True)
class Compiled:
    """What compiling gave: the judged site, the content of every node's directory, and what differed on disk."""

    checked: Checked
    failed: bool = False
    nodes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    difference: Difference = field(default_factory=Difference)


def check(
    path: Path, decisions: Decisions = NOTHING_DECIDED, *, released: Collection[tuple[str, str, Range]] = ()
) -> Checked:
    """Read a site and its lock, run every rule and allocate; writes nothing.

    `released` are entries of the quarantine, (subnet, node, range), that end now. Raises CannotRead for what the
    operating system refuses.
    """
    source = read_site(path)
    checked = Checked(source, list(source.findings))
    site, shape = load(source)
    checked.findings += shape
    checked.findings += _read_lock(checked)
    if site is None:
        return checked
    grounds = survey(site)
    checked.findings += rules.run(site, grounds)
    checked.findings += _unknown_nodes(site, decisions)
    if checked.failed:
        return checked
    checked.site = site
    checked.findings += _meta(site, checked.lock, source)
    lock = replace(checked.lock, quarantine=checked.lock.quarantine - frozenset(released))
    checked.allocation = allocate(site, grounds, lock, decisions)
    checked.findings += checked.allocation.findings
    return checked


def _read_lock(checked: Checked) -> list[Finding]:
    path = checked.source.lock_path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        return [Finding("PL501", f"{path} is not UTF-8 text", hint="restore it from version control")]
    except OSError as error:
        raise CannotRead(path, error.strerror or str(error)) from error
    checked.source.texts[str(path)] = text
    checked.lock, findings = read_lock(str(path), text)
    return findings


def _unknown_nodes(site: Site, decisions: Decisions) -> list[Finding]:
    known = {node.name for node in site.nodes}
    told = (("move", decisions.move), ("keep", decisions.keep), ("shrink", decisions.shrink))
    return [
        Finding("PL507", f"there is no node {name} to {what}", hint=f"--{what} takes a node of the inventory")
        for what, names in told
        for name in sorted(names - known)
    ]


def _meta(site: Site, lock: Lock, source: Source) -> list[Finding]:
    """Refuse another network name or dataDir: host-local would open a fresh pool under living pods."""
    cni = site.inventory.cni
    findings = []
    for key, value in (("name", cni.name), ("dataDir", cni.data_dir)):
        locked = lock.meta.get(key)
        if locked is not None and locked != value:
            place = source.place(("cni", key), key=not source.has(("cni", key)))
            also = lock.places.get(("meta", key))
            findings.append(
                Finding(
                    "PL506",
                    f"cni.{key} is {value}, but the lock says {locked}: host-local would give living addresses again",
                    place,
                    hint="keep it; or, when no pod of this network is alive, delete the line from podlan.lock",
                    also=(also.labelled("locked here"),) if also else (),
                )
            )
    return findings


def compile_site(
    path: Path,
    out: Path,
    decisions: Decisions = NOTHING_DECIDED,
    *,
    locked: bool = False,
    strict: bool = False,
    write: bool = True,
) -> Compiled:
    """Compile a site into `out` and bring its lock up to date.

    Nothing is written when there is an error (or a warning, where `strict`), when `write` is false, or when
    `locked` and the lock would change; the caller sees that in the result. The order of writing is: everything
    staged, then the lock, then the tree; so a full disk changes nothing, and no tree ever speaks of slices that
    the lock forgot.
    Raises OutputInsideSite, CannotRead, CannotWrite and Busy.
    """
    refuse_nesting(out, path)
    with ExitStack() as stack:
        if write:
            stack.enter_context(turn(Source(path).lock_path.parent))
        checked = check(path, decisions)
        compiled = Compiled(checked, checked.failed or (strict and has_warnings(checked.findings)))
        if compiled.failed or checked.site is None or checked.allocation is None:
            return compiled
        for node in checked.site.nodes:
            compiled.nodes[node.name] = render(blueprint(checked.site, node, checked.allocation))
        if write and not (locked and checked.lock_changes):
            _make_directory(out)
            stack.enter_context(turn(out))
            compiled.difference = compare(out, compiled.nodes)
            _write(out, compiled)
        else:
            compiled.difference = compare(out, compiled.nodes)
    return compiled


def compile_apart(path: Path, out: Path) -> Compiled:
    """Compile a site into `out` and leave its lock as it is: for a trial whose addresses nobody keeps."""
    refuse_nesting(out, path)
    compiled = compile_site(path, out, write=False)
    if compiled.nodes:
        _make_directory(out)
        Staged(out, compiled.nodes, compiled.difference).commit()
    return compiled


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(out, error.strerror or str(error)) from error


def _write(out: Path, compiled: Compiled) -> None:
    staged = Staged(out, compiled.nodes, compiled.difference) if compiled.difference else None
    try:
        write_lock(compiled.checked)
    except CannotWrite:
        if staged is not None:
            staged.discard()
        raise
    if staged is not None:
        staged.commit()


def release(path: Path, nodes: Collection[str], *, before: float | None = None) -> Checked:
    """End the quarantine of what the named nodes once held (of all, if none is named), and write the lock.

    With `before`, seconds since 1970, only of what stands in the lock since before then, by git's history. Raises
    GitFailed where git cannot tell.
    """
    lock_path = Source(path).lock_path
    with turn(lock_path.parent):
        times = {} if before is None else line_times(lock_path)
        quarantine = check(path).lock.quarantine
        chosen = [
            entry
            for entry in quarantine
            if (not nodes or entry[1] in nodes) and (before is None or _since(entry, times) < before)
        ]
        checked = check(path, released=chosen)
        if not checked.failed:
            write_lock(checked)
    return checked


def _since(entry: tuple[str, str, Range], times: dict[str, int]) -> float:
    subnet, node, item = entry
    return times.get(f"quarantine {subnet} {node} {item.text}", math.inf)


def base_lock(path: Path, revision: str) -> Lock:
    """Read the lock of another revision. Raises GitFailed, and BadBase where that lock cannot be read."""
    lock_path = Source(path).lock_path
    lock, findings = read_lock(f"{revision}:{lock_path.name}", text_at(lock_path, revision))
    if has_errors(findings):
        raise BadBase(revision, findings[0].message)
    return lock


def write_lock(checked: Checked) -> None:
    """Write the lock that an allocation asks for, where it differs from the file."""
    path = checked.source.lock_path
    if checked.allocation is not None:
        text = checked.allocation.lock.text()
        if checked.source.texts.get(str(path)) != text:
            write_durably(path, text.encode())
