"""Whether answers hold, by what `podlan check` itself says about the site that they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from podlan import pipeline
from podlan.cli.scaffold._text import example_address, free_gateway, node_of, site_text
from podlan.diagnostics import Severity, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.cli.scaffold._answers import Answers

_SHAPE = ("PL0", "PL1")
"""Codes of what is wrong with a value by itself, whatever the others are."""


def problem(answers: Answers, *, shape_only: bool = False) -> str:
    """Give the first error or warning in one line that says what to do; nothing where there is none.

    `shape_only` leaves out what depends on other answers.
    """
    for node in answers.nodes:
        if not all(node_of(node)):
            return printable(f"{node!r} is not NAME=ADDRESS; write it as in node-1=192.168.1.11")
    if answers.host_access == "move" and ":" in answers.subnet and not shape_only:
        return "move is for the nodes' IPv4 addresses, and the subnet is one of IPv6; take shim or none"
    return next(_problems(answers, shape_only=shape_only), "")


def _problems(answers: Answers, *, shape_only: bool) -> Iterator[str]:
    judged = _completed(answers)
    with TemporaryDirectory(prefix="podlan-init-") as directory:
        Path(directory, "site.yaml").write_text(site_text(judged), encoding="ascii")
        findings = pipeline.check(Path(directory)).findings
    for finding in findings:
        if finding.severity is not Severity.NOTE and (not shape_only or finding.code.startswith(_SHAPE)):
            yield printable(f"{finding.message}; {finding.hint}" if finding.hint else finding.message)


def _completed(answers: Answers) -> Answers:
    """Put a gateway and a node where there is none yet: rules that need them would find only later what is wrong."""
    if not answers.gateway:
        answers = replace(answers, gateway=free_gateway(answers))
    example = example_address(answers)
    return replace(answers, nodes=(f"node-1={example}",)) if example and not answers.nodes else answers
