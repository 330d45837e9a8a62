"""The checks, in the order in which they are told, and the one look that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from podlan.node import state
from podlan.node._errors import Unusable
from podlan.node._kernel import Kernel
from podlan.node.altnames import by_own_names
from podlan.node.directory import load
from podlan.node.doctor._bonds import bonds
from podlan.node.doctor._case import Case, case
from podlan.node.doctor._drift import drift
from podlan.node.doctor._kubelet import kubelet
from podlan.node.doctor._leftovers import leftovers
from podlan.node.doctor._plugins import plugins
from podlan.node.doctor._ports import ports
from podlan.node.doctor._reservations import elsewhere, in_use, misplaced
from podlan.node.doctor._settings import neighbours, settings
from podlan.node.doctor._sysctl_files import sysctl_files
from podlan.node.doctor._wire import second_mac, wire
from podlan.node.files import Root

if TYPE_CHECKING:
    from podlan.diagnostics import Finding

Check = Callable[[Case], Iterator["Finding"]]

_CHECKS: tuple[Check, ...] = (
    drift,
    leftovers,
    in_use,
    misplaced,
    elsewhere,
    plugins,
    settings,
    neighbours,
    sysctl_files,
    kubelet,
    ports,
    bonds,
)
_ON_THE_WIRE: tuple[Check, ...] = (wire, second_mac)


def examine(path: str, root: str, *, ask: bool) -> tuple[Finding, ...]:
    """Run all checks on this node, and those that send packets only if told to `ask`.

    Raises a PodlanError where the directory or podlan's record cannot be read.
    """
    files = Root(root)
    directory = load(path, files)
    last = state.recall(files)
    try:
        with Kernel(files) as kernel:
            plan = by_own_names(directory.plan, kernel)
            shared = case(directory, plan, last, files, kernel)
            checks = (*_CHECKS, *(_ON_THE_WIRE if ask else ()))
            return tuple(dict.fromkeys(found for check in checks for found in check(shared)))
    except OSError as error:
        raise Unusable("cannot look at this node", error) from error
