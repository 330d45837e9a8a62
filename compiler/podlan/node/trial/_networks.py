"""The networks that pods get on this node: as its CNI files say now, and as its plan wants them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from podlan.diagnostics import Exit, PodlanError
from podlan.node import chain
from podlan.node.cnifiles import taken
from podlan.node.networks import DATA_DIR, Network, network
from podlan.node.observe import bare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.node._kernel import Kernel
    from podlan.node.chain import Document
    from podlan.node.directory import NodeDirectory
    from podlan.node.files import Root
    from podlan.node.observe import Observed
    from podlan.node.state import State
    from podlan.plan import Plan


class NoNetwork(PodlanError):
    """This node gives no pod a network."""

    def __init__(self, problem: str, remedy: str, exit_code: int = Exit.FAILED) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy
        self.exit_code = exit_code  # type: ignore[misc]  # a plan without pods is the environment's

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Net:
    """One network: `config` is what its plugins are called with, `planned` what the plan has in the file's place.

    `interface` is the pods', `mtu` and `master` (by the kernel's name) are the master's. `host` are the addresses by
    which pods know their host, and `access` the families in which the plan lets them reach it.
    """

    file: str
    interface: str
    config: Document
    planned: Document
    known: Network | None
    master: str
    mtu: int
    host: tuple[str, ...]
    access: frozenset[int]


def networks(directory: NodeDirectory, plan: Plan, last: State, root: Root, kernel: Kernel, see: Observed) -> list[Net]:
    """Read the network that every pod gets, and those of secondary masters that are on the node.

    Raises NoNetwork where the runtime has none to give, or the plan wants none.
    """
    cni = directory.plan.cni
    if cni is None:
        raise NoNetwork(
            f"the plan of {plan.node} has no CNI file: it gives pods no network", "there is nothing to verify", 4
        )
    chosen = taken(directory, last, root)
    if chosen is None:
        place = root.shown(cni.file.rpartition("/")[0])
        raise NoNetwork(f"the runtime finds no CNI file in {place}", "run podlan reconcile")
    if chosen.broken:
        raise NoNetwork(f"{chosen.file} {chosen.broken}, and so the runtime has no network", "repair or remove it")
    sources = {file.path: file.source for file in directory.plan.files if file.source in directory.files}
    planned = _document(directory.files.get(sources.get(cni.file, ""), b"{}"))
    found = [(chosen.file, "eth0", planned)]
    for path, source in sources.items():
        content = directory.files[source]
        if path != cni.file and path.startswith("/etc/cni/") and network(path, content) is not None:
            found.append((root.shown(path), f"net{len(found)}", _document(content)))
    nets = [one for file in found for one in _net(*file, plan, root, kernel, see)]
    for net in nets:
        for link in map(kernel.own_name, _handed_over(net.config)):
            # The file that the runtime takes may name another link than the plan does, of which the plan knows nothing.
            if net.host or link != net.master:
                raise NoNetwork(
                    f"a pod of {net.file} would have {link} for itself, with this host's addresses on it, if any",
                    "podlan verify does not cut its own host off",
                )
    return nets


def _net(
    file: str, interface: str, planned: Document, plan: Plan, root: Root, kernel: Kernel, see: Observed
) -> Iterator[Net]:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - pathlib costs 10 ms
            config = _document(opened.read())
    except FileNotFoundError:  # of a secondary master: `podlan doctor` tells
        return
    master = kernel.own_name(str(chain.macvlan(planned).get("master") or ""))
    children = {link.name for link in plan.links if link.kind == "macvlan" and link.master == master}
    bridged = {link.name for link in plan.links if link.name in children and link.mode == "bridge"}
    there = {bare(one.address) for one in see.addresses if one.link in {master, *children}}
    own = [bare(one.address) for one in plan.addresses if one.link in {master, *children}]
    ways = [one.address for one in plan.addresses if one.link in bridged]
    ways += [one.destination for one in plan.routes if one.link in bridged]
    yield Net(
        file=file,
        interface=interface,
        config=_below(config, root),
        planned=planned,
        known=network(file, json.dumps(planned).encode()),
        master=master,
        mtu=see.links[master].mtu if master in see.links else 0,
        host=tuple(dict.fromkeys([*(one for one in plan.identity if one in there), *own])),
        access=frozenset(ip_network(text, strict=False).version for text in ways),
    )


def _handed_over(config: Document) -> Iterator[str]:
    """Give the host's links that a pod of this configuration takes from it."""
    for plugin in chain.plugins(config):
        if plugin.get("type") == "host-device":
            yield str(plugin.get("device") or "an interface")
        elif plugin.get("mode") == "passthru":
            yield str(plugin.get("master") or "the default route's interface")


def _document(content: bytes) -> Document:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _below(config: Document, root: Root) -> Document:
    """Let host-local keep its reservations below the root, too."""
    if root.is_host:
        return config
    if "plugins" in config:
        return config | {"plugins": [_below(plugin, root) for plugin in config["plugins"]]}
    ipam = config.get("ipam")
    if not isinstance(ipam, dict) or ipam.get("type") != "host-local":
        return config
    return config | {"ipam": ipam | {"dataDir": root.shown(str(ipam.get("dataDir") or DATA_DIR))}}
