"""The stages in their order: from a site's path to findings, and to files."""

from __future__ import annotations

import math
import stat
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from podlan import rules, shares
from podlan.addressing import NETWORK, Allocation, Decisions, Lock, allocate, networks, read_lock, renamed, survey
from podlan.diagnostics import Exit, Finding, PodlanError, has_errors, has_warnings
from podlan.inventory import Site, load
from podlan.output import (
    CannotWrite,
    Difference,
    Staged,
    compare,
    marker,
    refuse_lost_lock,
    refuse_nesting,
    refuse_other_site,
    remove_leftovers,
    turn,
    write_durably,
)
from podlan.planning import blueprint
from podlan.render import OwnFiles, artifacts, render, render_cluster
from podlan.source import CannotRead, Source, line_times, read_site, text_at
from podlan.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from podlan.inventory import ResolvedNode
    from podlan.render import Artifact
    from podlan.source import KeyPath

    Tree = tuple[str, dict[str, bytes]]
    Follow = Callable[[Iterable[Tree], int], Iterable[Tree]]

NOTHING_DECIDED = Decisions()
_WORTH_A_PROCESS = 500
"""Nodes that take longer than what a process more costs to begin and to hear, several times over."""
_OF_NODES = frozenset({"slice", "shim", "quarantine"})
"""The first words of the lock's lines whose third is a node."""


class BadBase(PodlanError):
    """The lock of the revision that --base names cannot be read."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, revision: str, problem: str) -> None:
        super().__init__(revision, problem)
        self.revision = revision
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot use {self.revision} as base: {self.problem}"


class UnknownNode(PodlanError):
    """A node to release that neither the lock nor the site has: a slip of the pen."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, node: str, lock: Path) -> None:
        super().__init__(node, lock)
        self.node = node
        self.lock = lock

    def __str__(self) -> str:
        return f"neither {self.lock} nor its site knows a node {self.node}; nothing was released"


@dataclass
class Checked:
    """A site that was read and judged. Where `findings` hold an error, what comes after it is None or empty."""

    source: Source
    findings: list[Finding] = field(default_factory=list)
    site: Site | None = None
    lock: Lock = field(default_factory=Lock)
    allocation: Allocation | None = None
    own: dict[str, list[Artifact]] = field(default_factory=dict)
    """The site's own files, by node: rendered before anything is written, since a template may be broken."""

    @property
    def failed(self) -> bool:
        """Tell whether any finding is an error."""
        return has_errors(self.findings)

    @cached_property
    def lock_text(self) -> str:
        """The lock as it should be; nothing where there is no allocation."""
        return self.allocation.lock.text() if self.allocation is not None else ""

    @property
    def lock_changes(self) -> bool:
        """Tell whether compiling would change the lock."""
        text = self.source.texts.get(str(self.source.lock_path))
        return self.allocation is not None and self.lock_text != text


@dataclass
class Compiled:
    """What compiling gave: the judged site, and what differed on disk."""

    checked: Checked
    failed: bool = False
    difference: Difference = field(default_factory=Difference)

    @cached_property
    def trees(self) -> dict[str, dict[str, bytes]]:
        """The files of every directory of the output, by its name there: rendered for who wants them all at once."""
        return {} if self.failed else dict(*rendered(self.checked, 1))

    @property
    def nodes(self) -> dict[str, dict[str, bytes]]:
        """Every node's files, by the node's name."""
        return {name.removeprefix("nodes/"): files for name, files in self.trees.items() if name != "cluster"}

    @property
    def cluster(self) -> dict[str, bytes]:
        """The files of the cluster."""
        return self.trees.get("cluster", {})


def check(path: Path, decisions: Decisions = NOTHING_DECIDED, timings: Timings | None = None) -> Checked:
    """Read a site and its lock, run every rule and allocate; writes nothing.

    Raises CannotRead for what the operating system refuses.
    """
    checked = _judged(path, decisions, timings or Timings())
    checked.findings = rules.silenced(checked.source, checked.findings, rules.explanations())
    return checked


