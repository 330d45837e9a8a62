"""How many MAC addresses this node shows its switch port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node.doctor._case import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case


def ports(case: Case) -> Iterator[Finding]:
    """Count them for each master: now, and with every address of the slice in use."""
    parents = [link.name for network in case.networks if (link := case.master(network)) is not None]
    for master in dict.fromkeys(parents):
        on_host = sorted(
            link.name
            for link in case.observed.links.values()
            if link.kind == "macvlan" and link.master == master and link.mode != "passthru"
        )
        pods = len({link.mac for link in case.look.pods.links if link.master == master})
        full = sum(network.size for network in case.networks if (one := case.master(network)) and one.name == master)
        now = 1 + len(on_host) + pods
        parts = ", ".join([f"{master}'s own", *on_host, f"{pods} of pods"])
        then = f", and {1 + len(on_host) + full} with every address of the slice in use" if full else ""
        unsure = "" if case.look.pods.complete else "at least "
        yield told("PL677", f"{master} shows its switch {unsure}{now} MAC addresses now ({parts}){then}")
