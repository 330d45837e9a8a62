"""A CNI file's networks: who is called, by which name, and with which addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from podlan.audit._addresses import Span, parse_network
from podlan.audit._go_json import Fields
from podlan.audit._host_local import Range, Reading, read_host_local
from podlan.audit._remarks import Remark, Spot, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.audit._remarks import JsonPath

# libcni's own words for a network's name (pkg/utils/utils.go).
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_DATA_DIR = "/var/lib/cni/networks"
_MULTUS = frozenset({"multus", "multus-shim", "multus-cni"})


@dataclass(frozen=True, slots=True)
class Network:
    """One network of one node, with every address its IPAM hands out.

    `store` is where host-local keeps who has which address: below `dataDir`, by the network's name. Behind
    `masquerade` the network is the node's own. `is_default`: the one that every pod gets, not one of Multus.
    """

    file: str
    node: str
    name: str
    name_path: JsonPath
    at: JsonPath
    store: str = _DATA_DIR
    store_path: JsonPath = ()
    ranges: tuple[Range, ...] = ()
    hops: tuple[tuple[int, int, JsonPath], ...] = ()
    masquerade: bool = False
    is_default: bool = True


@dataclass(slots=True)
class Contents:
    """What a file holds. `delegates`: it is Multus' own, which calls other networks, those beside it too.

    `is_cni`: it is a CNI configuration, be it a wrong one.
    """

    networks: list[Network] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    delegates: bool = False
    is_cni: bool = False


def looks_like_cni(value: object) -> bool:
    """Tell whether a JSON value can be meant as a CNI configuration."""
    if not isinstance(value, dict):
        return False
    keys = {key.casefold() for key in value}
    return "plugins" in keys or "cniversion" in keys or {"type", "name"} <= keys or {"type", "ipam"} <= keys


def read_networks(value: dict[str, Any], file: str, node: str, *, is_default: bool = True) -> Contents:
    """Read a `.conflist` (by the file's name), else a single configuration, as libcni does."""
    return _Reader(file, node, is_default=is_default).read(value)


class _Reader:
    """Reads one file; what it has to say gathers in `contents`."""

    def __init__(self, file: str, node: str, *, is_default: bool) -> None:
        self.file = file
        self.node = node
        self.is_default = is_default
        self.contents = Contents(is_cni=True)

    def read(self, value: dict[str, Any]) -> Contents:
        is_list = self.file.endswith(".conflist")
        has_plugins = isinstance(Fields(value).get("plugins"), list)
        if is_list and "plugins" not in value:
            message = "a .conflist needs a list `plugins` (spelled so); this is a single configuration"
            self._say("PL703", message, hint="name the file .conf, or put the configuration into `plugins`")
        elif has_plugins and not is_list:
            message = (
                "a list of plugins in a file that is not named .conflist: runtimes take it for one plugin, and fail"
            )
            self._say("PL703", message, hint="name the file .conflist")
        if has_plugins:
            self._read_list(value)
        elif not is_list or "plugins" not in value:
            self._read_single(value, (), {})
        else:
            self._say("PL703", "`plugins` must be a list", path=("plugins",))
        return self.contents

    def _read_list(self, value: dict[str, Any]) -> None:
        top = Fields(value)
        self._check_spelling(top, ())
        # libcni looks these up in a map, unlike everything below them: here the case counts.
        shared = _shared(value)
        self._check_name(shared.get("name"), ("name",))
        plugins = top.get("plugins")
        if not plugins:
            self._say("PL703", "`plugins` is empty", path=(top.key("plugins"),))
        for index, plugin in enumerate(plugins):
            path = (top.key("plugins"), index)
            if isinstance(plugin, dict):
                self._read_plugin(plugin, path, shared, ("name",))
            else:
                self._say("PL703", "a plugin must be an object", path=path)

    def _read_single(self, value: dict[str, Any], at: JsonPath, shared: dict[str, Any]) -> None:
        fields = Fields(value)
        self._check_name(fields.get("name"), (*at, fields.key("name")))
        self._read_plugin(value, at, shared, (*at, fields.key("name")))

    def _read_plugin(self, value: dict[str, Any], at: JsonPath, shared: dict[str, Any], name_path: JsonPath) -> None:
        config = Fields({**value, **shared})
        self._check_spelling(Fields(value), at)
        kind = config.text("type")
        if not kind:
            self._say("PL703", "a plugin without a type", path=(*at, config.key("type")))
        if kind in _MULTUS:
            self._read_delegates(config, at)
            return
        ipam = config.get("ipam")
        network = Network(
            self.file,
            self.node,
            config.text("name"),
            name_path,
            (*at, config.key("ipam")),
            masquerade=config.get("ipMasq") is True,
            is_default=self.is_default,
        )
        if isinstance(ipam, dict) and ipam:
            self._read_ipam(config, Fields(ipam), network, at)
        elif len(at) == 0 or at[-1] == 0:
            # A plugin further down a list works on the addresses that the first one got.
            self._say("PL710", f"{kind or 'a plugin'} without ipam: no addresses to audit", path=at)

    def _read_delegates(self, config: Fields, at: JsonPath) -> None:
        self.contents.delegates = True
        delegates = config.get("delegates")
        for index, delegate in enumerate(delegates if isinstance(delegates, list) else []):
            path = (*at, config.key("delegates"), index)
            if isinstance(delegate, dict) and isinstance(delegate.get("plugins"), list):
                for number, plugin in enumerate(delegate["plugins"]):
                    shared = _shared(delegate)
                    if isinstance(plugin, dict):
                        self._read_plugin(plugin, (*path, "plugins", number), shared, (*path, "name"))
            elif isinstance(delegate, dict):
                self._read_single(delegate, path, {})

    def _read_ipam(self, config: Fields, ipam: Fields, network: Network, at: JsonPath) -> None:
        kind = ipam.text("type")
        if kind == "host-local":
            reading = read_host_local(config, ipam, network.at, at)
            self._judge(reading)
            store = ipam.text("dataDir") or _DATA_DIR
            path = (*network.at, ipam.key("dataDir"))
            network = replace(
                network, store=store, store_path=path, ranges=tuple(reading.ranges), hops=tuple(reading.hops)
            )
        elif kind == "static":
            self._say("PL710", "static: every pod of this network gets the same addresses", path=network.at)
            network = replace(network, store="static", ranges=tuple(_static(ipam, network.at)))
        else:
            self._say("PL710", f"addresses from ipam {quoted(kind)} cannot be audited", path=network.at)
            return
        if network.masquerade and network.ranges:
            self._say(
                "PL711", f"network {quoted(network.name)} is masqueraded: read as the node's own", path=network.at
            )
        self.contents.networks.append(network)

    def _judge(self, reading: Reading) -> None:
        for path, message in reading.refused:
            self._say("PL704", message, path=path)
        for fields, path, known in reading.objects:
            self._check_spelling(fields, path)
            for key in fields.unknown(known):
                if key.casefold().startswith(("exclu", "reserved", "except")):
                    message = f"host-local ignores {quoted(key)}: these addresses are handed out"
                    self._say("PL707", message, path=(*path, key), hint="cut the range around them", key=True)
                else:
                    self._say("PL708", f"host-local ignores {quoted(key)} here", path=(*path, key), key=True)
        for item in reading.ranges:
            self._judge_gateway(item)

    def _judge_gateway(self, item: Range) -> None:
        gateway = Span(item.gateway[0], item.gateway[1], item.gateway[1])
        if not item.subnet.holds(*item.gateway):
            self._say("PL732", f"the gateway {gateway} is not in the range's subnet", path=(*item.path, "gateway"))
        elif item.span.holds(*item.gateway) and item.has_gateway:
            message = f"the gateway {gateway} lies in its own range {item.span} and is withheld"
            self._say("PL730", message, path=(*item.path, "gateway"))
        elif item.span.holds(*item.gateway):
            self._say("PL731", f"no gateway is given, so {gateway} is withheld from {item.span}", path=item.path)

    def _check_name(self, name: object, path: JsonPath) -> None:
        if not name:
            self._say("PL703", "the network has no name", path=path[:-1])
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            message = f"{quoted(name)} is no network name: letters, digits, and then . _ - too"
            self._say("PL703", message, path=path)

    def _check_spelling(self, fields: Fields, at: JsonPath) -> None:
        if fields.is_ambiguous:
            for keys in fields.spelled_twice():
                names = " and ".join(quoted(key) for key in keys)
                self._say("PL706", f"{names} are one key to the plugins", path=(*at, keys[-1]), key=True)

    def _say(self, code: str, message: str, *, path: JsonPath = (), hint: str = "", key: bool = False) -> None:
        self.contents.remarks.append(Remark(code, message, Spot(self.file, path, key=key), hint))


def _shared(value: dict[str, Any]) -> dict[str, Any]:
    """Give what libcni writes from a list into each of its plugins."""
    return {key: value[key] for key in ("name", "cniVersion") if key in value}


def _static(ipam: Fields, at: JsonPath) -> Iterator[Range]:
    written = ipam.get("addresses")
    for index, item in enumerate(written if isinstance(written, list) else []):
        text = Fields(item).text("address") if isinstance(item, dict) else ""
        try:
            subnet, address = parse_network(text)
        except ValueError:
            continue  # the plugin refuses it, and hands nothing out
        path = (*at, ipam.key("addresses"), index)
        # No address is withheld: a gateway outside the range stands for that.
        yield Range(
            subnet, Span(subnet.family, address, address), (0, 0), has_gateway=False, path=path, start="address"
        )
