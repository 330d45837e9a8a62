"""PL310: earlier names (`was`) that cannot be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Finding
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import Site
    from podlan.source import KeyPath


@rule("PL310", "an earlier name that is none")
def earlier_name(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """`was` names a node, or a subnet, that the site no longer has, and stands at one of them only.

    Why: what the lock holds under the earlier name passes to the new one. While both names are there, or two claim
    it, nothing tells whose it is, and living pods would lose their addresses.
    Example:
        nodes:
          node-1: {address: 10.0.0.1}
          node-2: {address: 10.0.0.2, was: node-1}
    Instead:
        nodes:
          node-1: {address: 10.0.0.1}
          node-2: {address: 10.0.0.2, was: worker-2}
    """
    del grounds
    for section, entries in (("nodes", site.inventory.nodes), ("subnets", site.inventory.subnets)):
        what = section[:-1]
        written: Mapping[str, object] = site.source.get((section,), {})
        first: dict[str, str] = {}
        for name, entry in entries.items():
            if entry.was is None:
                continue
            path: KeyPath = (section, name, "was")
            at: KeyPath = (section, entry.was)
            label = f"{entry.was} is here"
            other = first.setdefault(entry.was, name)
            if entry.was == name:
                message, hint, at = f"{name} was always called {name}", "remove `was`", ()
            elif entry.was in written:
                message = f"{name} cannot have been {entry.was}: the site has a {what} of that name"
                hint = f"rename in two steps, {entry.was} first and compiled; or remove `was`, once the lock has {name}"
            elif other != name:
                message = f"{name} and {other} cannot both have been {entry.was}"
                hint, at, label = "leave it at the one that is the same", (section, other, "was"), "and here"
            else:
                continue
            also = site.place(at, key=len(at) == 2, label=label) if at else None  # noqa: PLR2004 - an entry's key
            yield Finding("PL310", message, site.place(path), hint=hint, also=(also,) if also else ())


RULES = (earlier_name,)
