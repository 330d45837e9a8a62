"""The site's own files, from its own templates: what went wrong with one is a finding in the template."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

from podlan.diagnostics import Finding, Place
from podlan.plan import File
from podlan.render._artifact import Artifact
from podlan.render._sandbox import Runaway, Sandbox
from podlan.render._variables import variables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podlan.inventory import OwnFile, ResolvedNode, Site
    from podlan.planning import Blueprint

_FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What the expressions of a template raise."""


class OwnFiles:
    """Renders the own files of a site's nodes, and keeps what is wrong with them in `findings`."""

    def __init__(self, site: Site) -> None:
        self.findings: list[Finding] = []
        self._site = site
        self._sandbox = Sandbox(site.templates, sum(len(node.files) for node in site.nodes))
        self._told: set[tuple[str, int, str]] = set()
        self._endless: set[str] = set()

    def render(self, plan: Blueprint, others: Collection[str]) -> Iterator[Artifact]:
        """Render a node's own files; `others` are the paths that podlan itself writes there."""
        files = sorted(plan.node.files.items())
        written = dict.fromkeys(others, "podlan itself")
        for path, file in files:
            clash = _clash(path, written)
            written.setdefault(path, path)
            if clash:
                self._refuse(plan.node, path, *clash)
                continue
            content = self._content(plan, path, file)
            if content is not None:
                entry = File(path, mode=file.mode, source=f"rootfs{path}", restart=tuple(file.restart))
                yield Artifact(entry, content)

    def _content(self, plan: Blueprint, path: str, file: OwnFile) -> bytes | None:
        name = file.template
        if name is None:
            raise AssertionError("rule PL330 lets no file pass without a template")
        if name in self._endless or self._sandbox.is_over:
            return None
        try:
            return self._sandbox.run(name, variables(self._site, plan, file))
        except Runaway as error:
            self._endless.add(name)
            self._tell("PL335", f"the template goes too far: {error}", name, error, (plan.node, path))
        except TemplateSyntaxError as error:
            self._tell("PL334", f"not a jinja2 template: {error.message}", name, error, (plan.node, path))
        except TemplateNotFound as error:
            message = f"there is no template {error.name} to include or extend"
            self._tell("PL334", message, name, error, (plan.node, path))
        except _FAILURES as error:
            self._tell("PL334", str(error) or type(error).__name__, name, error, (plan.node, path))
        return None

    def _tell(self, code: str, problem: str, name: str, error: Exception, what: tuple[ResolvedNode, str]) -> None:
        """Report an error once, where it is in a template, however many nodes it concerns."""
        templates, (node, path) = self._site.templates, what
        file, line = templates.files[name], 1
        names = {shown: name for name, shown in templates.files.items()}
        if isinstance(error, TemplateSyntaxError):
            file, line = error.filename or file, error.lineno
        else:
            for frame, at in traceback.walk_tb(error.__traceback__):
                if frame.f_code.co_filename in names:
                    file, line = frame.f_code.co_filename, at
        if (file, line, problem) in self._told:
            return
        self._told.add((file, line, problem))
        text = (templates.texts[names[file]].splitlines() or [""])[line - 1 : line]
        shown = text[0].strip() if text else ""
        column = len(text[0]) - len(text[0].lstrip()) + 1 if shown else 1
        place = Place(file, line, column, max(1, len(shown)))
        origin = self._site.origin(node, "files", path)
        also = self._site.place(origin, key=True, label=f"for this file of {node.name}")
        problem = " ".join(problem.split())  # one line, whatever jinja2 says
        self.findings.append(Finding(code, problem, place, also=(also,) if also else ()))

    def _refuse(self, node: ResolvedNode, path: str, other: str, whose: str) -> None:
        place = self._site.place(self._site.origin(node, "files", path), key=True)
        told = ("", 0, str(place))
        if told in self._told:
            return
        self._told.add(told)
        what = f"{whose} writes {other}" if whose == "podlan itself" else f"{other} is a file of the site's own"
        message = f"{path} on {node.name} cannot be a file of the site's: {what}"
        self.findings.append(Finding("PL333", message, place, hint="choose another path"))


def _clash(path: str, written: dict[str, str]) -> tuple[str, str] | None:
    """Find a file with the same path, or one of which the other would have to be a directory."""
    for other, whose in written.items():
        if path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/"):
            return other, whose
    return None
