"""The audit: gather the files, read each, judge all together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan.audit._clashes import clashes, count
from podlan.audit._files import read_directory
from podlan.audit._gather import Gathered, gather
from podlan.audit._remarks import Remark, placed
from podlan.audit._text import text_of
from podlan.diagnostics import has_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.audit._networks import Network
    from podlan.audit._own import Own
    from podlan.diagnostics import Finding


@dataclass(frozen=True, slots=True)
class Report:
    """What the audit found. `addresses` counts those that nodes hand out on a wire they share, each once."""

    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    nodes: int = 0
    addresses: int = 0

    @property
    def failed(self) -> bool:
        """Tell whether any finding is an error."""
        return has_errors(self.findings)


def audit(paths: Iterable[str], own: Iterable[Own] = (), remarks: Iterable[Remark] = ()) -> Report:
    """Audit the CNI files at and below every path.

    `own` are addresses of nodes that no plan tells, `remarks` what was wrong with their list. Raises OSError for a
    file or directory that cannot be read: it could hold anything.
    """
    gathered = gather(paths)
    said = list(remarks)
    networks: list[Network] = []
    for directory in gathered.directories:
        found, about = read_directory(directory)
        networks += found
        said += about
    # Behind masquerading the addresses stay on the node: nobody else's can clash with them.
    shared = sorted((network for network in networks if not network.masquerade), key=lambda network: network.node)
    said += clashes(shared, [*own, *_planned(gathered)])
    files = [file for directory in gathered.directories for file in directory.files]
    if not files:
        said.append(
            Remark("PL712", "no .conf, .conflist or .json file is here", hint="name the directory of CNI files")
        )
    return Report(placed(said, _text), len(files), len({file.node for file in files}), count(shared))


def _planned(gathered: Gathered) -> Iterator[Own]:
    """Give what the plans tell, under the names by which the nodes go here."""
    return (item._replace(node=node) for node, plan in gathered.plans for item in plan.own)


def _text(path: str) -> str:
    """Read a file again, to tell where something stands in it; it may have gone since."""
    try:
        return text_of(path)
    except (OSError, ValueError):
        return ""
