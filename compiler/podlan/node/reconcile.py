"""The road of a run: lock, read, observe, preflight, diff, apply, verify, remember."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit
from podlan.node import release, services, state, verify
from podlan.node._errors import NotReady, Refused, RollbackFailed, RolledBack, Stopped, Unusable
from podlan.node._kernel import Kernel
from podlan.node.altnames import by_own_names
from podlan.node.apply import apply, deferred, roll_back
from podlan.node.copy import KeepCopy, is_kept, recover
from podlan.node.diff import diff
from podlan.node.directory import load
from podlan.node.filediff import file_changes
from podlan.node.files import Root
from podlan.node.lock import turn
from podlan.node.observe import Observed, observe
from podlan.node.preflight import another_node, exit_code, missing_privileges, preflight
from podlan.node.release import Install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.filediff import FileChanges
    from podlan.node.operations import Operation
    from podlan.node.release import Supply
    from podlan.node.state import State
    from podlan.plan import Plan

_POLL = 0.1  # seconds between two looks while waiting for the operating system


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes.

    `preview` changes nothing and takes no lock; `wait` seconds for what is not ready; `rename`: this machine may have
    been another node; `patience`: seconds to wait for another run to end.
    """

    root: str = "/"
    wait: float = 0.0
    preview: bool = False
    restart: bool = True
    rename: bool = False
    patience: float = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, or in a preview would do: the operations' texts in order, and what there is to say.

    `pending` are the commands that the next run gives: units that an earlier one, or this, could not restart, and
    plugins that could not be had.
    """

    node: str
    operations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    restarted: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Tell whether there was anything to change."""
        return bool(self.operations)

    @property
    def exit_code(self) -> int:
        """Give how the command ends on it."""
        return exit_code(list(self.findings)) or Exit.DONE

    @property
    def idle(self) -> bool:
        """Tell whether there was nothing to do, and nothing is left to do."""
        return not (self.operations or self.restarted or self.by_hand or self.pending)


@dataclass(frozen=True, slots=True)
class _Run:
    directory: NodeDirectory
    last: State
    root: Root
    kernel: Kernel
    unfinished: bool
    held: str = ""

    def look(self) -> Observed:
        plan, last = self.directory.plan, self.last
        names = dict.fromkeys(name for link in plan.links for name in (link.name, link.master) if name) | dict.fromkeys(
            [
                *last.links,
                *last.promisc,
                *(link for link, _ in last.addresses),
                *(key.partition(" ")[0] for key in last.metrics),
                *(route.link for route in (*last.routes, *last.displaced)),
                *(link for link, _ in last.altnames),
            ]
        )
        promote = [f"net/ipv4/conf/{link.name}/promote_secondaries" for link in plan.links if link.kind == "macvlan"]
        further = [name for link in plan.links for name in ((link.name,) if link.kind == "macvlan" else link.altnames)]
        return observe(self.kernel, names, dict.fromkeys([*plan.sysctls, *last.sysctls, *promote]), further)

    def by_own_names(self) -> _Run:
        """Give the run with the masters by the names that the kernel shows, as soon as they are there."""
        plan = by_own_names(self.directory.plan, self.kernel)
        return self if plan is self.directory.plan else replace(self, directory=replace(self.directory, plan=plan))

    def compare(self, observed: Observed) -> tuple[Operation, ...]:
        return diff(self.directory.plan, self.last, observed, unfinished=self.unfinished)


def reconcile(path: str, options: Options, read: Callable[[str], NodeDirectory] = load) -> Result:
    """Make this node match the directory; raises a PodlanError that says why it does not, with nothing changed.

    `read` gives the directory, once it is this run's turn.
    """
    root = Root(options.root)
    with contextlib.nullcontext() if options.preview else turn(root, options.patience):
        if not options.preview:
            recover(root)
        directory = read(path)
        if not options.preview:
            _stop_on(list(missing_privileges()))
        last, unfinished = state.recall(root), state.is_unfinished(root)
        try:
            with Kernel(root) as kernel:
                return _reconcile(_Run(directory, last, root, kernel, unfinished), options)
        except OSError as error:  # while looking: what fails while changing is rolled back, and told by its own class
            raise Unusable("cannot look at this node", error) from error


def _reconcile(run: _Run, options: Options) -> Result:
    until = time.monotonic() + options.wait
    files = file_changes(run.directory, run.last, run.root)
    run, observed, findings = _ready(run, files, options, until)
    network = run.compare(observed)
    supply = release.supply(run.directory.plan, run.last, run.root, until, preview=options.preview)
    run = replace(run, held=_held(run.directory.plan, supply))
    changes = _unheld(files.operations, run.held)
    keep = () if is_kept(run.root, run.directory) else (KeepCopy(run.root, run.directory),)
    # The plugins come before the file that makes the runtime call them.
    operations: tuple[Operation, ...] = (*network, *supply.operations, *changes, *keep)
    result = Result(
        run.directory.plan.node,
        tuple(str(operation) for operation in operations),
        (*findings, *supply.findings),
        pending=supply.pending,
    )
    if options.preview:
        return replace(result, pending=(*result.pending, *services.commands(run.last.restart)))
    intent = _intent(run, files, operations)
    if operations:
        _stop_on(list(verify.taken(operations, run.directory.plan, run.last, observed)))
        doubts = _change(run, observed, operations, intent)
        result = replace(result, findings=(*result.findings, *doubts))
    for copy in keep:
        copy.forget()
    return _settle(run, files, intent, result, options, supply)


