"""PL33x: the site's own files, as far as their templates need not be run."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from podlan.diagnostics import Finding, Severity
from podlan.plan import may_write
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import OwnFile, ResolvedNode, Site
    from podlan.source import KeyPath

_PODLANS = ("/etc/podlan/", "/run/podlan/", "/usr/local/sbin/podlan", "/usr/local/lib/podlan/")
"""Where podlan keeps its program, each node's own directory, and what it remembers."""
_CNI_SUFFIXES = (".conf", ".conflist", ".json")
"""What libcni's loader reads in its directory."""


def _files(site: Site) -> Iterator[tuple[ResolvedNode, str, OwnFile, KeyPath]]:
    """Give each own file once, where it is written, however many nodes have it."""
    told: set[tuple[KeyPath, str | None]] = set()
    for node in site.nodes:
        for path, file in node.files.items():
            origin = site.origin(node, "files", path)
            if (origin, file.template) not in told:
                told.add((origin, file.template))
                yield node, path, file, origin


@rule("PL330", "no template")
def template_there(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The template of every own file is a file of the site's directory templates, which lies beside its YAML files.

    Each layer (site, profiles, node) may say some of a file; one of them names the template.
    Why: a file without a template has no content.
    Example:
        files:
          /etc/sysctl.d/90-site.conf: {mode: "0644"}
    Instead:
        files: {}
    """
    del grounds
    for node, path, file, origin in _files(site):
        if file.template is None:
            message = f"{path} on {node.name} has no template"
            yield Finding("PL330", message, site.place(origin, key=True), hint="name one: template: NAME.j2")
        elif file.template not in site.templates.files:
            near = difflib.get_close_matches(file.template, site.templates.files, n=1)
            hint = f"did you mean {near[0]}?" if near else f"write {site.templates.directory}/{file.template}"
            message = f"there is no template {file.template} for {path}"
            place = site.place(site.origin(node, "files", path, "template"))
            yield Finding("PL330", message, place, hint=hint)


@rule("PL331", "a file where no plan may write")
def writable(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """The path of an own file lies where a plan may write on a node, and where podlan keeps nothing of its own.

    Why: a node refuses a plan that writes elsewhere, so that no inventory can replace its passwords or its shell; and
    podlan's program and memory are no place for others.
    Example:
        files:
          /etc/motd: {template: motd.j2}
    Instead:
        files: {}
    """
    del grounds
    for node, path, _, origin in _files(site):
        place = site.place(origin, key=True)
        if any(path.startswith(own) or f"{path}/" == own for own in _PODLANS):
            message = f"{path} on {node.name} lies where podlan keeps its own"
            yield Finding("PL331", message, place, hint="choose another directory")
        elif not may_write(path):
            message = f"a plan may not write {path} on {node.name}"
            hint = "own files may lie in /etc/sysctl.d, /etc/systemd, /etc/kubernetes, /etc/default, /opt and the like"
            yield Finding("PL331", message, place, hint=hint)


@rule("PL332", "an own file that a runtime reads as a network")
def no_other_network(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """No own file in the CNI directory ends in .conf, .conflist or .json and sorts before podlan's.

    Why: a runtime takes the first file of that directory as the network of all pods. Multus is meant to be that file:
    then silence this with the reason.
    Source: containerd, max_conf_num is 1; ocicni takes the first file that is valid.
    Example:
        files:
          /etc/cni/net.d/00-other.conflist: {template: other.j2}
    Instead:
        files: {}
    """
    del grounds
    for node, path, _, origin in _files(site):
        directory, _, name = path.rpartition("/")
        cni = node.cni
        first = cni.file_name or f"05-podlan.{cni.format}"
        if directory == cni.conf_dir and name.endswith(_CNI_SUFFIXES) and name < first:
            message = f"{path} on {node.name} sorts before {first}: runtimes take it as the network of all pods"
            hint = f"give it another ending, or a name that sorts after {first}"
            yield Finding("PL332", message, site.place(origin, key=True), Severity.WARNING, hint)


RULES = (template_there, writable, no_other_network)
