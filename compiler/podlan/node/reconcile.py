"""The road of a run: lock, read, observe, preflight, diff, apply, verify, remember."""

from __future__ import annotations

import contextlib
import time
from dataclasses import field, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit
from podlan.node import release, services, state, unfinished, verify
from podlan.node._errors import NotReady, Refused, Stopped, Unusable
from podlan.node._kernel import Kernel
from podlan.node.abilities import Abilities, abilities
from podlan.node.altnames import by_own_names
from podlan.node.codes import finding
from podlan.node.copy import KeepCopy, is_kept, recover
from podlan.node.diff import diff
from podlan.node.directory import load
from podlan.node.filediff import file_changes
from podlan.node.files import Root
from podlan.node.lock import turn
from podlan.node.observe import Observed, observe
from podlan.node.prefixes import fitted
from podlan.node.preflight import another_node, exit_code, missing_privileges, preflight
from podlan.node.release import Install
from podlan.node.trust import require_own
from podlan.node.vlans import adopting, kept
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node.deadman import Guard
    from podlan.node.directory import NodeDirectory
    from podlan.node.filediff import FileChanges
    from podlan.node.operations import Operation
    from podlan.node.release import Supply
    from podlan.node.signing import Signer
    from podlan.node.state import State
    from podlan.plan import Plan

_POLL = 0.1  # seconds between two looks while waiting for the operating system


