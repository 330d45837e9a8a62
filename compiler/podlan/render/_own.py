"""The site's own files, from its own templates: what went wrong with one is a finding in the template."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

from podlan.diagnostics import Finding, Place
from podlan.plan import File
from podlan.render._artifact import Artifact
from podlan.render._cni import cni_facts
from podlan.render._release import release_facts
from podlan.render._sandbox import Runaway, Sandbox
from podlan.render._variables import variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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

    def render(self, plan: Blueprint, others: Iterable[File]) -> Iterator[Artifact]:
        """Render a node's own files; `others` are those that podlan itself writes there."""
        files = sorted(plan.node.files.items())
        places = _podlans(plan, others)
        for path, file in files:
            clash = places.clash(path)
            places.take(path, f"{path} is a file of the site's own")
            if clash:
                self._refuse(plan.node, path, clash)
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
        except SyntaxError as error:
            # jinja2 takes the template, but Python not what jinja2 makes of it: of blocks nested too deep, for one.
            problem = f"no program can be made of the template: {error.msg}"
            self._tell("PL334", problem, name, error, (plan.node, path))
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
        elif isinstance(error, SyntaxError):
            file = error.filename if error.filename in names else file  # its line is one of the program
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

    def _refuse(self, node: ResolvedNode, path: str, clash: str) -> None:
        place = self._site.place(self._site.origin(node, "files", path), key=True)
        told = ("", 0, str(place))
        if told in self._told:
            return
        self._told.add(told)
        message = f"{path} on {node.name} cannot be a file of the site's: {clash}"
        self.findings.append(Finding("PL333", message, place, hint="choose another path"))


class _Places:
    """The files and directories of a node that are taken, each with what it is."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._directories: dict[str, str] = {}

    def take(self, path: str, what: str) -> None:
        """Note a file, and the directories it lies in."""
        self._files.setdefault(path, what)
        for directory in _above(path):
            self._directories.setdefault(directory, what)

    def keep(self, directory: str, what: str) -> None:
        """Note a directory, in which other files may lie."""
        for each in (directory, *_above(directory)):
            self._directories.setdefault(each, what)

    def clash(self, path: str) -> str | None:
        """Tell of a file with the same path, or one of which the other would have to be a directory."""
        for each in (path, *_above(path)):
            if each in self._files:
                return self._files[each]
        return self._directories.get(path)


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _podlans(plan: Blueprint, files: Iterable[File]) -> _Places:
    """Collect what podlan itself writes, installs and needs on a node."""
    places = _Places()
    for file in files:
        places.take(file.path, f"podlan itself writes {file.path}")
        directory, _, unit = file.path.rpartition("/")
        for target in file.wanted_by:
            link = f"{directory}/{target}.wants/{unit}"
            places.take(link, f"podlan itself writes {link}")
    release = release_facts(plan)
    for name in release.names if release else ():
        binary = f"{plan.node.cni.bin_dir}/{name}"
        places.take(binary, f"podlan itself writes {binary}")
    for binary in cni_facts(plan).plugins:
        places.take(binary, f"{binary} is a plugin that the runtime calls")
    for directory in (plan.node.cni.conf_dir, plan.node.cni.bin_dir, plan.node.cni.data_dir):
        places.keep(directory, f"{directory} is a directory of the network's")
    return places
