"""What can stand in the way of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from podlan.diagnostics import Exit, PodlanError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHOWN = 8


def _down(name: str) -> str:
    return f"podlan lab down --name {name}"


class NeedsRoot(PodlanError):
    """Namespaces of this kind are root's."""

    def __str__(self) -> str:
        return "a lab makes network and mount namespaces, which only root may; run it with sudo"


class ToolMissing(PodlanError):
    """A program that the lab runs is not installed."""

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(tool, package)
        self.tool = tool
        self.package = package

    def __str__(self) -> str:
        return f"no program {self.tool!r} on PATH; install it (Debian: apt-get install {self.package})"


class PluginsMissing(PodlanError):
    """No directory holds every CNI plugin that the site calls."""

    def __init__(self, plugins: Sequence[str], looked: Sequence[Path]) -> None:
        super().__init__(plugins, looked)
        self.plugins = tuple(plugins)
        self.looked = tuple(looked)

    def __str__(self) -> str:
        where = ", ".join(str(path) for path in self.looked)
        return (
            f"no CNI plugins {', '.join(self.plugins)} in {where}; install them"
            " (Debian: apt-get install containernetworking-plugins) or name their directory with --plugins"
        )


class Unsupported(PodlanError):
    """A site, or a node of it, that the lab cannot build yet."""

    def __init__(self, what: str, instead: str) -> None:
        super().__init__(what, instead)
        self.what = what
        self.instead = instead

    def __str__(self) -> str:
        return f"the lab cannot build this site: {self.what}; {self.instead}"


class LabExists(PodlanError):
    """A lab of this name is up already."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"lab {self.name} is up already; choose another --name, or take it down: {_down(self.name)}"


class NoLab(PodlanError):
    """No lab of this name is up."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no lab {self.name} is up here; build it with 'podlan lab up SITE'"


class NoLabs(PodlanError):
    """No lab at all is up, and none was named."""

    def __str__(self) -> str:
        return "no lab is up here; build one with 'podlan lab up SITE'"


class ManyLabs(PodlanError):
    """Several labs are up, and the command does not say which it means."""

    exit_code: ClassVar[int] = 2

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.names = tuple(names)

    def __str__(self) -> str:
        return f"several labs are here: {', '.join(self.names)}; say which with --name NAME, or by its SITE"


class NoPlace(PodlanError):
    """A lab has no node, pod or part of the LAN of this name; `near` are those that it may have been."""

    exit_code: ClassVar[int] = 2

    def __init__(self, place: str, lab: str, near: Sequence[str]) -> None:
        super().__init__(place, lab, near)
        self.place = place
        self.lab = lab
        self.near = tuple(near)

    def __str__(self) -> str:
        more = ", …" if len(self.near) > _SHOWN else ""
        return f"lab {self.lab} has no place {self.place!r}; it has {', '.join(self.near[:_SHOWN])}{more}"


class NoLease(PodlanError):
    """A DHCP client got no lease; `output` is what client and server said."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, node: str, address: str, output: str) -> None:
        super().__init__(node, address, output)
        self.node = node
        self.address = address
        self.output = output

    def __str__(self) -> str:
        return (
            f"node {self.node} got no lease of {self.address}: {_last_words(self.output)};"
            " a server leases no address that somebody answers for, so choose a free one"
        )


class Pointless(PodlanError):
    """A fault that would change nothing here."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class ForeignLab(PodlanError):
    """A lab whose state another version of podlan wrote, or somebody changed."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot read the state of lab {self.name} ({self.problem}); take it down: {_down(self.name)}"


class Damaged(PodlanError):
    """Somebody took namespaces away from a lab that is up; `places` are those without."""

    def __init__(self, name: str, places: Sequence[str]) -> None:
        super().__init__(name, places)
        self.name = name
        self.places = tuple(places)

    def __str__(self) -> str:
        more = ", …" if len(self.places) > _SHOWN else ""
        return (
            f"lab {self.name} has lost the namespaces of {', '.join(self.places[:_SHOWN])}{more}, which somebody"
            f" unmounted or deleted; take it down: {_down(self.name)}"
        )


class LabBusy(PodlanError):
    """Another process works on this lab now."""

    exit_code: ClassVar[int] = Exit.NOT_READY

    def __init__(self, name: str, pid: str) -> None:
        super().__init__(name, pid)
        self.name = name
        self.pid = pid

    def __str__(self) -> str:
        return f"process {self.pid or 'unknown'} works on lab {self.name} now; wait for it, or choose another --name"


class BadName(PodlanError):
    """A lab's name that would not do as a directory's."""

    exit_code: ClassVar[int] = 2

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"bad lab name {self.name!r}; use up to 40 letters, digits and dashes, a letter or digit first"


class CommandFailed(PodlanError):
    """A program that builds the lab failed."""

    def __init__(self, doing: str, output: str) -> None:
        super().__init__(doing, output)
        self.doing = doing
        self.output = output

    def __str__(self) -> str:
        return (
            f"{self.doing} failed: {_last_words(self.output)}; the lab needs a kernel and privileges to make namespaces"
        )


class ReconcileFailed(PodlanError):
    """A node did not come to match its plan."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, node: str, code: int, output: str) -> None:
        super().__init__(node, code, output)
        self.node = node
        self.code = code
        self.output = output

    def __str__(self) -> str:
        lines = "".join(f"\n  {line}" for line in self.output.strip().splitlines()[-40:])
        return f"node {self.node}: 'podlan reconcile' ended with {self.code}; its last output:{lines}"


class FlagsLost(PodlanError):
    """Merging podlan's flags into a file lost flags that were there before, or did not happen."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, node: str, path: str, missing: Sequence[str]) -> None:
        super().__init__(node, path, missing)
        self.node = node
        self.path = path
        self.missing = tuple(missing)

    def __str__(self) -> str:
        return f"node {self.node}: after reconcile {self.path} lacks {' '.join(self.missing)}; this is a bug in podlan"


class PluginFailed(PodlanError):
    """A CNI plugin refused; `message` is its own."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, node: str, pod: str, verb: str, plugin: str, message: str) -> None:
        super().__init__(node, pod, verb, plugin, message)
        self.node = node
        self.pod = pod
        self.verb = verb
        self.plugin = plugin
        self.message = message

    def __str__(self) -> str:
        return (
            f"pod {self.pod}: {self.verb} by plugin {self.plugin} failed: {self.message};"
            f" look at the CNI configuration that was compiled for node {self.node}"
        )


class WrongAddress(PodlanError):
    """A pod was given an address that it must not have."""

    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, pod: str, address: str, problem: str) -> None:
        super().__init__(pod, address, problem)
        self.pod = pod
        self.address = address
        self.problem = problem

    def __str__(self) -> str:
        return f"pod {self.pod} was given {self.address}: {self.problem}; compare the ranges in the nodes' CNI files"


class Remains(PodlanError):
    """Something of a lab could not be removed."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(name, what)
        self.name = name
        self.what = what

    def __str__(self) -> str:
        return f"lab {self.name} is not wholly gone: {self.what}; end what uses it, then again: {_down(self.name)}"


def _last_words(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "no output"