def _judged(path: Path, decisions: Decisions, timings: Timings) -> Checked:
    with timings.stage("read"):
        source = read_site(path)
        lock, locked = _read_lock(source.lock_path, source.texts)
    with timings.stage("shape"):
        site, shape = load(source)
    checked = Checked(source, [*source.findings, *shape, *locked], lock=lock)
    if site is None:
        return checked
    with timings.stage("rules"):
        grounds = survey(site)
        checked.findings += rules.run(site, grounds)
        if any(node.files for node in site.nodes):
            checked.findings += _templates(site, source)
        checked.findings += _unknown_nodes(site, decisions)
        checked.findings += _emptied(site, checked.lock)
    if checked.failed:
        return checked
    checked.site = site
    with timings.stage("allocate"):
        checked.findings += _meta(site, checked.lock, source)
        checked.allocation = allocate(site, grounds, checked.lock, decisions)
        checked.findings += checked.allocation.findings
    if not checked.failed:
        with timings.stage("rules"):
            checked.findings += rules.judge(site, checked.allocation)
    if not checked.failed and any(node.files for node in site.nodes):
        with timings.stage("templates"):
            checked.findings += _render_own(checked, site, checked.allocation)
    return checked


def _templates(site: Site, source: Source) -> list[Finding]:
    """Keep the templates' texts among those of the site's files, and give what is wrong with reading them."""
    templates = site.templates
    source.texts.update((templates.files[name], text) for name, text in templates.texts.items())
    return templates.findings


def _render_own(checked: Checked, site: Site, allocation: Allocation) -> list[Finding]:
    own = OwnFiles(site)
    for node in site.nodes:
        if node.files:
            plan = blueprint(site, node, allocation)
            checked.own[node.name] = list(own.render(plan, [one.file for one in artifacts(plan)]))
    return own.findings