def _held(plan: Plan, supply: Supply) -> str:
    """Give the path that is left alone: without its plugins, the CNI file would only make every pod fail."""
    return plan.cni.file if plan.cni is not None and supply.missing else ""


def _unheld(operations: Iterable[Operation], held: str) -> tuple[Operation, ...]:
    return tuple(operation for operation in operations if not held or getattr(operation, "path", None) != held)


def _ready(run: _Run, files: FileChanges, options: Options, until: float) -> tuple[_Run, Observed, tuple[Finding, ...]]:
    """Look until nothing is missing that only time can bring, for at most `wait` seconds."""
    first = [] if options.rename else list(another_node(run.directory.plan, run.last))
    first += _around(run)
    while True:
        run = run.by_own_names()
        observed = run.look()
        findings = [*first, *preflight(run.directory.plan, run.last, observed, run.root), *files.findings]
        if exit_code(findings) != Exit.NOT_READY or time.monotonic() >= until:
            _stop_on(findings, options.wait)
            return run, observed, tuple(findings)
        time.sleep(_POLL)


def _around(run: _Run) -> list[Finding]:
    """Give what there is to say of others' files that decide about pods, as far as the plan is about pods at all."""
    findings: list[Finding] = []
    if run.directory.plan.cni is not None:
        from podlan.node.cnifiles import cni_findings  # noqa: PLC0415 - each costs some milliseconds

        findings += cni_findings(run.directory, run.last, run.root)
    if run.directory.plan.runtime is not None:
        from podlan.node.runtime import runtime_findings  # noqa: PLC0415 - as above

        findings += runtime_findings(run.directory, run.last, run.root)
    return findings


def _stop_on(findings: list[Finding], waited: float = 0.0) -> None:
    code = exit_code(findings)
    if code is None:
        return
    errors = [found for found in findings if exit_code([found]) is not None]
    if code == Exit.NOT_READY:
        raise NotReady(errors, waited)
    raise {Exit.FAILED: Refused}.get(code, Stopped)(errors)


def _intent(run: _Run, files: FileChanges, operations: tuple[Operation, ...]) -> State:
    changed = [path for operation in files.operations if (path := getattr(operation, "path", None))]
    waiting = services.pending([*run.last.restart, *files.restart], changed)
    installs = [operation for operation in operations if isinstance(operation, Install)]
    return replace(
        state.intended(run.last, run.directory.plan, files.records, operations),
        binaries=release.intended(run.last, installs),
        restart=tuple(dict.fromkeys([*run.last.restart, *waiting])),
    )


def _change(run: _Run, observed: Observed, operations: tuple[Operation, ...], intent: State) -> tuple[Finding, ...]:
    """Do the operations and verify them; on any failure all is taken back, and the state with it."""
    answered = verify.answering(run.directory.plan, observed)
    with deferred() as signals, _remembered(run, intent, operations):
        apply(operations, run.kernel, signals)
        try:
            left = (*diff(run.directory.plan, run.last, run.look()), *_left_files(run), *_left_binaries(operations))
            verify.require(left, answered)
        except OSError as error:
            roll_back(operations, run.kernel, "verification", error.strerror or str(error))
        return tuple(verify.doubtful(operations, answered))


def _left_files(run: _Run) -> tuple[Operation, ...]:
    return _unheld(file_changes(run.directory, run.last, run.root).operations, run.held)


def _left_binaries(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    return tuple(operation for operation in operations if isinstance(operation, Install) and not operation.is_kept())


@contextlib.contextmanager
def _remembered(run: _Run, intent: State, operations: tuple[Operation, ...]) -> Iterator[None]:
    if run.unfinished:
        _clean(run)
    state.open_journal(run.root, operations)
    try:
        state.remember(run.root, intent)
        yield
    except RollbackFailed:
        raise  # journal and intent stay: the next run finishes
    except (RolledBack, Unusable):
        if not run.unfinished:
            state.close_journal(run.root)
            if intent != run.last:
                state.remember(run.root, run.last)
        raise


def _clean(run: _Run) -> None:
    plan = run.directory.plan
    binaries = [f"{plan.release.directory}/{name}" for name in plan.release.names] if plan.release else []
    for path in [*(file.path for file in plan.files), *(record.path for record in run.last.files), *binaries]:
        run.root.clean(path)


def _settle(run: _Run, files: FileChanges, intent: State, result: Result, options: Options, supply: Supply) -> Result:
    """Remember the end of the run; units restart after that, and are remembered as waiting until they have."""
    plan = run.directory.plan
    final = replace(
        state.settled(intent, plan, files.records),
        binaries=release.settled(plan, run.last, supply.operations, run.root),
    )
    if result.changed or final != run.last:  # a run with changes left its intent on the disk
        state.remember(run.root, final)
    if result.changed or run.unfinished:
        state.close_journal(run.root)
    if not final.restart:
        return result
    restarts = services.restart(final.restart, run.root, allowed=options.restart)
    if restarts.pending != final.restart:
        state.remember(run.root, replace(final, restart=restarts.pending))
    return replace(
        result,
        findings=(*result.findings, *restarts.findings),
        restarted=restarts.done,
        by_hand=restarts.by_hand,
        pending=(*result.pending, *services.commands(restarts.pending)),
    )
