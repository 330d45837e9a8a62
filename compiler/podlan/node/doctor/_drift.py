"""What differs from the plan, and what stands in its way: asked of reconcile itself, in a run that changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node._errors import Stopped
from podlan.node.cnifiles import cni_findings
from podlan.node.copy import KeepCopy, is_kept
from podlan.node.doctor._case import told
from podlan.node.filediff import file_changes
from podlan.node.reconcile import reconcile
from podlan.node.run import Options
from podlan.node.runtime import runtime_findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_SHOWN = 3


def drift(case: Case) -> Iterator[Finding]:
    """Tell what reconcile would say, one finding a file that it would write, and one for all of the network."""
    files = file_changes(case.directory, case.last, case.root)
    for operation in files.operations:
        path = getattr(operation, "path", "")
        yield told("PL670", f"{case.root.shown(path)} is not as planned", place=case.root.shown(path))
    try:
        options = Options(root=case.root.directory, preview=True)
        result = reconcile(case.directory.path, options, lambda *_: case.directory)
    except Stopped as stop:
        yield from stop.findings
        yield from cni_findings(case.directory, case.last, case.root)
        yield from runtime_findings(case.directory, case.last, case.root)
        yield from files.findings
        return
    yield from result.findings
    rest = {str(operation) for operation in files.operations} | {str(KeepCopy(case.root, case.directory))}
    others = [text for text in result.operations if text not in rest]
    if others:
        more = f"; … and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        shown = "; ".join(_first_line(text) for text in others[:_SHOWN])
        yield told("PL670", f"the network is not as planned; to repair: {shown}{more}")
    if not is_kept(case.root, case.directory):
        yield told("PL670", f"{case.directory.path} is not what this node keeps as its own copy")


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
