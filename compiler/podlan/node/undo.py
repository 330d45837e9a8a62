"""The way back: everything that podlan owns leaves this node, in the order that loses nothing, and then its memory."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import PodlanError
from podlan.node import journal, release, services, state, unfinished
from podlan.node._kernel import Kernel
from podlan.node.altnames import by_own_names
from podlan.node.codes import finding
from podlan.node.copy import COPY, DropCopy, remains
from podlan.node.directory import NodeDirectory, load
from podlan.node.filediff import START, UNITS, file_changes, recorded
from podlan.node.files import Root
from podlan.node.lock import watchers
from podlan.node.observe import observe
from podlan.node.removal import is_own_link, link_of
from podlan.node.routes import RouteDelete, RouteReplace
from podlan.node.run import Result, Run, begun, carry_out, stop_on
from podlan.node.services import Stop
from podlan.node.trial import sweep
from podlan.node.vlans import vlan_findings
from podlan.plan import PROTOCOL, Link, Plan, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.diagnostics import Finding
    from podlan.node.observe import Observed, RouteState
    from podlan.node.operations import Operation
    from podlan.node.run import Options
    from podlan.node.state import State


_MORE = 30.0  # seconds beyond the longest that a single step may take


@dataclass(frozen=True, slots=True)
class _Known:
    """What tells of podlan's things here: its state, and the plan in its copy of the directory (None without one)."""

    state: State
    plan: Plan | None

    @property
    def originals(self) -> bool:
        """Tell whether the state has what podlan found in the kernel; boot.sh and earlier boots leave none."""
        last = self.state
        return any((last.links, last.addresses, last.routes, last.promisc, last.metrics, last.sysctls, last.altnames))


def undo(options: Options, *, plugins: bool = False) -> Result:
    """Take all that podlan owns off this node; raises a PodlanError that says why not, with all as it was.

    `plugins`: the binaries that podlan installed, too.
    """
    root = Root(options.root)
    with begun(root, options) as earlier, Kernel(root) as kernel:
        known = _known(root, kernel)
        directory = NodeDirectory(COPY, _nothing(known, kernel), {})
        run = Run(directory, known.state, root, kernel, unfinished.is_open(root), options.abilities, earlier)
        if options.preview:
            return _undo(run, known, options, plugins=plugins)
        run.clean()
        left = tuple(sweep(root))  # while the plugins are there
        result = _undo(run, known, options, plugins=plugins)
        return replace(result, findings=(*left, *result.findings))


def _known(root: Root, kernel: Kernel) -> _Known:
    """Give what podlan remembers here, and, where install.sh was at work or the state is lost, what its copy tells."""
    last = state.recall(root)
    there = {binary.path for binary in last.binaries}
    noted = (binary for memory in state.MEMORIES for binary in release.brought(root, memory))
    last = replace(last, binaries=(*last.binaries, *(binary for binary in noted if binary.path not in there)))
    try:
        copy = load(root.shown(COPY), root)
    except PodlanError:
        return _Known(last, None)
    there = {record.path for record in last.files}
    files = (recorded(file, copy) for file in copy.plan.files if file.path not in there)
    last = replace(last, node=last.node or copy.plan.node, files=(*last.files, *files))
    return _Known(last, by_own_names(copy.plan, kernel))


def _nothing(known: _Known, kernel: Kernel) -> Plan:
    """Give the plan that wants nothing; its links are those of others on which something of podlan's may be."""
    seen = observe(kernel, (), (), kinds=("macvlan", "vlan"))
    own = {link.name: link.master for link in seen.links.values() if is_own_link(link, known.state)}
    marked = (message["index"] for message in kernel.addresses() if message.get("proto") == PROTOCOL)
    plan = known.plan or Plan("")
    touched = [
        *own.values(),
        *(route.link for route in seen.routes if route.protocol == PROTOCOL),
        *(kernel.name(index) for index in marked),
        *(link.name for link in plan.links if link.kind == "master"),
    ]
    masters = {link.name: link.master or link.name for link in plan.links}
    return Plan(
        known.state.node,
        links=tuple(Link(name, "master") for name in dict.fromkeys(touched) if name and name not in own),
        # Who answered a child must answer its master afterwards.
        probes=tuple(dict.fromkeys(replace(probe, link=masters[probe.link]) for probe in plan.probes)),
    )


def _undo(run: Run, known: _Known, options: Options, *, plugins: bool) -> Result:
    observed = run.look()
    run = _connected(run, observed)
    network = run.compare(observed)
    files = file_changes(run.directory, run.last, run.root)
    binaries, findings = release.removals(run.last, run.root) if plugins else ((), tuple(_staying(run)))
    own = _units(run)
    units = tuple(unit for unit in own if services.running(unit, run.root) is not None)
    drop = (DropCopy(run.root),) if os.path.lexists(run.root.shown(COPY)) else ()
    operations: tuple[Operation, ...] = (
        *(Stop(unit) for unit in units),
        *network,
        *files.operations,
        *binaries,
        *drop,
    )
    result = Result(
        run.last.node,
        tuple(str(operation) for operation in operations),
        (
            *run.earlier,
            *_watched(run, units),
            *files.findings,
            *findings,
            *_unknown(run, known, observed, operations),
            *_lost(run.last, observed),
            *vlan_findings(run.directory.plan, run.last, observed),
        ),
    )
    stop_on(list(result.findings))
    changed = [path for operation in files.operations if (path := getattr(operation, "path", None))]
    gone = {*own, *(f"{START}{unit}" for unit in own)}
    restart = services.pending([*run.last.restart, *files.restart], changed)
    intent = replace(run.last, boot=state.this_boot(), restart=tuple(unit for unit in restart if unit not in gone))
    words = _last_words(run.root)
    if options.preview:
        commands = services.commands(intent.restart)
        return replace(result, operations=(*result.operations, *words), pending=commands)
    if operations:
        # A unit may take its time to stop.
        options = replace(options, undo_after=max(options.undo_after, services.TIMEOUT + _MORE))
        carry_out(run, observed, operations, intent, lambda: intent, options)
    return _settle(run, intent, result, options, words)


