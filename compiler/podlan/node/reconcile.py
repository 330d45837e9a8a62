"""The road of a run: lock, read, observe, preflight, diff, apply, verify, remember."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit, PodlanError
from podlan.node import release, services, state, unfinished
from podlan.node._errors import NotReady
from podlan.node._kernel import Kernel
from podlan.node.copy import KeepCopy, is_kept
from podlan.node.directory import load
from podlan.node.filediff import file_changes
from podlan.node.files import Root
from podlan.node.prefixes import fitted
from podlan.node.preflight import another_node, exit_code, preflight
from podlan.node.release import Install
from podlan.node.run import Options, Result, Run, begun, carry_out, stop_on
from podlan.node.vlans import kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.filediff import FileChanges
    from podlan.node.observe import Observed
    from podlan.node.operations import Operation
    from podlan.node.release import Supply
    from podlan.node.state import State
    from podlan.plan import Plan

_POLL = 0.1  # seconds between two looks while waiting for the operating system


def reconcile(path: str, options: Options, read: Callable[[str, Root], NodeDirectory] = load) -> Result:
    """Make this node match the directory; raises a PodlanError that says why it does not, with nothing changed.

    `read` gives the directory, once it is this run's turn, as far as this node may believe it.
    """
    root = Root(options.root)
    with begun(root, options) as earlier:
        directory = read(path, root)
        directory = replace(directory, plan=fitted(directory.plan, options.abilities))
        last = state.recall(root)
        with Kernel(root) as kernel:
            run = Run(directory, last, root, kernel, unfinished.is_open(root), options.abilities, earlier)
            if not options.preview:
                run.clean()
            return _reconcile(run, options)


def _reconcile(run: Run, options: Options) -> Result:
    until = time.monotonic() + options.wait
    files = file_changes(run.directory, run.last, run.root)
    run, observed, findings = _ready(run, files, options, until)
    network = run.compare(observed)
    if options.confirm and network:
        return _confirmed(run, observed, network, options)
    supply = release.supply(run.directory.plan, run.last, run.root, until, preview=options.preview)
    run = replace(run, held=_held(run.directory.plan, supply))
    changes = run.unheld(files.operations)
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
    from podlan.node.aloud import say  # noqa: PLC0415 - only who waits pays for it

    plan, records = run.directory.plan, run.last.files
    intent = replace(
        state.intended(run.last, plan, records, network),
        binaries=run.last.binaries,
        restart=run.last.restart,
        kept=kept(plan, run.last, observed),
    )
    last, doubts = carry_out(run, observed, network, intent, lambda: state.settled(intent, plan, records), options)
    say(f"confirmed: the network of {plan.node} stays as it is now")
    try:
        rest = _reconcile(replace(run, last=last, unfinished=False), replace(options, confirm=0.0))
    except PodlanError as error:
        error.add_note("the network stays as it was confirmed; run podlan reconcile again for the rest")
        raise
    return replace(
        rest,
        operations=(*(str(operation) for operation in network), *rest.operations),
        findings=(*rest.findings, *doubts),
    )


def _held(plan: Plan, supply: Supply) -> str:
    """Give the path that is left alone: without its plugins, the CNI file would only make every pod fail."""
    return plan.cni.file if plan.cni is not None and supply.missing else ""


def _ready(run: Run, files: FileChanges, options: Options, until: float) -> tuple[Run, Observed, tuple[Finding, ...]]:
    """Look until nothing is missing that only time can bring, for at most `wait` seconds."""
    told = ""
    first = [*run.earlier, *([] if options.rename else another_node(run.directory.plan, run.last)), *_around(run)]
    while True:
        run = run.by_own_names()
        observed = run.look()
        run = run.adopting(observed)
        findings = [*first, *preflight(run.directory.plan, run.last, observed, run.root), *files.findings]
        if exit_code(findings) != Exit.NOT_READY or time.monotonic() >= until:
            stop_on(findings, options.wait)
            return run, observed, tuple(findings)
        told = _tell(findings, told)
        time.sleep(_POLL)


def _tell(findings: list[Finding], told: str) -> str:
    """Say what is waited for, unless that was the last word; give it. At a boot nobody else would know why it takes."""
    from podlan.node.aloud import say  # noqa: PLC0415 - only who waits pays for it

    missing = NotReady([found for found in findings if exit_code([found])]).told_while_waiting()
    if missing != told:
        say(missing)
    return missing


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


def _intent(run: Run, files: FileChanges, operations: tuple[Operation, ...]) -> State:
    changed = [path for operation in files.operations if (path := getattr(operation, "path", None))]
    waiting = services.pending([*run.last.restart, *files.restart], changed)
    installs = [operation for operation in operations if isinstance(operation, Install)]
    return replace(
        state.intended(run.last, run.directory.plan, files.records, operations),
        binaries=release.intended(run.last, installs),
        restart=tuple(dict.fromkeys([*run.last.restart, *waiting])),
    )


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
