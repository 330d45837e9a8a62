"""What every check looks at: the plan, what is there, the networks of pods, and the pods themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podlan.diagnostics import Place, Severity
from podlan.node.codes import finding
from podlan.node.doctor._namespaces import Pods, pods
from podlan.node.networks import Network, networks
from podlan.node.observe import observe
from podlan.node.store import Reservation, reservations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node._kernel import Kernel
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.observe import LinkState, Observed
    from podlan.node.state import State
    from podlan.plan import Plan


@dataclass(frozen=True, slots=True)
class Look:
    """What pods have, and what host-local believes they have; both change at any time."""

    pods: Pods
    reserved: tuple[Reservation, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A node; `plan` calls the masters by the kernel's own names."""

    directory: NodeDirectory
    plan: Plan
    last: State
    root: Root
    kernel: Kernel
    observed: Observed
    networks: tuple[Network, ...]
    look: Look

    @property
    def host_access(self) -> Iterator[str]:
        """Give the addresses that podlan adds to this node."""
        return (address.address.partition("/")[0] for address in self.plan.addresses if not address.adopt)

    def master(self, network: Network) -> LinkState | None:
        """Give the interface that a network's pods hang on."""
        links = self.observed.links.values()
        return next((link for link in links if network.master in (link.name, *link.altnames)), None)

    def look_again(self) -> Look:
        """Look once more at what may have changed."""
        return _look(self.networks, self.observed, self.root)


def case(directory: NodeDirectory, plan: Plan, last: State, root: Root, kernel: Kernel) -> Case:
    """Look at a node."""
    found = tuple(networks(directory, root))
    names = [
        *(name for link in plan.links for name in (link.name, link.master) if name),
        *(one.master for one in found),
    ]
    observed = observe(kernel, dict.fromkeys(name for name in names if name), ())
    return Case(directory, plan, last, root, kernel, observed, found, _look(found, observed, root))


def _look(networks: tuple[Network, ...], observed: Observed, root: Root) -> Look:
    # A pod that comes is reserved before it has its address, so the pods are looked at first.
    here = pods({link.index: link.name for link in observed.links.values()})
    return Look(here, tuple(one for network in networks for one in reservations(network, root)))


def told(
    code: str, message: str, *, place: str | Place = "", hint: str = "", severity: Severity | None = None
) -> Finding:
    """Make a finding of the table; `place` is a file on the node, `hint` and `severity` stand for the table's own."""
    found = finding(code, message)
    where = Place(place, 1, 1) if isinstance(place, str) and place else place or None
    return replace(
        found,
        place=where if isinstance(where, Place) else None,
        hint=hint or found.hint,
        severity=severity or found.severity,
    )
