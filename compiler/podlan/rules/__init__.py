"""The rules: one function each, a stable code each; no rule stops another from running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.rules import (
    _addresses,
    _capacity,
    _chain,
    _cni,
    _files,
    _kubelet,
    _kubelet_config,
    _masters,
    _networks,
    _plugins,
    _probes,
    _references,
    _registration,
    _renames,
    _runtime,
    _services,
    _versions,
    _vlans,
    _wire,
)
from podlan.rules._registry import Rule
from podlan.rules._silence import silenced
from podlan.rules._stages import stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podlan.addressing import Allocation, Ground
    from podlan.diagnostics import Explanation, Finding
    from podlan.inventory import Site

_BEFORE: tuple[Rule[Mapping[str, Ground]], ...] = (
    *_addresses.RULES,
    *_networks.RULES,
    *_references.RULES,
    *_renames.RULES,
    *_masters.RULES,
    *_vlans.RULES,
    *_chain.RULES,
    *_wire.RULES,
    *_probes.RULES,
    *_services.RULES,
    *_versions.RULES,
    *_cni.RULES,
    *_kubelet.RULES,
    *_kubelet_config.RULES,
    *_registration.RULES,
    *_runtime.RULES,
    *_plugins.RULES,
    *_files.RULES,
)
_AFTER: tuple[Rule[Allocation], ...] = (*_capacity.RULES, *_probes.AFTER)

RULES: tuple[Rule[Mapping[str, Ground]] | Rule[Allocation], ...] = (*_BEFORE, *_AFTER)


def explanations() -> dict[str, Explanation]:
    """Give what every code means that a compile can report."""
    return stages() | {rule.code: rule.explanation for rule in RULES}


def run(site: Site, grounds: Mapping[str, Ground]) -> list[Finding]:
    """Run every rule that needs no addresses given, and give all findings."""
    return [finding for rule in _BEFORE for finding in rule.check(site, grounds)]


def judge(site: Site, allocation: Allocation) -> list[Finding]:
    """Run every rule about what the nodes were given, and give all findings."""
    return [finding for rule in _AFTER for finding in rule.check(site, allocation)]


__all__ = ["RULES", "Rule", "explanations", "judge", "run", "silenced"]
