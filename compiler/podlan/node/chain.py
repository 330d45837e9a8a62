"""A CNI configuration as a runtime runs it: its chain of plugins, what each is given, and what it answers."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]
Call: TypeAlias = Callable[[str, Document], Document]
"""Gives a verb and what it reads to the plugin that `type` in it names; gives its answer, or raises Refusal."""

_CHECK_SINCE = (0, 4, 0)


class Refusal(Exception):
    """A plugin refused; `message` is its own."""

    def __init__(self, verb: str, plugin: str, message: str) -> None:
        super().__init__(verb, plugin, message)
        self.verb = verb
        self.plugin = plugin
        self.message = message

    def __str__(self) -> str:
        return f"{self.verb} by plugin {self.plugin} failed: {self.message}"


def plugins(config: Document) -> list[Document]:
    """Give the plugins in their order, each with what libcni gives it; a plain configuration is a chain of one."""
    if "plugins" not in config:
        return [config]
    common = {key: config[key] for key in ("cniVersion", "name") if key in config}
    return [plugin | common for plugin in config["plugins"]]


def has_check(config: Document) -> bool:
    """Tell whether the version has CHECK, and gives the result of ADD to CHECK and DEL."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", str(config.get("cniVersion") or "0.1.0"))
    return numbers is not None and tuple(map(int, numbers.groups())) >= _CHECK_SINCE


def add(config: Document, call: Call) -> Document:
    """Attach a pod and give the last plugin's result; a failed ADD is followed by DEL, as runtimes do."""
    result: Document | None = None
    try:
        for plugin in plugins(config):
            result = call("ADD", _after(plugin, result))
    except Refusal:
        with contextlib.suppress(Refusal):  # the failure of ADD is the one to tell
            delete(config, None, call)
        raise
    return result or {}


def check(config: Document, result: Document, call: Call) -> None:
    """Let every plugin check that a pod is still as ADD left it, where the configuration's version has CHECK."""
    if has_check(config) and not config.get("disableCheck", False):
        for plugin in plugins(config):
            call("CHECK", _after(plugin, result))


def delete(config: Document, result: Document | None, call: Call) -> None:
    """Detach a pod, the last plugin first."""
    for plugin in reversed(plugins(config)):
        call("DEL", _after(plugin, result if has_check(config) else None))


def answer(verb: str, plugin: str, code: int, out: str, err: str) -> Document:
    """Read what a plugin printed; raises Refusal where it ended with an error."""
    found: Document = {}
    with contextlib.suppress(ValueError, RecursionError):  # CHECK and DEL say nothing
        document = json.loads(out)
        found = document if isinstance(document, dict) else {}
    if code:
        told = " ".join(str(found[key]) for key in ("msg", "details") if found.get(key))
        raise Refusal(verb, plugin, told or "\n".join(filter(None, (out.strip(), err.strip()))) or "no output")
    return found


def addresses(result: Document) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Give the addresses of a result; results before 0.3.0 have one of a family."""
    listed = [entry["address"] for entry in result.get("ips", ())]
    old = [result[key]["ip"] for key in ("ip4", "ip6") if key in result]
    return tuple(ip_interface(text) for text in listed or old)


def macvlan(config: Document) -> Document:
    """Give what the plugin macvlan is told, {} where it is not called."""
    return next((plugin for plugin in plugins(config) if plugin.get("type") == "macvlan"), {})


def mode(config: Document) -> str:
    """Give the macvlan mode in which pods are attached."""
    return str(macvlan(config).get("mode") or "bridge")


def _after(plugin: Document, result: Document | None) -> Document:
    return plugin if result is None else plugin | {"prevResult": result}