@dataclass(frozen=True, slots=True)
class Options:
    """How a run goes.

    `preview` changes nothing and takes no lock; `wait` seconds for what is not ready; `rename`: this machine may have
    been another node; `patience`: seconds to wait for another run to end; `undo_after`: seconds after which a run that
    hangs is taken back; `confirm`: seconds for which the network's part waits to be confirmed, 0 for not at all;
    `abilities`: those of the kernel.
    """

    root: str = "/"
    wait: float = 0.0
    preview: bool = False
    restart: bool = True
    rename: bool = False
    patience: float = 30.0
    undo_after: float = 30.0
    confirm: float = 0.0
    abilities: Abilities = field(default_factory=abilities)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, or in a preview would do: the operations' texts in order, and what there is to say.

    `pending` are the commands that the next run gives: units that an earlier one, or this, could not restart, and
    plugins that could not be had. `signer`: who signed the directory, where this node asks for it.
    """

    node: str
    operations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    restarted: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    signer: Signer | None = None

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
class Run:
    """What a run works on: the directory, what is remembered, and the world."""

    directory: NodeDirectory
    last: State
    root: Root
    kernel: Kernel
    unfinished: bool
    abilities: Abilities
    earlier: tuple[Finding, ...] = ()
    held: str = ""

    def look(self) -> Observed:
        """Look at all that the plan, or what is remembered, can touch."""
        plan, last = self.directory.plan, self.last
        names = dict.fromkeys(name for link in plan.links for name in (link.name, link.master) if name) | dict.fromkeys(
            [
                *last.links,
                *last.kept,
                *last.promisc,
                *(link for link, _ in last.addresses),
                *(key.partition(" ")[0] for key in last.metrics),
                *(route.link for route in (*last.routes, *last.displaced)),
                *(link for link, _ in last.altnames),
            ]
        )
        promote = [f"net/ipv4/conf/{link.name}/promote_secondaries" for link in plan.links if link.kind == "macvlan"]
        made = {link.name for link in plan.links if link.kind != "master"}
        further = [*made, *(altname for link in plan.links for altname in link.altnames)]
        # Where nothing is to be made, marks tell what was.
        kinds = ("macvlan", "vlan") if not made or any(link.vlan for link in plan.links) else ("macvlan",)
        seen = observe(self.kernel, names, dict.fromkeys([*plan.sysctls, *last.sysctls, *promote]), further, kinds)
        return replace(seen, abilities=self.abilities)

    def by_own_names(self) -> Run:
        """Give the run with the masters by the names that the kernel shows, as soon as they are there."""
        plan = by_own_names(self.directory.plan, self.kernel)
        return self if plan is self.directory.plan else replace(self, directory=replace(self.directory, plan=plan))

    def adopting(self, observed: Observed) -> Run:
        """Give the run with the VLANs that others made, and that fit, as masters."""
        plan = adopting(self.directory.plan, self.last, observed)
        return self if plan is self.directory.plan else replace(self, directory=replace(self.directory, plan=plan))

    def compare(self, observed: Observed) -> tuple[Operation, ...]:
        """Give the operations on the network."""
        return diff(self.directory.plan, self.last, observed, unfinished=self.unfinished)


def reconcile(path: str, options: Options, read: Callable[[str, Root], NodeDirectory] = load) -> Result:
    """Make this node match the directory; raises a PodlanError that says why it does not, with nothing changed.

    `read` gives the directory, once it is this run's turn, as far as this node may believe it.
    """
    root = Root(options.root)
    with contextlib.nullcontext() if options.preview else turn(root, options.patience):
        if options.preview:
            require_own(options.root)
        earlier: tuple[Finding, ...] = ()
        try:
            if not options.preview:
                stop_on(list(missing_privileges()))
                earlier = tuple(interrupted(root))
                recover(root)
            directory = read(path, root)
            directory = replace(directory, plan=fitted(directory.plan, options.abilities))
            last = state.recall(root)
            with Kernel(root) as kernel:
                is_open = unfinished.is_open(root)
                return _reconcile(Run(directory, last, root, kernel, is_open, options.abilities, earlier), options)
        except OSError as error:  # while looking: what fails while changing is rolled back, and told by its own class
            raise Unusable("cannot look at this node", error) from error


def interrupted(root: Root) -> Iterator[Finding]:
    """Take back the run before this one, if it was killed; what cannot be taken back, this run finishes."""
    if not unfinished.is_open(root):
        return
    from podlan.node.journal import take_back_interrupted  # noqa: PLC0415 - only after a run that was killed

    found = take_back_interrupted(root)
    if found is None:
        return
    if found.problem:
        yield finding("PL681", f"a run that was killed cannot be taken back, so this one finishes it: {found.problem}")
    elif found.confirmed:
        yield finding("PL682", "a run was killed after its changes were confirmed: they stay")
    else:
        yield finding("PL680", f"a run that was killed is taken back first, operations: {found.undone}")


def _reconcile(run: Run, options: Options) -> Result:
    until = time.monotonic() + options.wait
    files = file_changes(run.directory, run.last, run.root)
    run, observed, findings = _ready(run, files, options, until)
    network = run.compare(observed)
    if options.confirm and network:
        return _confirmed(run, observed, network, options)
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
        signer=run.directory.signer,
    )
    if options.preview:
        return replace(result, pending=(*result.pending, *services.commands(run.last.restart)))
    intent = replace(_intent(run, files, operations), kept=kept(run.directory.plan, run.last, observed))
    if operations:
        options = replace(options, confirm=0.0)  # what is not the network's needs no confirmation
        final, doubts = carry_out(
            run, observed, operations, intent, lambda: _final(run, files, intent, supply), options
        )
        result = replace(result, findings=(*result.findings, *doubts))
    else:
        final = _final(run, files, intent, supply)
        if final != run.last:
            state.remember(run.root, final)
        if run.unfinished:
            unfinished.close(run.root)
    for copy in keep:
        copy.forget()
    return _told(run, final, result, options)


def _confirmed(run: Run, observed: Observed, network: tuple[Operation, ...], options: Options) -> Result:
    """Change the network alone, wait for the confirmation, then go on as any run does."""
    from podlan.node.confirm import announce  # noqa: PLC0415 - only who waits pays for it

    plan, records = run.directory.plan, run.last.files
    intent = replace(
        state.intended(run.last, plan, records, network),
        binaries=run.last.binaries,
        restart=run.last.restart,
        kept=kept(plan, run.last, observed),
    )
    last, doubts = carry_out(run, observed, network, intent, lambda: state.settled(intent, plan, records), options)
    announce(f"confirmed: the network of {plan.node} stays as it is now")
    rest = _reconcile(replace(run, last=last, unfinished=False), replace(options, confirm=0.0))
    return replace(
        rest,
        operations=(*(str(operation) for operation in network), *rest.operations),
        findings=(*rest.findings, *doubts),
    )


def _held(plan: Plan, supply: Supply) -> str:
    """Give the path that is left alone: without its plugins, the CNI file would only make every pod fail."""
    return plan.cni.file if plan.cni is not None and supply.missing else ""


def _unheld(operations: Iterable[Operation], held: str) -> tuple[Operation, ...]:
    return tuple(operation for operation in operations if not held or getattr(operation, "path", None) != held)


def _ready(run: Run, files: FileChanges, options: Options, until: float) -> tuple[Run, Observed, tuple[Finding, ...]]:
    """Look until nothing is missing that only time can bring, for at most `wait` seconds."""
    first = [*run.earlier, *([] if options.rename else another_node(run.directory.plan, run.last)), *_around(run)]
    while True:
        run = run.by_own_names()
        observed = run.look()
        run = run.adopting(observed)
        findings = [*first, *preflight(run.directory.plan, run.last, observed, run.root), *files.findings]
        if exit_code(findings) != Exit.NOT_READY or time.monotonic() >= until:
            stop_on(findings, options.wait)
            return run, observed, tuple(findings)
        time.sleep(_POLL)


def _around(run: Run) -> list[Finding]:
    """Give what there is to say of others' files that decide about pods, as far as the plan is about pods at all."""
    findings: list[Finding] = []
    if run.directory.plan.cni is not None:
        from podlan.node.cnifiles import cni_findings  # noqa: PLC0415 - each costs some milliseconds

        findings += cni_findings(run.directory, run.last, run.root)
    if run.directory.plan.runtime is not None:
        from podlan.node.runtime import runtime_findings  # noqa: PLC0415 - as above

        findings += runtime_findings(run.directory, run.last, run.root)
    return findings