def _settle(run: Run, intent: State, result: Result, options: Options, words: tuple[str, ...]) -> Result:
    """Restart who read what is gone, then forget; a unit that did not restart is remembered alone."""
    root = run.root
    restarts = services.restart(intent.restart, root, allowed=options.restart)
    DropCopy(root).forget()
    root.remove_directories((COPY.rpartition("/")[0],))
    if restarts.pending:
        state.remember(root, state.State(intent.node, intent.boot, restart=restarts.pending))
        unfinished.close(root)
    else:
        journal.forget(root)
    return replace(
        result,
        operations=(*result.operations, *(() if restarts.pending else words)),
        findings=(*result.findings, *restarts.findings),
        restarted=restarts.done,
        by_hand=restarts.by_hand,
        pending=services.commands(restarts.pending),
    )


def _last_words(root: Root) -> tuple[str, ...]:
    """Give the command like which podlan forgets what it remembers, and what a killed run left, if there is any."""
    paths = [*remains(root), *filter(os.path.lexists, map(root.shown, journal.RECORDS))]
    if not paths:
        return ()
    directory = shlex.quote(root.shown(state.STATE.rpartition("/")[0]))
    return (f"rm -rf {' '.join(map(shlex.quote, paths))} && rmdir --ignore-fail-on-non-empty {directory}",)


def _connected(run: Run, observed: Observed) -> Run:
    """Give the run that leaves a default route on others' links where there would be none without it.

    Where boot.sh was first, or the state was lost, nobody knows which route podlan's took the place of.
    """
    operations = run.compare(observed)
    links = {link.name for link in run.directory.plan.links}
    going = [operation.route for operation in operations if isinstance(operation, RouteDelete)]
    staying = {operation.route.destination for operation in operations if isinstance(operation, RouteReplace)}
    staying |= {route.destination for route in observed.routes if route not in going and route.link in links}
    kept = tuple(
        Route(route.link, route.destination, route.gateway, route.source, route.metric)
        for route in going
        if route.link in links and route.destination.endswith("/0") and route.destination not in staying
    )
    return replace(run, directory=replace(run.directory, plan=replace(run.directory.plan, routes=kept)))


def _units(run: Run) -> tuple[str, ...]:
    """Give podlan's own units: those that it enabled."""
    paths = (record.path for record in run.last.files if record.wants and record.path.startswith(f"{UNITS}/"))
    return tuple(path.rpartition("/")[2] for path in paths)


def _watched(run: Run, units: Iterable[str]) -> Iterator[Finding]:
    processes = {services.running(unit, run.root) for unit in units}
    others = [str(process) for process in watchers(run.root) if process not in processes]
    if others:
        pids = f"process {others[0]}" if len(others) == 1 else f"processes {', '.join(others)}"
        yield finding("PL685", f"podlan reconcile --watch runs here as {pids}, and would repair what is undone")


def _staying(run: Run) -> Iterator[Finding]:
    there = [path for binary in run.last.binaries if os.path.lexists(path := run.root.shown(binary.path))]
    if there:
        yield finding("PL687", f"{', '.join(there)}: others may use them, so they stay (--plugins removes them)")


def _unknown(run: Run, known: _Known, observed: Observed, operations: Iterable[Operation]) -> Iterator[Finding]:
    """Tell what stays because nobody knows what was there before, and what nobody knows at all."""
    kept = (f"{_route(route)} dev {route.link}" for route in run.directory.plan.routes)
    stays = [*kept, *(() if known.originals else _as_planned(known.plan, run.kernel, observed))]
    if stays:
        yield finding("PL686", f"what was there before is not known, so these stay: {'; '.join(stays)}")
    if known.plan is None and not run.last.node and operations:
        yield finding("PL688", f"neither {run.root.shown(state.STATE)} nor {run.root.shown(COPY)} tells of files")


def _lost(last: State, observed: Observed) -> Iterator[Finding]:
    for route in last.displaced:
        link = observed.links.get(route.link)
        if link is None or not link.up:
            why = "is not there" if link is None else "is down"
            yield finding("PL689", f"{_route(route)} cannot be given back: {route.link} {why}")


def _route(route: Route | RouteState) -> str:
    via = f" via {route.gateway}" if route.gateway else ""
    return f"the route to {route.destination}{via}"


def _as_planned(plan: Plan | None, kernel: Kernel, observed: Observed) -> Iterator[str]:
    if plan is None:
        return
    children = {link.name for link in plan.links if link.kind == "macvlan"}
    for link in plan.links:
        there = observed.links.get(link.name)
        if there is None or link.kind != "master":
            continue
        if link.promisc is not None and there.promisc == link.promisc:
            yield f"promisc {'on' if link.promisc else 'off'} of {link.name}"
        yield from (f"altname {name} of {link.name}" for name in link.altnames if name in there.altnames)
    for address in plan.addresses:
        state_of = observed.address(address.link, address.address)
        if address.adopt and address.metric and state_of is not None and state_of.metric == address.metric:
            yield f"metric {address.metric} of {address.address} on {address.link}"
    for key, value in plan.sysctls.items():
        if link_of(key) not in children and kernel.sysctl(key) == " ".join(value.split()):
            yield f"{key}={value}"
