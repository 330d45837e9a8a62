"""Bonds that pods' frames leave by, in a mode that gives the frames other MAC addresses than the pods'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node.doctor._case import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.doctor._case import Case

_REWRITING = {5: "balance-tlb", 6: "balance-alb"}
"""By the kernel's numbers (linux/if_bonding.h)."""


def bonds(case: Case) -> Iterator[Finding]:
    """Tell of masters that are such a bond, or a VLAN on one."""
    for master in dict.fromkeys(link.name for network in case.networks if (link := case.master(network))):
        bond, mode = _bond(case, master)
        if mode in _REWRITING:
            where = bond if bond == master else f"{bond}, on which {master} is,"
            yield told("PL695", f"{where} is a bond in mode {_REWRITING[mode]}, and pods' frames leave by it")


def _bond(case: Case, name: str) -> tuple[str, int]:
    """Give the bond that a link is, or a VLAN is on, and its mode; -1 where there is none."""
    while name and (message := case.kernel.find_link(name)) is not None:
        kind, parent = message.get(("linkinfo", "kind")), message.get("link")
        if kind == "bond":
            return name, int(message.get(("linkinfo", "data", "bond_mode")) or 0)
        if kind != "vlan" or not parent or message.get("link_netnsid") is not None:
            break
        name = case.kernel.name(parent)
    return "", -1
