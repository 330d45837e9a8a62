"""A site as the later stages see it: profiles and defaults resolved, every value still traceable to its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from podlan.inventory._files import OwnFile
from podlan.inventory._models import (
    Boot,
    Cluster,
    Cni,
    HostAccess,
    Inventory,
    Master,
    Node,
    NodeMaster,
    Profile,
    Subnet,
)
from podlan.inventory._section import Section
from podlan.source import read_templates

if TYPE_CHECKING:
    from podlan.diagnostics import Place
    from podlan.inventory._kubelet import Role
    from podlan.inventory._values import IP, AddressRange
    from podlan.source import KeyPath, Source, Templates

_S = TypeVar("_S", bound=Section)
_IPV6 = 6


@dataclass(frozen=True, slots=True)
class Attachment:
    """One master of one node, with what profiles and the node say about it."""

    name: str
    master: Master
    interface: str
    addresses: tuple[IP, ...] = ()
    pods: int | None = None
    ranges: tuple[AddressRange, ...] = ()
    mtu: int | None = None
    mac: str | None = None
    child: str = "macvlan0"
    link: str = ""
    """Of a VLAN that podlan makes: the interface that its frames come by."""
    vlan: int = 0
    """Its number; 0 where the operating system makes the interface."""
    probes: tuple[IP, ...] = ()
    probe_timeout: int = 1

    @property
    def access(self) -> HostAccess:
        """How the host and its pods reach each other here."""
        return self.master.host_access

    @property
    def has_slices(self) -> bool:
        """Tell whether podlan gives this master's pods their addresses, in slices."""
        return self.master.ipam == "host-local"

    def has_shim(self, family: int) -> bool:
        """Tell whether the host has an address of its own for its pods of this family here.

        With `move` too it has one of IPv6: nothing keeps two links with one address from both answering for it, as
        arp_filter does for IPv4.
        """
        return self.has_slices and (self.access.via == "shim" or (self.access.via == "move" and family == _IPV6))


@dataclass(frozen=True, slots=True)
class ResolvedNode:
    """A node with everything that applies to it."""

    name: str
    profiles: tuple[str, ...]
    role: Role
    boot: Boot
    cluster: Cluster
    cni: Cni
    attachments: tuple[Attachment, ...]
    """The primary master first, then the secondary ones by name."""
    files: dict[str, OwnFile]
    """The site's own files on this node, by their paths there."""

    @property
    def primary(self) -> Attachment | None:
        """The master on which every pod has its first interface."""
        return next((attachment for attachment in self.attachments if not attachment.master.secondary), None)


@dataclass(frozen=True)
class Site:
    """A resolved site: what the rules, the allocator and the planner read."""

    inventory: Inventory
    source: Source

    @property
    def name(self) -> str:
        """The site's own name."""
        return self.inventory.site

    @property
    def subnets(self) -> dict[str, Subnet]:
        """The subnets by name."""
        return self.inventory.subnets

    @cached_property
    def nodes(self) -> tuple[ResolvedNode, ...]:
        """The nodes, sorted by name; a profile or a master that does not exist is left out (rules report it)."""
        return tuple(_resolve(self.inventory, name, node) for name, node in sorted(self.inventory.nodes.items()))

    def node(self, name: str) -> ResolvedNode:
        """Give a node. Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, ResolvedNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def carried(self) -> dict[str, tuple[str, ...]]:
        """The subnets of every master, as far as there are such."""
        masters = self.inventory.masters.items()
        return {name: tuple(subnet for subnet in master.subnets if subnet in self.subnets) for name, master in masters}

    @cached_property
    def templates(self) -> Templates:
        """The site's own templates; read only where nodes have files of them."""
        return read_templates(self.source)

    def place(self, path: KeyPath, *, key: bool = False, label: str = "") -> Place | None:
        """Find where something stands in the inventory."""
        return self.source.place(path, key=key, label=label)

    def origin(self, node: ResolvedNode, *keys: str) -> KeyPath:
        """Find where a value that applies to a node is written: the node, its profiles from the last, the site.

        `keys` is the path below the node ("cluster", "kubernetes"); for what an attachment says it begins with
        "masters" and the master's name, and the shorthand at the node counts too.
        """
        own = self._says(("nodes", node.name), keys)
        if own is None:
            shared = (node.profiles, keys)
            if shared not in self._elsewhere:
                self._elsewhere[shared] = self._below_nodes(*shared)
            own = self._elsewhere[shared]
        return own or ("nodes", node.name)

    @cached_property
    def _elsewhere(self) -> dict[tuple[tuple[str, ...], tuple[str, ...]], KeyPath | None]:
        """What the profiles and the site say: asked for every node, and the same for many."""
        return {}

    def _below_nodes(self, profiles: tuple[str, ...], keys: tuple[str, ...]) -> KeyPath | None:
        for profile in reversed(profiles):
            path = self._says(("profiles", profile), keys)
            if path is not None:
                return path
        return keys if self.source.has(keys) else None

    def _says(self, holder: tuple[str, str], keys: tuple[str, ...]) -> KeyPath | None:
        section, name = holder
        entry = self.source.data[section][name]
        for tail in _spellings(keys) if entry else ():
            # Asked so often that it pays to look first whether the entry says anything of the kind.
            if tail[0] in entry and self.source.has((*holder, *tail)):
                return (*holder, *tail)
        return None


