"""CNI files as people leave them on nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from podlan.audit import Report, audit


def config(*sets: list[dict[str, Any]], **ipam: Any) -> dict[str, Any]:
    """Make a plugin configuration of host-local sets."""
    written = {"type": "host-local", **({"ranges": list(sets)} if sets else {}), **ipam}
    return {"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "master": "eth0", "ipam": written}


def rng(start: int, end: int, **more: Any) -> dict[str, Any]:
    """Make a range of 10.0.0.0/24 by its last octets; the gateway is at its end, out of the way."""
    ends = {"rangeStart": f"10.0.0.{start}", "rangeEnd": f"10.0.0.{end}"}
    return {"subnet": "10.0.0.0/24", **ends, "gateway": "10.0.0.254", **more}


def write(root: Path, files: dict[str, Any]) -> Path:
    """Write files by their paths; what is no text is written as JSON."""
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")
    return root


def audited(root: Path, files: dict[str, Any], **options: Any) -> Report:
    """Audit files that are written for it."""
    return audit([str(write(root, files))], **options)


def codes(report: Report) -> list[str]:
    """Name what was found, each as often as it was."""
    return sorted(finding.code for finding in report.findings)
