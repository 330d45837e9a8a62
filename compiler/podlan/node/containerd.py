"""What containerd's own configuration says of CNI, beside what the plan needs: read, never written."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from podlan.node.codes import finding
from podlan.node.tomltree import Setting, is_same, said, shown, table_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.diagnostics import Finding
    from podlan.node.tomltree import Tree
    from podlan.plan import Runtime

_MAIN = "/etc/containerd/config.toml"
_DROP_INS = "/etc/containerd/conf.d/*.toml"
_SECOND = 2
_SECOND_FORM = 3  # the form of the file that came with containerd 2
_IMPORTS_BY_DEFAULT = (2, 2)  # the first release that reads drop-ins where there is no config.toml
_CRI = ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri", "cri")  # of forms 3, 2 and 1
_DISABLED = (*_CRI, "io.containerd.cri.v1.images")

_Tables = dict[str, dict[str, Any]]


def containerd(tree: Tree, runtime: Runtime) -> Iterator[Finding]:
    """Tell where it would look for other files or plugins than the plan's, or not look at all."""
    main = tree.table(_MAIN)
    release = tuple(int(number) for number in re.findall(r"\d+", runtime.version)[:2])
    if not release and main is not None:
        form = main.get("version")
        release = (_SECOND,) if isinstance(form, int) and form >= _SECOND_FORM else (1,)
    tables = _read_by_it(tree, main, release)
    for path in tree.planned:
        if path.startswith("/etc/containerd/") and path not in tables:
            yield finding("PL639", _not_imported(tree, path, main))
            tables[path] = tree.table(path) or {}
    for path, table in tables.items():
        disabled = table.get("disabled_plugins")
        if isinstance(disabled, list) and any(name in _DISABLED for name in disabled):
            yield finding("PL637", f"{tree.root.shown(path)} says disabled_plugins = {shown(disabled)}")
    is_second = release >= (_SECOND,)
    settings = _settings(tables, is_second=is_second)
    section = f'[plugins."{_CRI[0] if is_second else _CRI[1]}".cni]'
    yield from _directories(tree, runtime, settings, section)
    yield from _runtimes(tree, runtime, tables)
    number, template = said(settings, "max_conf_num", 1), said(settings, "conf_template", "")
    if number.value != 1:
        where = tree.root.shown(number.path)
        yield finding("PL642", f"{where} says max_conf_num = {shown(number.value)}; set it to 1 in {section}")
    if template.value:
        yield finding("PL638", f"{tree.root.shown(template.path)} says conf_template = {shown(template.value)}")


def _not_imported(tree: Tree, path: str, main: dict[str, Any] | None) -> str:
    pattern = f'"{path.rpartition("/")[0]}/*.toml"'
    where, drop_in = tree.root.shown(_MAIN), tree.root.shown(path)
    if main is None:
        return (
            f"containerd before 2.2 does not read {drop_in} where there is no {where}: write one with the lines "
            f"version = 3 and imports = [{pattern}]"
        )
    how = f"add {pattern} to its imports" if "imports" in main else f"add imports = [{pattern}] before its first table"
    return f"{where} does not import {drop_in}: {how}"


def _read_by_it(tree: Tree, main: dict[str, Any] | None, release: tuple[int, ...]) -> _Tables:
    tables: _Tables = {}
    if main is None:
        patterns = [_DROP_INS] if not release or release >= _IMPORTS_BY_DEFAULT else []
    else:
        tables[_MAIN] = main
        patterns = _imports(main, _MAIN, release)
    while patterns:
        for path in tree.matching(patterns.pop(0)):
            if path not in tables:
                tables[path] = tree.table(path) or {}
                patterns += _imports(tables[path], path, release)
    return tables


def _imports(table: dict[str, Any], path: str, release: tuple[int, ...]) -> list[str]:
    imports = table.get("imports")
    if not isinstance(imports, list):
        return []
    return [os.path.normpath(f"{_base(one, path, release)}{one}") for one in map(str, imports)]


def _base(one: str, path: str, release: tuple[int, ...]) -> str:
    if one.startswith("/"):
        return ""
    # containerd 1 looks for a pattern from where it was started, which is / for a unit.
    return "/" if "*" in one and release < (_SECOND,) else f"{path.rpartition('/')[0]}/"


def _cri(table: dict[str, Any]) -> dict[str, Any] | None:
    plugins = table_in(table, "plugins")
    return next((plugins[name] for name in _CRI if isinstance(plugins.get(name), dict)), None)


def _settings(tables: _Tables, *, is_second: bool) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    for path, table in tables.items():
        cri = _cri(table)
        if cri is None:
            continue
        if not is_second:  # a file that is imported takes the place of the whole section
            settings = {}
        settings |= {key: Setting(value, path) for key, value in table_in(cri, "cni").items()}
    return settings


def _directories(tree: Tree, runtime: Runtime, settings: dict[str, Setting], section: str) -> Iterator[Finding]:
    conf_dir = said(settings, "conf_dir", "/etc/cni/net.d")
    if not is_same(conf_dir.value, runtime.conf_dir):
        yield _elsewhere(tree, conf_dir, "conf_dir", runtime.conf_dir, section)
    dirs, one = said(settings, "bin_dirs", []), said(settings, "bin_dir", "/opt/cni/bin")
    values = dirs.value if isinstance(dirs.value, list) and dirs.value else [one.value]
    if any(is_same(value, runtime.bin_dir) for value in values):
        return
    if dirs.path:
        yield _elsewhere(tree, dirs, "bin_dirs", [*values, runtime.bin_dir], section)
    else:
        yield _elsewhere(tree, one, "bin_dir", runtime.bin_dir, section)


def _elsewhere(tree: Tree, setting: Setting, key: str, wanted: object, section: str) -> Finding:
    where = tree.root.shown(setting.path or _MAIN)
    says = f"{key} = {shown(setting.value)}" if setting.path else f"no {key}, which means {shown(setting.value)}"
    return finding("PL636", f"{where} says {says}; set {key} = {shown(wanted)} in {section} there")


def _runtimes(tree: Tree, runtime: Runtime, tables: _Tables) -> Iterator[Finding]:
    for path, table in tables.items():
        for name, handler in table_in(_cri(table) or {}, "containerd", "runtimes").items():
            directory = handler.get("cni_conf_dir") if isinstance(handler, dict) else None
            if directory and not is_same(directory, runtime.conf_dir):
                where = tree.root.shown(path)
                yield finding("PL636", f"{where} says cni_conf_dir = {shown(directory)} for runtime {name}; remove it")
