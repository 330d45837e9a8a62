"""A lab's life: up, verify, down; each leaves nothing behind when it fails."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.lab import damage, matrix, mending, namespaces, node, promise, rootfs, services, state, wiring
from podlan.lab.errors import (
    ForeignLab,
    LabBusy,
    LabExists,
    NeedsRoot,
    NoLab,
    PluginFailed,
    PluginsMissing,
    WrongAddress,
)
from podlan.lab.node import Planned, planned
from podlan.lab.processes import Processes
from podlan.lab.report import Report, report
from podlan.lab.state import Before, Home, LanState, PodState, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.diagnostics import PodlanError
    from podlan.lab.topology import Topology

_PLUGIN_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_ORPHANS = 5.0
"""Seconds that the programs of a podlan that died have to end."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a lab is built: pods a node, where the plugins are (None: where they usually are), what reconciles.

    `secured`: the switch takes one MAC a port. `before`: try, too, what hosts and their pods reach without host access.
    """

    pods: int = 2
    plugins: Path | None = None
    secured: bool = False
    before: bool = True
    reconcile: Sequence[str] = field(default_factory=lambda: node.RECONCILE)


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that this process works on: it holds the lock, and runs programs that inherit it."""

    home: Home
    lock: int
    processes: Processes


@contextlib.contextmanager
def opened(name: str) -> Iterator[Lab]:
    """Take a lab's lock, first ending what a podlan that died has left running; raises LabBusy."""
    if os.geteuid() != 0:
        raise NeedsRoot
    home = Home(name)
    with contextlib.ExitStack() as stack:
        lock = _lock(stack, home)
        yield Lab(home, lock, Processes(lock))


def up(lab: Lab, topology: Topology, options: Options | None = None) -> State:
    """Build the lab, reconcile its nodes and attach pods; when that fails or is interrupted nothing is left."""
    options = options or Options()
    if lab.home.state.exists():
        raise LabExists(lab.home.name)
    lab.processes.require("ip", "mount", "nsenter", "taskset", "umount", "unshare")
    if services.wanted(topology):
        lab.processes.require(services.TOOL)
    nodes = [planned(one) for one in topology.nodes]
    wiring.require(lab.processes, topology)
    machine = rootfs.Machine(_plugins(nodes, options.plugins))
    _remove(lab)  # what an interrupted run has left
    try:
        built = _build(lab, topology, nodes, machine, options)
        state.save(lab.home, built)
    except BaseException:
        _remove(lab)
        raise
    return built


def verify(lab: Lab) -> Report:
    """Try who reaches whom, and compare."""
    built = up_already(lab)
    with damage.told(lab.processes, lab.home, built):
        macs = matrix.answering(lab.processes, lab.home, built)
        tries = matrix.tries(lab.processes, lab.home, built)
        asked = services.ask(lab.processes, lab.home, built.pods)
        standing = [str(fault) for fault in mending.standing(lab.processes, lab.home)]
    return report(built, tries, macs, asked, standing)


def down(lab: Lab) -> list[PodlanError]:
    """Detach the pods and remove everything, if anything; gives what the plugins refused, which stops nothing."""
    lab.processes.start_over()
    try:
        built = state.load(lab.home)
        return [] if built is None else _detach(lab, built)
    except ForeignLab as strange:
        return [strange]
    finally:
        _remove(lab)


def sweep(prefix: str) -> None:
    """Remove the labs with such names that nobody works on: their podlan died."""
    for home in state.homes(prefix):
        with contextlib.suppress(LabBusy), opened(home.name) as lab:
            _remove(lab)


def _lock(stack: contextlib.ExitStack, home: Home) -> int:
    deadline = time.monotonic() + _ORPHANS
    dead = ""
    while True:
        try:
            return stack.enter_context(state.locked(home))
        except LabBusy as busy:
            if not busy.pid or state.alive(busy.pid) or time.monotonic() > deadline:
                raise
            if dead == busy.pid:  # seen twice: it is not that the next one has yet to write its own
                namespaces.end_members(home)
            dead = busy.pid
            time.sleep(0.05)


