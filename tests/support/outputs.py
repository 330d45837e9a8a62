"""Outputs as other compiles, people and killed runs leave them."""

from __future__ import annotations

import json
from pathlib import Path


def had(project, directory: str, path: str) -> Path:
    """Make a file of a directory (`nodes/NODE`, `cluster`) one that podlan wrote earlier, as its manifest tells."""
    manifest = project.out / directory / "manifest.json"
    written = json.loads(manifest.read_text(encoding="utf-8"))
    written["files"][path] = "0" * 64
    manifest.write_text(json.dumps(written), encoding="utf-8")
    file = manifest.parent / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("earlier", encoding="utf-8")
    return file


def everything(path: Path) -> dict[str, bytes | None]:
    """Give every file and directory below a path."""
    return {
        found.relative_to(path).as_posix(): found.read_bytes() if found.is_file() else None for found in path.rglob("*")
    }