_NAME_SIZE = 15
"""Most characters of an interface's name (IFNAMSIZ, linux/if.h, less the final NUL)."""
_SHORTHAND = {"addresses": "address", "pods": "pods", "ranges": "ranges"}


@cache
def _spellings(keys: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    if keys[0] == "masters" and len(keys) > 2 and keys[2] in _SHORTHAND:  # noqa: PLR2004 - masters, NAME, KEY
        return keys, (_SHORTHAND[keys[2]], *keys[3:])
    return (keys,)


def _resolve(inventory: Inventory, name: str, node: Node) -> ResolvedNode:
    known = tuple(profile for profile in node.profiles if profile in inventory.profiles)
    layers: list[Profile] = [inventory.profiles[profile] for profile in known]
    layers.append(node)
    cluster, cni, boot, role = inventory.cluster, inventory.cni, inventory.boot, "worker"
    files = inventory.files
    for layer in layers:
        cluster = _merge(cluster, layer.cluster)
        cni = _merge(cni, layer.cni)
        boot = layer.boot or boot
        role = layer.role or role
        files = _lay_files(files, layer.files)
    attachments = tuple(_attach(inventory, master, layers) for master in _masters(inventory, layers))
    return ResolvedNode(
        name, known, "control-plane" if role == "control-plane" else "worker", boot, cluster, cni, attachments, files
    )


def _lay_files(base: dict[str, OwnFile], override: dict[str, OwnFile]) -> dict[str, OwnFile]:
    """Lay a layer's own files over those of the layers below, path by path."""
    if not override:
        return base
    files = dict(base)
    for path, file in override.items():
        below = files.get(path, OwnFile())
        values = _lay_values(below.values, file.values)
        files[path] = _merge(below, file).model_copy(update={"values": values})
    return files


def _lay_values(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    both = base.keys() & override.keys()
    deep = {key for key in both if isinstance(base[key], dict) and isinstance(override[key], dict)}
    return base | override | {key: _lay_values(base[key], override[key]) for key in deep}


def _merge(base: _S, override: _S | None) -> _S:
    """Lay an override over a base: maps deep, lists replaced."""
    if override is None or not override.model_fields_set:
        return base
    update = {}
    for field in override.model_fields_set:
        value, below = getattr(override, field), getattr(base, field)
        update[field] = _lay(below, value)
    return base.model_copy(update=update)


def _lay(below: Any, value: Any) -> Any:  # noqa: ANN401 - what any field holds
    if isinstance(value, Section) and isinstance(below, Section):
        return _merge(below, value)
    if isinstance(value, dict) and isinstance(below, dict):
        return {**below, **{key: _lay(below.get(key), item) for key, item in value.items()}}
    return value


def _masters(inventory: Inventory, layers: list[Profile]) -> list[str]:
    named = [master for layer in layers for master in layer.masters]
    if not named and sum(not master.secondary for master in inventory.masters.values()) <= 1:
        named = list(inventory.masters)
    # Names, not the order in which masters are written, decide what a child is called.
    return sorted(set(named) & inventory.masters.keys(), key=lambda name: (inventory.masters[name].secondary, name))


def _child(name: str) -> str:
    """Name the macvlan child of a secondary master after it: another master that comes or goes does not rename it."""
    short = f"mv-{name}"
    return short if len(short) <= _NAME_SIZE else f"{short[:9]}-{sha256(name.encode()).hexdigest()[:5]}"


def _attach(inventory: Inventory, name: str, layers: list[Profile]) -> Attachment:
    master = inventory.masters[name]
    attachment = Attachment(
        name,
        master,
        master.interface or "",
        link=master.vlan.link if master.vlan else "",
        vlan=master.vlan.id if master.vlan else 0,
        pods=master.pods_per_node,
        mtu=master.mtu,
        child=master.host_access.interface or (_child(name) if master.secondary else "macvlan0"),
        probes=tuple(master.probes),
        probe_timeout=master.probe_timeout,
    )
    only = len(inventory.masters) == 1
    for layer in layers:
        if only:
            attachment = _shorthand(attachment, layer)
        if name in layer.masters:
            attachment = _override(attachment, layer.masters[name])
    return attachment if attachment.interface else replace(attachment, interface=vlan_name(attachment))


def vlan_name(attachment: Attachment) -> str:
    """Give the name that a VLAN's interface has where nobody gives it another."""
    return f"{attachment.link}.{attachment.vlan}"


def _shorthand(attachment: Attachment, layer: Profile) -> Attachment:
    if layer.pods is not None:
        attachment = replace(attachment, pods=layer.pods)
    if isinstance(layer, Node):
        if layer.address is not None:
            attachment = replace(attachment, addresses=(layer.address,))
        if layer.ranges:
            attachment = replace(attachment, ranges=tuple(layer.ranges))
    return attachment


def _override(attachment: Attachment, override: NodeMaster) -> Attachment:
    return replace(
        attachment,
        interface=override.interface or attachment.interface,
        link=(attachment.vlan and override.vlan.link) or attachment.link,
        addresses=tuple(override.addresses) or attachment.addresses,
        pods=attachment.pods if override.pods is None else override.pods,
        ranges=tuple(override.ranges) or attachment.ranges,
        mtu=override.mtu or attachment.mtu,
        mac=override.host_access.mac or attachment.mac,
        probes=attachment.probes if override.probes is None else tuple(override.probes),
        probe_timeout=override.probe_timeout or attachment.probe_timeout,
    )
