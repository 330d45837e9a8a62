"""The rules: one function each, a stable code each; no rule stops another from running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.rules import _addresses, _cni, _networks, _references, _renames, _versions
from podlan.rules._registry import Rule
from podlan.rules._stages import stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podlan.addressing import Ground
    from podlan.diagnostics import Explanation, Finding
    from podlan.inventory import Site

RULES: tuple[Rule, ...] = (
    *_addresses.RULES,
    *_networks.RULES,
    *_references.RULES,
    *_renames.RULES,
    *_versions.RULES,
    *_cni.RULES,
)


def explanations() -> dict[str, Explanation]:
    """Give what every code means that a compile can report."""
    return stages() | {rule.code: rule.explanation for rule in RULES}


def run(site: Site, grounds: Mapping[str, Ground]) -> list[Finding]:
    """Run every rule and give all findings."""
    return [finding for rule in RULES for finding in rule.check(site, grounds)]


__all__ = ["RULES", "Rule", "explanations", "run"]
