"""The JSON Schema of CNI's configuration files, for which there is no public one.

It is strict about the plugins that podlan writes, whose own readers ignore what they do not know, and open for all
others. Versions in the descriptions are those of containernetworking/plugins.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from podlan.inventory._patterns import INTERFACE, LAN, MAC, NETWORK, SERVER

_Schema: TypeAlias = dict[str, Any]

_VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
_UINT32 = 2**32 - 1
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$"
"""libcni/conf.go, utils.ValidateNetworkName."""


def _text(description: str, **more: Any) -> _Schema:  # noqa: ANN401 - words of JSON Schema
    return {"description": description, "type": "string", **more}


def _number(description: str, minimum: int = 0, maximum: int = _UINT32) -> _Schema:
    return {"description": description, "type": "integer", "minimum": minimum, "maximum": maximum}


def _switch(description: str) -> _Schema:
    return {"description": description, "type": "boolean"}


def _list(description: str, items: _Schema, **more: Any) -> _Schema:  # noqa: ANN401 - words of JSON Schema
    return {"description": description, "type": "array", "items": items, **more}


def _record(description: str, properties: _Schema, *required: str) -> _Schema:
    """Describe an object whose other keys its reader would ignore without a word."""
    needed = {"required": list(required)} if required else {}
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        **needed,
        "additionalProperties": False,
    }


_ADDRESS = {"type": "string", "pattern": SERVER}
_SUBNET = {"type": "string", "pattern": LAN, "not": {"pattern": r"^[0-9.]+/3[12]$|:[0-9A-Fa-f:.]*/12[78]$"}}
_NETWORK = {"type": "string", "pattern": NETWORK}
_MTU: _Schema = {"anyOf": [{"const": 0}, {"type": "integer", "minimum": 68, "maximum": 65535}]}
_MAC = {"type": "string", "pattern": MAC}

_V6 = {"pattern": ":"}


def _of_one_family(*keys: str) -> list[_Schema]:
    """Say of an object that these keys of it are all IPv4, or all IPv6."""
    return [{"properties": dict.fromkeys(keys, family)} for family in ({"not": _V6}, _V6)]


_ROUTE = _record(
    "A route in the pod",
    {
        "dst": {"description": "The network; 0.0.0.0/0 or ::/0 is the default route", **_NETWORK},
        "gw": {"description": "The router; default: the gateway of the range of that family", **_ADDRESS},
        "mtu": _number("Since 1.6, with cniVersion 1.1.0"),
        "advmss": _number("The MSS to announce; since 1.6, with cniVersion 1.1.0"),
        "priority": _number("The metric; since 1.6, with cniVersion 1.1.0"),
        "table": _number("The routing table; since 1.6, with cniVersion 1.1.0"),
        "scope": _number("0 universe, 253 link; since 1.6, with cniVersion 1.1.0", 0, 255),
    },
    "dst",
)
_ROUTE["anyOf"] = _of_one_family("dst", "gw")
_RANGE: dict[str, _Schema] = {
    "subnet": {"description": "The network, without host bits; from /31 and /127 on it is too small", **_SUBNET},
    "rangeStart": {"description": "First address to give away; default: the subnet's first", **_ADDRESS},
    "rangeEnd": {"description": "Last address to give away; default: the subnet's last usable one", **_ADDRESS},
    "gateway": {"description": "Never given away; default: the subnet's first address", **_ADDRESS},
}
_DNS = _record(
    "What the result says of DNS; the kubelet does not read it",
    {
        "nameservers": _list("Servers, in the order in which they are asked", _ADDRESS),
        "domain": _text("The local domain"),
        "search": _list("Domains in which short names are looked up", {"type": "string"}),
        "options": _list("Options of the resolver", {"type": "string"}),
    },
)

_IPAM: dict[str, _Schema] = {
    "host-local": {
        "description": "Addresses from ranges of this node alone; a file an address in dataDir remembers them",
        "properties": {
            "ranges": _list(
                "Every set gives a pod one address: one set a family",
                _list(
                    "Ranges of one family that do not overlap",
                    _record("A range", _RANGE, "subnet"),
                    minItems=1,
                    uniqueItems=True,
                    anyOf=[{"items": family} for family in _of_one_family(*_RANGE)],
                ),
                minItems=1,
                uniqueItems=True,
            ),
            **{key: {**value, "deprecated": True} for key, value in _RANGE.items()},
            "routes": _list("Routes that pods get besides the connected one", _ROUTE, uniqueItems=True),
            "dataDir": _text("Where addresses are remembered, below it by the network's name", pattern="^/"),
            "resolvConf": _text("Read for the result's DNS, which macvlan replaces by its own"),
        },
        "anyOf": [{"required": ["ranges"]}, {"required": ["subnet"]}],
    },
    "dhcp": {
        "description": "Addresses from a DHCP server of the LAN; needs the plugin's daemon on the node",
        "properties": {
            "daemonSocketPath": _text("The daemon's socket; default: /run/cni/dhcp.sock", pattern="^/"),
            "provide": _list(
                "Options to send",
                _record(
                    "An option",
                    {"option": _text("Its name"), "value": _text("Its value"), "fromArg": _text("Its CNI argument")},
                    "option",
                ),
            ),
            "request": _list(
                "Options to ask for",
                _record("An option", {"option": _text("Its name"), "skipDefault": _switch("Leave the defaults out")}),
            ),
            "priority": _number("The metric of routes; since 1.6"),
        },
    },
}

_CAPABILITIES = {
    "description": "What the runtime may pass in runtimeConfig",
    "type": "object",
    "additionalProperties": {"type": "boolean"},
}
_COMMON = {
    "ipam": {"$ref": "#/$defs/ipam"},
    "dns": {"$ref": "#/$defs/dns"},
    "capabilities": {"$ref": "#/$defs/capabilities"},
    "args": {"description": "Arguments of the runtime", "type": "object"},
    "runtimeConfig": {"description": "Written by the runtime", "type": "object"},
}
_NETWORKS = {"type": "array", "items": _NETWORK}
_PLUGINS: dict[str, _Schema] = {
    "macvlan": {
        "description": "An interface of its own on the master, with its own MAC",
        "properties": {
            **_COMMON,
            "master": _text(
                "The host's interface, by name or altname; default: that of the default route",
                pattern=INTERFACE,
                maxLength=15,
            ),
            "mode": {"description": "Default: bridge", "enum": ["bridge", "private", "vepa", "passthru"]},
            "mtu": {"description": "At most the master's, which is the default (0)", **_MTU},
            "mac": {"description": "MAC of the pod's interface", **_MAC},
            "linkInContainer": _switch("Look for the master in the pod's own namespace; since 1.3"),
            "bcqueuelen": _number("Length of the queue of broadcasts; since 1.6; default: 1000 (0)"),
        },
        "required": ["ipam"],
    },
    "tuning": {
        "description": "Settings of the pod's own namespace and interface; chained",
        "properties": {
            **_COMMON,
            "sysctl": {
                "description": "Values below /proc/sys/net; IFNAME is the interface's name (since 1.1)",
                "type": "object",
                "propertyNames": {"pattern": "^net[./]"},
                "additionalProperties": {"type": "string"},
            },
            "mac": {"description": "MAC of the pod's interface", **_MAC},
            "mtu": {"description": "MTU of the pod's interface", **_MTU},
            "promisc": _switch("Make the pod's interface promiscuous"),
            "allmulti": _switch("Take all multicast; since 1.0"),
            "txQLen": _number("Length of the send queue; since 1.4"),
            "dataDir": _text("Where the earlier values are remembered; default: /run/cni/tuning", pattern="^/"),
        },
    },
    "sbr": {
        "description": "Answers leave by the interface whose address was asked; chained",
        "properties": {**_COMMON, "table": _number("The routing table; since 1.6; default: from 100 up", 1)},
    },
    "portmap": {
        "description": "Host ports; chained, and it serves only what passes through the host",
        "properties": {
            **_COMMON,
            "snat": _switch("Masquerade what the host forwards; default: true"),
            "backend": {"description": "Since 1.6", "enum": ["iptables", "nftables"]},
            "masqAll": _switch("Masquerade all; since 1.5"),
            "markMasqBit": _number("Bit of the mark", 0, 31),
            "externalSetMarkChain": {"description": "A chain of others that sets the mark", "type": ["string", "null"]},
            "conditionsV4": _list("Further conditions of iptables", {"type": "string"}),
            "conditionsV6": _list("Further conditions of ip6tables", {"type": "string"}),
        },
    },
    "bandwidth": {
        "description": "Limits of what the pod sends and receives, in bits a second and bits; chained",
        "properties": {
            **_COMMON,
            "ingressRate": _number("To the pod, in bits a second", maximum=2**63 - 1),
            "ingressBurst": _number("To the pod, in bits", maximum=2**63 - 1),
            "egressRate": _number("From the pod, in bits a second", maximum=2**63 - 1),
            "egressBurst": _number("From the pod, in bits", maximum=2**63 - 1),
            "shapedSubnets": {"description": "Only traffic with these networks; since 1.6", **_NETWORKS},
            "unshapedSubnets": {"description": "All traffic but with these networks; since 1.6", **_NETWORKS},
        },
    },
}


def cni_schema() -> _Schema:
    """Give the schema of a .conf or .conflist file."""
    head = {
        "cniVersion": {"description": "Version of the file's form; every plugin must know it", "enum": _VERSIONS},
        "name": _text("The network's name; host-local's memory goes by it", pattern=_NAME),
    }
    plugin = {**_ref("plugin"), "unevaluatedProperties": False}
    listed = {
        **head,
        "cniVersions": _list("Further versions of the file's form; since libcni 1.2", {"enum": _VERSIONS}),
        "disableCheck": _switch("Never call CHECK; since cniVersion 0.4.0"),
        "disableGC": _switch("Never call GC; since cniVersion 1.1.0"),
        "loadOnlyInlinedPlugins": _switch("Ignore the directory of the network's name; since libcni 1.3"),
        "plugins": _list("Called in this order at a pod's start", plugin, minItems=1),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "cni.schema.json",
        "title": "CNI configuration",
        "description": "A file of a CNI directory: one plugin (.conf), or a list of them (.conflist)",
        "type": "object",
        "required": ["cniVersion", "name"],
        "if": {"required": ["plugins"]},
        "then": {"properties": listed, "patternProperties": {"^cni\\.dev/": True}, "additionalProperties": False},
        "else": {**_ref("plugin"), "properties": head, "unevaluatedProperties": False},
        "$defs": {
            "plugin": _chosen("A plugin", _PLUGINS),
            "ipam": {
                "description": "Where addresses come from; nothing of it: the pod gets none",
                "if": {"type": "object", "maxProperties": 0},
                "else": {**_ref("ipamPlugin"), "unevaluatedProperties": False},
            },
            "ipamPlugin": _chosen("A plugin for addresses", _IPAM),
            "dns": _DNS,
            "capabilities": _CAPABILITIES,
            **{f"type-{kind}": schema for kind, schema in (_PLUGINS | _IPAM).items()},
        },
    }


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/$defs/{name}"}


def _chosen(description: str, kinds: dict[str, _Schema]) -> _Schema:
    """Let `type` choose what else may stand there; of a type that is not known here, anything may."""
    cases: list[_Schema] = [
        {"if": {"properties": {"type": {"const": kind}}}, "then": {"$ref": f"#/$defs/type-{kind}"}} for kind in kinds
    ]
    unknown = {"if": {"properties": {"type": {"not": {"enum": list(kinds)}}}}, "then": {"additionalProperties": True}}
    name = _text("The plugin's program", minLength=1, pattern="^[^/]+$", examples=list(kinds))
    return {
        "description": description,
        "type": "object",
        "properties": {"type": name},
        "required": ["type"],
        "allOf": [*cases, unknown],
    }