def stop_on(findings: list[Finding], waited: float = 0.0) -> None:
    """Raise what the worst of the findings ends a run with, if any does."""
    code = exit_code(findings)
    if code is None:
        return
    errors = [found for found in findings if exit_code([found]) is not None]
    if code == Exit.NOT_READY:
        raise NotReady(errors, waited)
    raise {Exit.FAILED: Refused}.get(code, Stopped)(errors)


def _intent(run: Run, files: FileChanges, operations: tuple[Operation, ...]) -> State:
    changed = [path for operation in files.operations if (path := getattr(operation, "path", None))]
    waiting = services.pending([*run.last.restart, *files.restart], changed)
    installs = [operation for operation in operations if isinstance(operation, Install)]
    return replace(
        state.intended(run.last, run.directory.plan, files.records, operations),
        binaries=release.intended(run.last, installs),
        restart=tuple(dict.fromkeys([*run.last.restart, *waiting])),
    )


def carry_out(
    run: Run,
    observed: Observed,
    operations: tuple[Operation, ...],
    intent: State,
    settled: Callable[[], State],
    options: Options,
) -> tuple[State, tuple[Finding, ...]]:
    """Do the operations and verify them; give what is remembered, and what there is to say."""
    from podlan.node.change import Change  # noqa: PLC0415 - only when something is to be changed

    plan = run.directory.plan
    answered = verify.answering(plan, observed)
    # As late as can be: whoever comes up in between would not be seen.
    stop_on(list(verify.taken(operations, plan, run.last, observed)))
    doubts: list[Finding] = []

    def verified(guard: Guard) -> None:
        left = run.compare(run.look())
        if not options.confirm:
            left = (*left, *_left_files(run), *_left_binaries(operations))
        verify.require(left, guard.each(answered))
        doubts.extend(verify.doubtful(operations, answered))

    if run.unfinished or run.earlier:
        _clean(run)
    # A probe, and a gate twice, may be silent for longer than the second that others have.
    silence = options.undo_after + 2 * max((probe.timeout - 1 for probe in plan.probes), default=0)
    change = Change(run.root, plan.node, operations, intent, settled, verified, silence, options.confirm)
    with verify.asking_again(answered, plan, run.look):
        return change.make(run.kernel), tuple(doubts)


def _left_files(run: Run) -> tuple[Operation, ...]:
    return _unheld(file_changes(run.directory, run.last, run.root).operations, run.held)


def _left_binaries(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    return tuple(operation for operation in operations if isinstance(operation, Install) and not operation.is_kept())


def _clean(run: Run) -> None:
    plan = run.directory.plan
    binaries = [f"{plan.release.directory}/{name}" for name in plan.release.names] if plan.release else []
    for path in [*(file.path for file in plan.files), *(record.path for record in run.last.files), *binaries]:
        run.root.clean(path)


def _final(run: Run, files: FileChanges, intent: State, supply: Supply) -> State:
    plan = run.directory.plan
    return replace(
        state.settled(intent, plan, files.records),
        binaries=release.settled(plan, run.last, supply.operations, run.root),
    )


def _told(run: Run, final: State, result: Result, options: Options) -> Result:
    """Tell the units that must notice; they are remembered as waiting until they have."""
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
