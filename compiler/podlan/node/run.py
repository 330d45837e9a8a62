"""What reconcile and undo share: how a run goes, what it works on, how it begins, and the change that it makes."""

from __future__ import annotations

import contextlib
from dataclasses import field, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit, PodlanError
from podlan.node import state, unfinished, verify
from podlan.node._errors import NotReady, Refused, Stopped, Unusable
from podlan.node.abilities import Abilities, abilities
from podlan.node.altnames import by_own_names
from podlan.node.codes import finding
from podlan.node.copy import recover
from podlan.node.diff import diff
from podlan.node.filediff import file_changes
from podlan.node.lock import turn
from podlan.node.observe import Observed, observe
from podlan.node.preflight import exit_code, missing_privileges
from podlan.node.release import Install
from podlan.node.trust import require_own
from podlan.node.vlans import adopting
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node._kernel import Kernel
    from podlan.node.deadman import Guard
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.operations import Operation
    from podlan.node.signing import Signer
    from podlan.node.state import State


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

    def clean(self) -> None:
        """Remove what a killed run had begun to write, else it would keep the directories that podlan made."""
        if self.unfinished or self.earlier:
            for path in state.written(self.directory.plan, self.last):
                self.root.clean(path)

    def unheld(self, operations: Iterable[Operation]) -> tuple[Operation, ...]:
        """Give those operations on files that may be done."""
        return tuple(one for one in operations if not self.held or getattr(one, "path", None) != self.held)


@contextlib.contextmanager
def begun(root: Root, options: Options) -> Iterator[tuple[Finding, ...]]:
    """Be the only run during the block, on a node on which no earlier one is half done; gives what that was.

    A preview changes nothing, so it takes no turn. Raises Unusable for an OSError of the block, which only looks: what
    fails while changing is rolled back, and told by its own class.
    """
    with contextlib.nullcontext() if options.preview else turn(root, options.patience):
        if options.preview:
            require_own(options.root)
        earlier: tuple[Finding, ...] = ()
        try:
            if not options.preview:
                stop_on(list(missing_privileges()))
                earlier = tuple(_interrupted(root))
                recover(root)
            yield earlier
        except PodlanError as error:
            for found in earlier:  # what was done before is told, too
                error.add_note(f"{found.severity.value}[{found.code}]: {found.message}")
            raise
        except OSError as error:
            raise Unusable("cannot look at this node", error) from error


def _interrupted(root: Root) -> Iterator[Finding]:
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


def stop_on(findings: list[Finding], waited: float = 0.0) -> None:
    """Raise what the worst of the findings ends a run with, if any does."""
    code = exit_code(findings)
    if code is None:
        return
    errors = [found for found in findings if exit_code([found]) is not None]
    if code == Exit.NOT_READY:
        raise NotReady(errors, waited)
    raise {Exit.FAILED: Refused}.get(code, Stopped)(errors)


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
            files = file_changes(run.directory, run.last, run.root).operations
            left = (*left, *run.unheld(files), *_left_binaries(operations))
        verify.require(left, guard.each(answered))
        doubts.extend(verify.doubtful(guard.each(operations), answered))

    # A probe, and a gate twice, may be silent for longer than the second that others have.
    silence = options.undo_after + 2 * max((probe.timeout - 1 for probe in plan.probes), default=0)
    change = Change(run.root, plan.node, operations, intent, settled, verified, silence, options.confirm)
    with verify.asking_again(answered, plan, run.look):
        return change.make(run.kernel), tuple(doubts)


def _left_binaries(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    return tuple(operation for operation in operations if isinstance(operation, Install) and not operation.is_kept())
