"""Findings, their printers, and the root of podlan's exceptions. Standard library only: the node uses it too."""

from podlan.diagnostics._errors import Exit, PodlanError
from podlan.diagnostics._explanation import Explanation
from podlan.diagnostics._finding import Finding, Place, Severity, has_errors, has_warnings
from podlan.diagnostics._json import as_json
from podlan.diagnostics._text import printable, text

__all__ = [
    "Exit",
    "Explanation",
    "Finding",
    "Place",
    "PodlanError",
    "Severity",
    "as_json",
    "has_errors",
    "has_warnings",
    "printable",
    "text",
]
