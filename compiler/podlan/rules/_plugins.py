"""PL425: what a node needs to know before it installs plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.diagnostics import Finding
from podlan.plan import INSTALLABLE, may_install
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.addressing import Ground
    from podlan.inventory import ResolvedNode, Site
    from podlan.source import KeyPath


@rule("PL425", "plugins that a node cannot install")
def plugins_installed_as_reviewed(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Who says where nodes get the plugins from says which archive it is and which version, and a place for programs.

    Why: what a node downloads runs there as root. Only the digest makes it what was reviewed, and only the version
    tells podlan which cniVersion and which keys these plugins take. reconcile refuses any other directory than those
    in which runtimes look for plugins.
    Source: the releases of containernetworking/plugins list the digests in files that end in .sha256.
    Example:
        cni: {name: pods, plugins: {version: "1.4.0", url: "https://mirror.example.com/cni-plugins.tgz"}}
    Instead:
        cni:
          name: pods
          plugins:
            version: "1.4.0"
            url: https://mirror.example.com/cni-plugins.tgz
            sha256: c2485ddb3ffc176578ae30ae58137f0b88e50f7c7f2af7d53a569276b2949a33
    """
    del grounds
    told: set[tuple[KeyPath, str]] = set()
    for node in site.nodes:
        for path, message, hint in _lacking(site, node):
            if (path, hint) not in told:
                told.add((path, hint))
                yield Finding("PL425", message, site.place(path), hint=hint)


def _lacking(site: Site, node: ResolvedNode) -> Iterator[tuple[KeyPath, str, str]]:
    plugins = node.cni.plugins
    url = site.origin(node, "cni", "plugins", "url")
    if plugins.url is None:
        if plugins.sha256 is not None:
            path = site.origin(node, "cni", "plugins", "sha256")
            yield path, f"the plugins of {node.name} have a sha256 and no url", "say where nodes get the archive: url"
        return
    if plugins.sha256 is None:
        hint = "give the archive's sha256, as `sha256sum` prints it"
        yield url, f"nothing says which archive {node.name} may install from {plugins.url}", hint
    if plugins.version is None:
        hint = 'give the version, quoted, as in version: "1.4.0"'
        yield url, f"nothing says which version of the plugins {node.name} gets from {plugins.url}", hint
    if not may_install(f"{node.cni.bin_dir}/macvlan"):
        path = site.origin(node, "cni", "binDir")
        message = f"cni.binDir {node.cni.bin_dir} of {node.name} is not a place in which podlan installs plugins"
        yield path, message, f"use a directory below one of {', '.join(INSTALLABLE)}, or install them otherwise"


RULES = (plugins_installed_as_reviewed,)
