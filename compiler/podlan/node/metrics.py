"""What a watch has done, as a text file for node_exporter's textfile collector."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from podlan import __version__
from podlan.node.files import Root

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = ("unchanged", "changed", "waiting", "failed")


@dataclass(slots=True)
class Metrics:
    """The figures; times are in seconds since the epoch, 0 for what never was."""

    node: str = ""
    last_run: float = 0.0
    last_success: float = 0.0
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESULTS, 0))
    repairs: int = 0
    repair_seconds: float = 0.0
    findings: dict[str, int] = field(default_factory=dict)
    drift: bool = False

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        about = f'{{version="{_quoted(__version__)}",node="{_quoted(self.node)}"}}'
        yield from _metric("podlan_info", "gauge", "The program and its node.", {about: 1})
        yield from _metric("podlan_last_run_timestamp_seconds", "gauge", "When a run ended.", {"": self.last_run})
        yield from _metric(
            "podlan_last_success_timestamp_seconds", "gauge", "When the node was as planned.", {"": self.last_success}
        )
        yield from _metric(
            "podlan_runs_total",
            "counter",
            "Runs by how they ended.",
            {f'{{result="{result}"}}': count for result, count in self.runs.items()},
        )
        yield from _metric("podlan_repairs_total", "counter", "Operations that repaired drift.", {"": self.repairs})
        yield from _metric(
            "podlan_last_repair_seconds",
            "gauge",
            "From the first change to the end of its repair.",
            {"": self.repair_seconds},
        )
        yield from _metric(
            "podlan_findings",
            "gauge",
            "Findings of the last run.",
            {f'{{code="{code}"}}': count for code, count in sorted(self.findings.items())},
        )
        yield from _metric("podlan_drift", "gauge", "1 while the node is not as planned.", {"": int(self.drift)})


def write(path: str, metrics: Metrics) -> None:
    """Write the file at once, under a name in between that the collector does not read."""
    directory, name = os.path.split(path)
    Root(os.path.realpath(directory or ".")).write(f"/{name}", str(metrics).encode(), 0o644)


def _metric(name: str, kind: str, about: str, values: dict[str, float]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values.items():
        yield f"{name}{labels} {round(value, 3)}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
