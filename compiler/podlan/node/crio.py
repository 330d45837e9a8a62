"""What CRI-O's own configuration says of CNI, beside what the plan needs: read, never written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.node.codes import finding
from podlan.node.tomltree import Setting, is_same, said, shown, table_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.tomltree import Tree
    from podlan.plan import Runtime

_MAIN = "/etc/crio/crio.conf"
_DROP_INS = "/etc/crio/crio.conf.d/*"
_SECTION = "[crio.network]"


def crio(tree: Tree, runtime: Runtime, network: str) -> Iterator[Finding]:
    """Tell where it would look for other files or plugins than the plan's, or use another network than this one."""
    settings = _settings(tree)
    network_dir = said(settings, "network_dir", "/etc/cni/net.d")
    if not is_same(network_dir.value, runtime.conf_dir):
        yield _elsewhere(tree, network_dir, "network_dir", runtime.conf_dir)
    dirs, one = said(settings, "plugin_dirs", []), said(settings, "plugin_dir", "")
    values = [*(dirs.value if isinstance(dirs.value, list) else []), *([one.value] if one.value else [])]
    if not any(is_same(value, runtime.bin_dir) for value in values or ["/opt/cni/bin"]):
        setting = Setting(values or ["/opt/cni/bin"], dirs.path or one.path)
        yield _elsewhere(tree, setting, "plugin_dirs", [*values, runtime.bin_dir])
    default = said(settings, "cni_default_network", "")
    if network and default.value not in ("", network):
        where = tree.root.shown(default.path)
        yield finding("PL641", f"{where} says cni_default_network = {shown(default.value)}, and podlan's is {network}")


def default_network(tree: Tree) -> str:
    """Give the network that it is told to use by name, '' where it takes the first file."""
    return str(said(_settings(tree), "cni_default_network", "").value)


def _settings(tree: Tree) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    for path in (_MAIN, *tree.matching(_DROP_INS)):
        network = table_in(tree.table(path) or {}, "crio", "network")
        settings |= {key: Setting(value, path) for key, value in network.items()}
    return settings


def _elsewhere(tree: Tree, setting: Setting, key: str, wanted: object) -> Finding:
    where = tree.root.shown(setting.path or _MAIN)
    says = f"{key} = {shown(setting.value)}" if setting.path else f"no {key}, which means {shown(setting.value)}"
    return finding("PL636", f"{where} says {says}; set {key} = {shown(wanted)} in {_SECTION} there")
