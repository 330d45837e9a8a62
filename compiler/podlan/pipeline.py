"""The stages in their order: from a site's path to findings, and to files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan import rules
from podlan.addressing import Allocation, Ground, Lock, allocate, read_lock, survey
from podlan.diagnostics import Finding, has_errors
from podlan.inventory import Site, load
from podlan.output import CannotWrite, Difference, Staged, compare, refuse_nesting, turn, write_durably
from podlan.planning import blueprint
from podlan.render import render
from podlan.source import CannotRead, Source, read_site

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


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
        return self.allocation is not None and self.allocation.lock != self.lock


@dataclass(slots=True)
class Compiled:
    """What compiling gave: the judged site, the content of every node's directory, and what differed on disk."""

    checked: Checked
    nodes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    difference: Difference = field(default_factory=Difference)


def check(path: Path, *, move: Collection[str] = frozenset(), release: Collection[str] = frozenset()) -> Checked:
    """Read a site and its lock, run every rule and allocate; writes nothing.

    `move` names nodes that give up what the lock holds for them, `release` nodes whose quarantine ends.
    Raises CannotRead for what the operating system refuses.
    """
    source = read_site(path)
    checked = Checked(source, list(source.findings))
    site, shape = load(source)
    checked.findings += shape
    lock_findings = _read_lock(checked)
    checked.findings += lock_findings
    if site is None:
        return checked
    grounds = survey(site)
    checked.findings += rules.run(site, grounds)
    checked.findings += _unknown_nodes(site, move)
    if checked.failed:
        return checked
    checked.site = site
    checked.findings += _meta(site, checked.lock, source)
    checked.allocation = _allocate(site, grounds, checked.lock, move, release)
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


def _unknown_nodes(site: Site, move: Collection[str]) -> list[Finding]:
    known = {node.name for node in site.nodes}
    return [
        Finding("PL507", f"there is no node {name} to move", hint="--move takes a node of the inventory")
        for name in sorted(set(move) - known)
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


def _allocate(
    site: Site, grounds: dict[str, Ground], lock: Lock, move: Collection[str], release: Collection[str]
) -> Allocation:
    if release:
        kept = frozenset(entry for entry in lock.quarantine if entry[1] not in release)
        lock = Lock(lock.meta, lock.slices, lock.shims, kept, lock.places)
    return allocate(site, grounds, lock, move=move)


def compile_site(
    path: Path, out: Path, *, move: Collection[str] = frozenset(), locked: bool = False, write: bool = True
) -> Compiled:
    """Compile a site into `out` and bring its lock up to date.

    Nothing is written when there is an error, when `write` is false, or when `locked` and the lock would
    change; the caller sees that in the result. The order of writing is: everything staged, then the lock,
    then the tree; so a full disk changes nothing, and no tree ever speaks of slices that the lock forgot.
    Raises OutputInsideSite, CannotRead, CannotWrite and Busy.
    """
    refuse_nesting(out, path)
    with ExitStack() as stack:
        if write:
            stack.enter_context(turn(Source(path).lock_path.parent))
        checked = check(path, move=move)
        compiled = Compiled(checked)
        if checked.failed or checked.site is None or checked.allocation is None:
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


def release(path: Path, nodes: Collection[str]) -> Checked:
    """End the quarantine of what the named nodes once held, and write the lock."""
    with turn(Source(path).lock_path.parent):
        checked = check(path, release=nodes)
        if not checked.failed:
            write_lock(checked)
    return checked


def write_lock(checked: Checked) -> None:
    """Write the lock that an allocation asks for, where it differs from the file."""
    path = checked.source.lock_path
    if checked.allocation is not None:
        text = checked.allocation.lock.text()
        if checked.source.texts.get(str(path)) != text:
            write_durably(path, text.encode())
