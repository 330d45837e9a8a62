"""Further names of masters (altnames): operations, and which of them there are to do."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from podlan.node.removal import link_of
from podlan.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node._kernel import Kernel
    from podlan.node.observe import Observed
    from podlan.node.state import State
    from podlan.plan import Plan


@dataclass(frozen=True, slots=True)
class AltnameAdd:
    """Give an interface one more name."""

    link: str
    altname: str

    def do(self, kernel: Kernel) -> None:
        """Add it."""
        kernel.link("property_add", index=kernel.index(self.link), altname=self.altname)

    def undo(self, kernel: Kernel) -> None:
        """Delete it, if this interface has it."""
        if _has(kernel, self.link, self.altname):
            kernel.link("property_del", index=kernel.index(self.link), altname=self.altname)

    def __str__(self) -> str:
        return f"ip link property add dev {self.link} altname {shlex.quote(self.altname)}"


@dataclass(frozen=True, slots=True)
class AltnameDelete:
    """Take one of its further names from an interface."""

    link: str
    altname: str

    def do(self, kernel: Kernel) -> None:
        """Delete it."""
        kernel.link("property_del", index=kernel.index(self.link), altname=self.altname)

    def undo(self, kernel: Kernel) -> None:
        """Give it back, unless this interface has it."""
        if not _has(kernel, self.link, self.altname):
            AltnameAdd(self.link, self.altname).do(kernel)

    def __str__(self) -> str:
        return f"ip link property del dev {self.link} altname {shlex.quote(self.altname)}"


def _has(kernel: Kernel, link: str, altname: str) -> bool:
    owner = kernel.own_name(altname)
    return bool(owner) and owner == kernel.own_name(link)


def altname_changes(plan: Plan, last: State, observed: Observed) -> Iterator[AltnameAdd | AltnameDelete]:
    """Give what is to be taken away, then what is to be added: a name may go from one interface to another."""
    for link, altname in leaving(plan, last, observed):
        yield AltnameDelete(link, altname)
    for wanted in plan.links:
        state = observed.links.get(wanted.name)
        has = (state.name, *state.altnames) if state is not None else ()
        for altname in wanted.altnames:
            if (state is not None or wanted.kind == "vlan") and altname not in has:
                yield AltnameAdd(wanted.name, altname)


def leaving(plan: Plan, last: State, observed: Observed) -> tuple[tuple[str, str], ...]:
    """Give the names that podlan added, that are still there, and that the plan does not want there any more."""
    wanted = {(link.name, altname) for link in plan.links for altname in link.altnames}
    return tuple(
        (link, altname)
        for link, altname in last.altnames
        if (link, altname) not in wanted and link in observed.links and altname in observed.links[link].altnames
    )


def taken(plan: Plan, last: State, observed: Observed) -> Iterator[tuple[str, str, str]]:
    """Give each name that the plan wants and another interface has and keeps: who wants it, the name, who has it."""
    free = set(leaving(plan, last, observed))
    for link in plan.links:
        for altname in link.altnames:
            owner = observed.owners.get(altname, "")
            if owner not in ("", link.name) and (owner, altname) not in free:
                yield link.name, altname, owner


def by_own_names(plan: Plan, kernel: Kernel) -> Plan:
    """Give the plan with each master under the name that the kernel knows it by: the plan may use an altname."""
    names = {link.name if link.kind == "master" else link.master for link in plan.links}
    own = {name: kernel.own_name(name) for name in names}
    changed = {name: now for name, now in own.items() if now not in ("", name, *names)}
    if not changed:
        return plan

    def renamed(key: str) -> str:
        link = link_of(key)
        return key.replace(f"/{link}/", f"/{changed[link]}/") if link in changed else key

    return replace(
        plan,
        links=tuple(
            replace(link, name=changed.get(link.name, link.name), master=changed.get(link.master, link.master))
            for link in plan.links
        ),
        addresses=tuple(replace(one, link=changed.get(one.link, one.link)) for one in plan.addresses),
        routes=tuple(replace(one, link=changed.get(one.link, one.link)) for one in plan.routes),
        probes=tuple(replace(one, link=changed.get(one.link, one.link)) for one in plan.probes),
        sysctls={renamed(key): value for key, value in plan.sysctls.items()},
    )
