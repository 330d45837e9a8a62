"""The road of a trial: wait, sweep, attach, look, ask, judge, detach."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit, has_errors
from podlan.node import state
from podlan.node._errors import Busy, NotReady, Unusable
from podlan.node._kernel import Kernel
from podlan.node.abilities import abilities
from podlan.node.cnifiles import cni_findings
from podlan.node.codes import CODES, finding
from podlan.node.confirm import seconds_left
from podlan.node.directory import load
from podlan.node.files import Root
from podlan.node.lock import LOCK, is_held
from podlan.node.preflight import preflight
from podlan.node.reach import Report, report
from podlan.node.run import Run
from podlan.node.trial._ask import ask
from podlan.node.trial._hosted import Hosted
from podlan.node.trial._judge import beyond, got, is_shut_in, probes, scene
from podlan.node.trial._networks import networks
from podlan.node.trial._plugins import require
from podlan.node.trial._records import sweep
from podlan.node.verify import answering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.observe import Observed
    from podlan.node.state import State
    from podlan.node.trial._hosted import Attached
    from podlan.node.trial._networks import Net
    from podlan.node.trial._stop import Stop
    from podlan.plan import Plan

_PATIENCE = 30.0  # seconds for a reconcile to end
_POLL = 0.1


@dataclass(frozen=True, slots=True)
class Options:
    """How a trial goes: `peers` and `peer_pods` are addresses on other nodes, `wait` seconds for what is not ready."""

    root: str = "/"
    pods: int = 2
    peers: tuple[str, ...] = ()
    peer_pods: tuple[str, ...] = ()
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Got:
    """One interface of one pod: its addresses with prefix length, and its MTU."""

    name: str
    addresses: tuple[str, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it; `file` is the CNI file that the runtime takes, `host` the host's addresses there.

    `left` is what was found when the pods were taken away.
    """

    node: str
    file: str
    host: tuple[str, ...]
    pods: tuple[Got, ...]
    report: Report
    findings: tuple[Finding, ...] = ()
    left: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether everything is as the plan promises."""
        return self.report.ok and not has_errors((*self.findings, *self.left))


def trial(path: str, options: Options, stop: Stop, hold: Callable[[Trial], None] | None = None) -> Trial:
    """Put pods on this node, see what they get and whom they reach, and take them away again.

    `hold` is called with the result while the pods are still there. Raises a PodlanError where nothing can be tried.
    """
    root = Root(options.root)
    directory = load(path, root)
    last = state.recall(root)
    until = time.monotonic() + options.wait
    _wait_for_reconcile(root, options.wait, stop)
    try:
        with Kernel(root) as kernel:
            plan, see = _ready(directory, last, root, kernel, options.wait, until, stop)
            nets = networks(directory, plan, last, root, kernel, see)
    except OSError as error:
        raise Unusable("cannot look at this node", error) from error
    bin_dir = _bin_dir(plan, root)
    configs = [net.config for net in nets]
    require(bin_dir, configs)
    findings = (*cni_findings(directory, last, root), *sweep(root, bin_dir, configs))
    hosted = Hosted(root, bin_dir, stop)
    try:
        before = _mark(root)
        refusals = tuple(hosted.attach(nets, options.pods))
        result = _tried(plan, nets, hosted, see, options, stop)
        meanwhile = _meanwhile(root, before)
        shut_in = [finding("PL698", "pods reach nobody beyond this host")] if is_shut_in(result.report) else []
        result = replace(result, findings=(*findings, *refusals, *shut_in, *meanwhile))
        if hold is not None:
            hold(result)
    except BaseException as error:
        for found in hosted.end():
            error.add_note(f"{found.severity.value}[{found.code}]: {found.message}")
        if isinstance(error, OSError):
            raise Unusable("the trial broke off", error) from error
        raise
    return replace(result, left=tuple(hosted.end()))


def _wait_for_reconcile(root: Root, wait: float, stop: Stop) -> None:
    """Wait until nobody changes the network; a run that waits for its confirmation has done so."""
    patience = max(_PATIENCE, wait)
    end = time.monotonic() + patience
    while is_held(root) and not seconds_left(root):
        if time.monotonic() >= end:
            raise Busy(root.shown(LOCK), patience)
        stop.check()
        time.sleep(_POLL)


def _ready(
    directory: NodeDirectory, last: State, root: Root, kernel: Kernel, wait: float, until: float, stop: Stop
) -> tuple[Plan, Observed]:
    """Look until nothing is missing that only time can bring."""
    while True:
        run = Run(directory, last, root, kernel, unfinished=False, abilities=abilities()).by_own_names()
        see = run.look()
        run = run.adopting(see)
        found = preflight(run.directory.plan, last, see, root)
        missing = [one for one in found if CODES[one.code].exit_code == Exit.NOT_READY or one.code == "PL620"]
        if not missing:
            return run.directory.plan, see
        if time.monotonic() >= until:
            raise NotReady(missing, wait)
        stop.check()
        time.sleep(_POLL)


def _bin_dir(plan: Plan, root: Root) -> str:
    called = plan.cni.plugins if plan.cni is not None else ()
    named = plan.runtime.bin_dir if plan.runtime is not None else "/opt/cni/bin"
    return root.shown(called[0].rpartition("/")[0] if called else named)


def _tried(plan: Plan, nets: Sequence[Net], hosted: Hosted, see: Observed, options: Options, stop: Stop) -> Trial:
    attached = hosted.attached
    seen = _seen(attached, stop)
    others = beyond(options.peers, options.peer_pods)
    scenes = [scene(plan, nets, net, zip(attached, seen, strict=True), see, others) for net in nets]
    asked = ask(scenes, options.peers, stop)
    further = [
        asked.macs,
        probes(plan, answering(plan, see)),
        *got(plan, scenes, len(attached) + hosted.refused),
    ]
    points = [point for here in scenes for point in here.points]
    links = [what.links.get(one.net.interface) for one, what in zip(attached, seen, strict=True)]
    pods = tuple(
        Got(one.name, one.addresses, link.mtu if link is not None else 0)
        for one, link in zip(attached, links, strict=True)
    )
    told = report(points, tuple(asked.promised), asked.promised.get, further)
    return Trial(plan.node, nets[0].file, nets[0].host, pods, told)


def _seen(attached: Sequence[Attached], stop: Stop) -> list[Observed]:
    pods = {one.pod.process: one.pod for one in attached}
    for pod in pods.values():
        pod.ask("look")
    found = {process: pod.answer(stop) for process, pod in pods.items()}
    return [found[one.pod.process] for one in attached]


def _mark(root: Root) -> tuple[int, int] | None:
    """Give what changes with every run that changes anything."""
    try:
        found = os.stat(root.shown(state.STATE))  # noqa: PTH116 - strings, as everywhere here
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _meanwhile(root: Root, before: tuple[int, int] | None) -> Iterator[Finding]:
    if _mark(root) != before or (is_held(root) and not seconds_left(root)):
        yield finding("PL738", "podlan reconcile was at work while pods were tried")
