"""The container runtime's TOML files as they will be after the run: others' as they lie there, and the plan's own."""

from __future__ import annotations

import fnmatch
import json
import os
from dataclasses import field
from typing import TYPE_CHECKING, Any

from podlan.node.codes import finding
from podlan.node.state import obsolete
from podlan.records import dataclass

if TYPE_CHECKING:
    from podlan.diagnostics import Finding
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.state import State


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the file that it comes from ('' for the runtime's own default)."""

    value: Any
    path: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """Files by their path; what cannot be read is told in `findings` and counts as empty."""

    planned: dict[str, bytes]
    leaving: set[str]
    root: Root
    findings: list[Finding] = field(default_factory=list)

    def table(self, path: str) -> dict[str, Any] | None:
        """Give the file's content, None where there is no file."""
        content = self.planned.get(path)
        try:
            if content is None:
                # A pipe would wait for its writer.
                descriptor = os.open(self.root.shown(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                    content = file.read()
            import tomllib  # noqa: PLC0415 - 5 ms, and only where a runtime is configured by files

            return tomllib.loads(content.decode())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            found = finding("PL640", f"{self.root.shown(path)} cannot be read: {reason}")
            if found not in self.findings:
                self.findings.append(found)
            return {}

    def matching(self, pattern: str) -> list[str]:
        """Give the paths that a pattern names, sorted."""
        directory = pattern.rpartition("/")[0]
        try:
            there = os.listdir(self.root.shown(directory or "/"))  # noqa: PTH208 - pathlib costs 10 ms
        except OSError:
            there = []
        paths = ({f"{directory}/{name}" for name in there} - self.leaving) | set(self.planned)
        return sorted(
            path for path in paths if path.rpartition("/")[0] == directory and fnmatch.fnmatchcase(path, pattern)
        )


def tree_of(directory: NodeDirectory, last: State, root: Root) -> Tree:
    """Give the files of a node as this run will leave them."""
    planned = {file.path: directory.files[file.source] for file in directory.plan.files if file.source}
    return Tree(planned, obsolete(last, directory.plan), root)


def table_in(table: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Give a table in a table, an empty one where there is none, or something else."""
    for key in keys:
        value = table.get(key)
        table = value if isinstance(value, dict) else {}
    return table


def said(settings: dict[str, Setting], key: str, default: object) -> Setting:
    """Give a setting, or the runtime's own default where it is missing or empty."""
    setting = settings.get(key)
    return setting if setting is not None and setting.value not in ("", []) else Setting(default)


def is_same(value: object, path: str) -> bool:
    """Tell whether a value means this path."""
    return isinstance(value, str) and os.path.normpath(value) == os.path.normpath(path)


def shown(value: object) -> str:
    """Give a value as TOML: strings, numbers and lists of them look as in JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)