def _read_lock(path: Path, texts: dict[str, str]) -> tuple[Lock, list[Finding]]:
    """Read the lock, and keep its text among those of the site's files."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe may wait for ever
            return Lock(), [Finding("PL501", f"{path} is not a regular file", hint="restore it from version control")]
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock(), []
    except UnicodeDecodeError:
        return Lock(), [Finding("PL501", f"{path} is not UTF-8 text", hint="restore it from version control")]
    except OSError as error:
        raise CannotRead(path, error.strerror or str(error)) from error
    texts[str(path)] = text
    return read_lock(str(path), text)


def _unknown_nodes(site: Site, decisions: Decisions) -> list[Finding]:
    known = {node.name for node in site.nodes}
    told = (("move", decisions.move), ("keep", decisions.keep), ("shrink", decisions.shrink))
    return [
        Finding("PL507", f"there is no node {name} to {what}", hint=f"--{what} takes a node of the inventory")
        for what, names in told
        for name in sorted(names - known)
    ]


def _emptied(site: Site, lock: Lock) -> list[Finding]:
    """Refuse a site without nodes whose lock still has some: far more often a file got lost than a site ends."""
    holders = {node for _, node in lock.slices}
    if site.nodes or not holders:
        return []
    count = f"{len(holders)} node{'s' * (len(holders) != 1)}"
    message = f"the site has no nodes, but the lock holds slices of {count}"
    hint = "if the site really ends, delete podlan.lock, and the output with it"
    return [Finding("PL510", message, site.place(("nodes",), key=True), hint=hint)]


def _meta(site: Site, lock: Lock, source: Source) -> list[Finding]:
    """Refuse what the lock is not of: another network name or dataDir, another site."""
    cni = site.inventory.cni
    anew = "host-local would give living addresses again"
    keep = "keep it; or, when no pod of this network is alive, delete the line from podlan.lock"
    one = "two sites in one directory would share a lock"
    apart = "give each site a directory of its own; or, if the site was renamed, delete the line from podlan.lock"
    written: tuple[tuple[KeyPath, str, str, str, str], ...] = (
        (("cni", "name"), str(cni.name), "cni.name is {}, but the lock says {}", anew, keep),
        (("cni", "dataDir"), cni.data_dir, "cni.dataDir is {}, but the lock says {}", anew, keep),
        (("site",), site.name, "the site is {}, but the lock is of site {}", one, apart),
    )
    findings = []
    for path, value, message, why, hint in written:
        key = str(path[-1])
        locked = lock.meta.get(key)
        if locked is not None and locked != value:
            place = source.place(path, key=not source.has(path))
            also = lock.places.get(("meta", key))
            shown = (also.labelled("locked here"),) if also else ()
            findings.append(Finding("PL506", f"{message.format(value, locked)}: {why}", place, hint=hint, also=shown))
    return [*findings, *_networks(site, lock)]


def _networks(site: Site, lock: Lock) -> Iterator[Finding]:
    """Refuse another network for a subnet whose addresses the lock remembers: its pool would begin anew."""
    now, before = networks(site), renamed(lock, site)
    known = {subnet for subnet, _ in before.slices} | {entry.subnet for entry in before.quarantine}
    for subnet in sorted(known & now.keys()):
        ((name, master), *_) = now[subnet].items()
        locked = before.meta.get(f"{NETWORK}{subnet}", lock.meta.get("name", name))
        is_told = locked == lock.meta.get("name") and name == site.inventory.cni.name  # PL506 of cni.name
        if name != locked and not is_told:
            at = lock.places.get(("meta", f"{NETWORK}{subnet}"))
            message = f"pods get addresses of {subnet} in the network {name}, but the lock says {locked}"
            yield Finding(
                "PL506",
                f"{message}: host-local would give living addresses again",
                site.place(("masters", master), key=True),
                hint="keep the masters as they were; or, when no pod of that subnet is alive, delete its lines from "
                "podlan.lock",
                also=(at.labelled("locked here"),) if at else (),
            )


def compile_site(
    path: Path,
    out: Path,
    decisions: Decisions = NOTHING_DECIDED,
    *,
    locked: bool = False,
    strict: bool = False,
    write: bool = True,
    jobs: int | None = None,
    timings: Timings | None = None,
    follow: Follow | None = None,
) -> Compiled:
    """Compile a site into `out` and bring its lock up to date.

    Nothing is written when there is an error (or a warning, where `strict`), when `write` is false, or when
    `locked` and the lock would change; the caller sees that in the result. The order of writing is: everything
    judged and staged, then the lock, then the tree; so a full disk or a thing in the way changes nothing, and no
    tree ever speaks of slices that the lock forgot.
    `jobs` processes render, compare and stage; left out, as many as pay. `follow` passes on the directories of one of
    them, and is told how many will come.
    Raises ShareLost, OutputInsideSite, OtherSite, LostLock, CannotRead, CannotWrite and Busy.
    """
    timings = timings or Timings()
    refuse_nesting(out, path)
    lock_path = Source(path).lock_path
    with ExitStack() as stack:
        is_there = out.is_dir()
        if write:
            stack.enter_context(turn(lock_path.parent, *([out] if is_there else [])))
        checked = check(path, decisions, timings)
        name = checked.source.get(("site",))
        if isinstance(name, str):
            refuse_other_site(out, name)
        refuse_lost_lock(lock_path, out)
        compiled = Compiled(checked, checked.failed or (strict and has_warnings(checked.findings)))
        if compiled.failed:
            return compiled
        first, *others = rendered(checked, jobs)
        if follow is not None and checked.site is not None:
            first = iter(follow(first, len(checked.site.nodes) // (1 + len(others)) + 1))
        parts = [timings.each("render", first), *others]
        if not write or (locked and checked.lock_changes):
            compiled.difference = compare(out, parts, marker(name), timings)
            return compiled
        if not is_there:
            _make_directory(out)
            stack.enter_context(turn(out))
        with Staged(out, parts, marker(name), timings) as staged:
            compiled.difference = staged.difference
            with timings.stage("write"):
                _write_lock(checked)
                staged.commit()
    return compiled


def compile_apart(path: Path, out: Path) -> Compiled:
    """Compile a site into a directory that lasts no longer than a trial, and leave its lock as it is."""
    checked = check(path)
    compiled = Compiled(checked, checked.failed)
    if not compiled.failed:
        _make_directory(out)
        with Staged(out, rendered(checked)) as staged:
            compiled.difference = staged.difference
            staged.commit()
    return compiled


def rendered(checked: Checked, jobs: int | None = None) -> list[Iterator[Tree]]:
    """Plan and render an output, in parts for `jobs` processes; each gives its directories one after the other.

    A directory is (name there, {relative path: content}). None is kept, since those of 10,000 nodes do not fit into the
    memory of a small machine.
    """
    count = len(checked.site.nodes) if checked.site is not None else 0
    jobs = min(jobs, count) if jobs else min(shares.processors(), shares.MOST, count // _WORTH_A_PROCESS)
    return [_part(checked, number, max(jobs, 1)) for number in range(max(jobs, 1))]


def _part(checked: Checked, number: int, jobs: int) -> Iterator[Tree]:
    if checked.site is None or checked.allocation is None:
        return
    if not number:
        yield "cluster", render_cluster(checked.site)
    nodes = checked.site.nodes
    # A run of nodes each: what lies together in memory is then touched, and so copied, by one process only.
    for node in nodes[number * len(nodes) // jobs : (number + 1) * len(nodes) // jobs]:
        yield f"nodes/{node.name}", _node(checked, checked.site, node, checked.allocation)


def rendered_node(checked: Checked, name: str) -> dict[str, bytes]:
    """Plan and render one node of a site that has no errors. Raises KeyError."""
    if checked.site is None or checked.allocation is None:
        raise KeyError(name)
    return _node(checked, checked.site, checked.site.node(name), checked.allocation)


def _node(checked: Checked, site: Site, node: ResolvedNode, allocation: Allocation) -> dict[str, bytes]:
    return render(blueprint(site, node, allocation), checked.own.get(node.name, ()))


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(out, error.strerror or str(error)) from error


def _write_lock(checked: Checked) -> None:
    path = checked.source.lock_path
    remove_leftovers(path)
    if checked.lock_changes:
        write_durably(path, checked.lock_text.encode())


class Freed(NamedTuple):
    """An entry of the quarantine that ended; `item` is written as the lock does."""

    subnet: str
    node: str
    item: str


@dataclass(frozen=True, slots=True)
class Released:
    """What a release ended, or the findings about the lock, in `texts`, that stand against it."""

    findings: list[Finding]
    texts: dict[str, str]
    freed: list[Freed] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Tell whether the lock cannot be used, and so was left as it is."""
        return has_errors(self.findings)