def up_already(lab: Lab) -> State:
    """Give the state of a lab that is up; raises NoLab."""
    built = state.load(lab.home)
    if built is None:
        raise NoLab(lab.home.name)
    return built


def _build(lab: Lab, topology: Topology, nodes: list[Planned], machine: rootfs.Machine, options: Options) -> State:
    processes, home = lab.processes, lab.home
    namespaces.furnish(processes, home)

    def make(one: Planned) -> None:
        rootfs.make(processes, home, machine, one.plan, one.node.directory)
        wiring.prepare_node(processes, home, one.node)

    def attach(one: Planned) -> list[PodState]:
        return node.attach(processes, home, one, options.pods)

    wiring.make_switch(processes, home)
    wiring.make_gateway(processes, home)
    processes.each(make, nodes)
    wiring.plug(processes, home, topology, secured=options.secured)
    wiring.start_gateway(processes, home, topology.lans)
    processes.each(lambda one: wiring.start_node(processes, home, one.node), nodes)
    processes.each(lambda one: node.reconcile(processes, home, one, options.reconcile), nodes)
    pods = tuple(itertools.chain.from_iterable(processes.each(attach, nodes)))
    _refuse_doubles(pods)
    built = State(
        lans=tuple(LanState(lan.name, lan.gateways) for lan in topology.lans),
        nodes=tuple(node.state(one) for one in nodes),
        pods=pods,
        bin_dirs={one.node.name: str(rootfs.bin_dir(one.plan)) for one in nodes},
        secured=options.secured,
    )
    services.install(processes, home, topology, built)
    return replace(built, before=_without_access(lab, built, nodes, options))


def _without_access(lab: Lab, built: State, nodes: list[Planned], options: Options) -> Before:
    """Take all host access away, try it, and let reconcile give it back, with pods on the nodes."""
    accessible = [one for one in nodes if node.has_access(one.plan)]
    pairs = promise.by_access(built) if options.before else []
    if not pairs:
        return Before()
    processes, home = lab.processes, lab.home
    processes.each(lambda one: node.withdraw(processes, home, one), accessible)
    answered = matrix.echoes(processes, home, pairs, matrix.BRIEF)
    processes.each(lambda one: node.reconcile(processes, home, one, options.reconcile), accessible)
    reached = (f"{source.name} to {address}" for at, (source, _, address) in enumerate(pairs) if at in answered)
    return Before(len(pairs), tuple(reached))


def _refuse_doubles(pods: Sequence[PodState]) -> None:
    owners: dict[str, str] = {}
    for pod in pods:
        for address in pod.addresses:
            if owners.setdefault(address, pod.name) != pod.name:
                raise WrongAddress(pod.name, address, f"pod {owners[address]} has it too")


def _detach(lab: Lab, built: State) -> list[PodlanError]:
    def detach(pod: PodState) -> PodlanError | None:
        try:
            node.detach(lab.processes, lab.home, pod, built.bin_dirs[pod.node])
        except PluginFailed as refusal:
            return refusal if damage.is_there(lab.home, pod.name) else None  # nothing is left to be detached
        return None

    return [refusal for refusal in lab.processes.each(detach, built.pods) if refusal is not None]


def _remove(lab: Lab) -> None:
    with _undisturbed():
        lab.processes.start_over()
        namespaces.remove(lab.processes, lab.home)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let nobody interrupt what must be done to its end; it takes milliseconds."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _plugins(nodes: Sequence[Planned], given: Path | None) -> Path:
    needed = sorted({Path(path).name for one in nodes if one.plan.cni for path in one.plan.cni.plugins})
    named = [Path(part) for part in os.environ.get("CNI_PATH", "").split(":") if part]
    looked = [given] if given is not None else [*named, *_PLUGIN_DIRECTORIES]
    for directory in looked:
        if all(os.access(directory / plugin, os.X_OK) for plugin in needed):
            return directory.resolve()
    raise PluginsMissing(needed, looked)
