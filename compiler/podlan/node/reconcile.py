"""The road of a run: lock, read, observe, preflight, diff, apply, verify, remember."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit
from podlan.node import services, state, verify
from podlan.node._errors import NotReady, Refused, RollbackFailed, RolledBack, Stopped, Unusable
from podlan.node._kernel import Kernel
from podlan.node.apply import apply, deferred, roll_back
from podlan.node.copy import KeepCopy, is_kept, recover
from podlan.node.diff import diff
from podlan.node.directory import load
from podlan.node.filediff import file_changes
from podlan.node.files import Root
from podlan.node.lock import turn
from podlan.node.observe import Observed, observe
from podlan.node.preflight import another_node, exit_code, missing_privileges, preflight

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.filediff import FileChanges
    from podlan.node.operations import Operation
    from podlan.node.state import State

_LOCK_SECONDS = 30.0
_POLL = 0.1  # seconds between two looks while waiting for the operating system


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes.

    `preview` changes nothing and takes no lock; `wait` seconds for what is not ready; `rename`: this machine may have
    been another node.
    """

    root: str = "/"
    wait: float = 0.0
    preview: bool = False
    restart: bool = True
    rename: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, or in a preview would do: the operations' texts in order, and what there is to say.

    `pending` are the commands that the next run gives: units that an earlier one, or this, could not restart.
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

    def look(self) -> Observed:
        plan, last = self.directory.plan, self.last
        names = dict.fromkeys(name for link in plan.links for name in (link.name, link.master) if name) | dict.fromkeys(
            [*last.links, *last.promisc, *(route.link for route in (*last.routes, *last.displaced))]
        )
        promote = [f"net/ipv4/conf/{link.name}/promote_secondaries" for link in plan.links if link.kind == "macvlan"]
        return observe(self.kernel, names, dict.fromkeys([*plan.sysctls, *last.sysctls, *promote]))

    def compare(self, observed: Observed) -> tuple[Operation, ...]:
        return diff(self.directory.plan, self.last, observed, unfinished=self.unfinished)


def reconcile(path: str, options: Options) -> Result:
    """Make this node match the directory; raises a PodlanError that says why it does not, with nothing changed."""
    root = Root(options.root)
    with contextlib.nullcontext() if options.preview else turn(root, _LOCK_SECONDS):
        if not options.preview:
            recover(root)
        directory = load(path)
        if not options.preview:
            _stop_on(list(missing_privileges()))
        last, unfinished = state.recall(root), state.is_unfinished(root)
        try:
            with Kernel(root) as kernel:
                return _reconcile(_Run(directory, last, root, kernel, unfinished), options)
        except OSError as error:  # while looking: what fails while changing is rolled back, and told by its own class
            raise Unusable("cannot look at this node", error) from error


def _reconcile(run: _Run, options: Options) -> Result:
    files = file_changes(run.directory, run.last, run.root)
    observed, findings = _ready(run, files, options)
    network = run.compare(observed)
    keep = () if is_kept(run.root, run.directory) else (KeepCopy(run.root, run.directory),)
    operations: tuple[Operation, ...] = (*network, *files.operations, *keep)
    result = Result(run.directory.plan.node, tuple(str(operation) for operation in operations), findings)
    if options.preview:
        return replace(result, pending=services.commands(run.last.restart))
    intent = _intent(run, files, operations)
    if operations:
        _stop_on(list(verify.taken(operations, run.directory.plan, run.last, observed)))
        doubts = _change(run, observed, operations, intent)
        result = replace(result, findings=(*findings, *doubts))
    for copy in keep:
        copy.forget()
    return _settle(run, files, intent, result, options)


def _ready(run: _Run, files: FileChanges, options: Options) -> tuple[Observed, tuple[Finding, ...]]:
    """Look until nothing is missing that only time can bring, for at most `wait` seconds."""
    plan, last = run.directory.plan, run.last
    first = [] if options.rename else list(another_node(plan, last))
    end = time.monotonic() + options.wait
    while True:
        observed = run.look()
        findings = [*first, *preflight(plan, last, observed, run.root), *files.findings]
        if exit_code(findings) != Exit.NOT_READY or time.monotonic() >= end:
            _stop_on(findings, options.wait)
            return observed, tuple(findings)
        time.sleep(_POLL)


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
    return replace(
        state.intended(run.last, run.directory.plan, files.records, operations),
        restart=tuple(dict.fromkeys([*run.last.restart, *waiting])),
    )


def _change(run: _Run, observed: Observed, operations: tuple[Operation, ...], intent: State) -> tuple[Finding, ...]:
    """Do the operations and verify them; on any failure all is taken back, and the state with it."""
    answered = verify.answering(run.directory.plan, observed)
    with deferred() as signals, _remembered(run, intent, operations):
        apply(operations, run.kernel, signals)
        try:
            left = (*diff(run.directory.plan, run.last, run.look()), *_left_files(run))
            verify.require(left, answered)
        except OSError as error:
            roll_back(operations, run.kernel, "verification", error.strerror or str(error))
        return tuple(verify.doubtful(operations, answered))


def _left_files(run: _Run) -> tuple[Operation, ...]:
    return file_changes(run.directory, run.last, run.root).operations


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
    for path in [*(file.path for file in run.directory.plan.files), *(record.path for record in run.last.files)]:
        run.root.clean(path)


def _settle(run: _Run, files: FileChanges, intent: State, result: Result, options: Options) -> Result:
    """Remember the end of the run; units restart after that, and are remembered as waiting until they have."""
    final = state.settled(intent, run.directory.plan, files.records)
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
        pending=services.commands(restarts.pending),
    )