def release(path: Path, nodes: Collection[str], *, before: float | None = None) -> Released:
    """End the quarantine of what the named nodes once held (of all, if none is named): take its lines off the lock.

    With `before`, seconds since 1970, only of what stands in the lock since before then, by git's history. All
    other lines stay as they are, and the inventory is asked for nothing but the names that the lock does not know.
    Raises UnknownNode, CannotRead, CannotWrite, Busy, and GitFailed where git cannot tell.
    """
    lock_path = Source(path).lock_path
    with turn(lock_path.parent):
        texts: dict[str, str] = {}
        _, findings = _read_lock(lock_path, texts)
        if has_errors(findings):
            return Released(findings, texts)
        lines = texts.get(str(lock_path), "").splitlines()
        _refuse_unknown(path, nodes, lines)
        times = {} if before is None else line_times(lock_path)
        kept = []
        freed = set()
        for line in lines:
            kind, *words = line.split(" ")
            is_old = before is None or times.get(line, math.inf) < before
            if kind == "quarantine" and is_old and (not nodes or words[1] in nodes):
                freed.add(Freed(*words))
            else:
                kept.append(line)
        remove_leftovers(lock_path)
        if freed:
            write_durably(lock_path, "".join(f"{line}\n" for line in kept).encode())
    return Released(findings, texts, sorted(freed))


def _refuse_unknown(path: Path, nodes: Collection[str], lines: list[str]) -> None:
    held = {words[2] for words in (line.split() for line in lines) if words[0] in _OF_NODES}
    unknown = sorted(set(nodes) - held)
    if unknown:
        written = read_site(path).get(("nodes",))
        for node in unknown:
            if not isinstance(written, dict) or node not in written:
                raise UnknownNode(node, Source(path).lock_path)


def base_lock(path: Path, revision: str) -> Lock:
    """Read the lock of another revision. Raises GitFailed, and BadBase where that lock cannot be read."""
    lock_path = Source(path).lock_path
    lock, findings = read_lock(f"{revision}:{lock_path.name}", text_at(lock_path, revision))
    if has_errors(findings):
        raise BadBase(revision, findings[0].message)
    return lock
