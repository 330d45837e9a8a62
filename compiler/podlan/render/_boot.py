"""What brings the node's network state back after a reboot: a systemd unit or rc.local, and boot.sh."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from podlan.plan import PROTOCOL, WRITABLE, File, Plan
from podlan.render._artifact import HEADER, Artifact, Plain, templates, unit_escape, unit_word
from podlan.render._release import release_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podlan.planning import Blueprint

UNIT = "/etc/systemd/system/podlan-reconcile.service"
NODE_DIRECTORY = "/etc/podlan/node"
PROGRAM = "/usr/local/sbin/podlan-node.pyz"
JOURNAL = "/var/lib/podlan/journal.json"
"""Where the node's side keeps what an interrupted run has done."""

_RC_LOCAL = {"kubeadm-rpm": "/etc/rc.d/rc.local", "legacy": "/etc/rc.d/rc.local"}
"""Red Hat's systemd-rc-local-generator runs /etc/rc.d/rc.local, Debian's /etc/rc.local."""

_OWN = {"/run/podlan", "/var/lib/podlan"}
"""Lock and state. Not by RuntimeDirectory=, which empties it at a stop, dataDir included, before systemd 235."""
_TOO_WIDE = "/run/"


def boot_hook(plan: Blueprint, files: Iterable[File]) -> Artifact:
    """Render the hook by which the node's operating system calls podlan, or boot.sh, at every start.

    `files` are the node's other ones: the unit must be able to write them.
    """
    if plan.node.boot == "rc.local":
        path = _RC_LOCAL.get(plan.node.cluster.distribution, "/etc/rc.local")
        return Artifact(File(path, mode="0755", block=(f"/bin/sh {NODE_DIRECTORY}/boot.sh",)))
    masters = tuple(dict.fromkeys(_awaited(plan.network)))
    release = release_facts(plan)
    places = tuple(file.path for file in files)
    return _unit(masters, places, release.directory if release else "", watch=plan.node.boot == "systemd-watch")


@lru_cache(maxsize=1024)
def _unit(masters: tuple[str, ...], files: tuple[str, ...], plugins: str, *, watch: bool) -> Artifact:
    """Render the unit for a node with these interfaces, files and, where podlan installs them, a directory of plugins.

    Most nodes have the same ones.
    """
    needed = {_directory(path) for path in (*files, UNIT, NODE_DIRECTORY)} | _OWN | ({plugins} if plugins else set())
    text = (
        templates()
        .get_template("podlan-reconcile.service")
        .render(
            header=Plain(HEADER),
            devices=[Plain(f"sys-subsystem-net-devices-{unit_escape(name)}.device") for name in masters],
            directories=[Plain(unit_word(directory)) for directory in sorted(needed)],
            places=[Plain(unit_word(f"-{place}")) for place in _outermost({*_places(), *needed})],
            program=Plain(PROGRAM),
            node=Plain(NODE_DIRECTORY),
            journal=Plain(JOURNAL),
            watch=watch,
        )
    )
    file = File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",), needs=(PROGRAM,))
    return Artifact(file, text.encode())


def _awaited(plan: Plan) -> Iterator[str]:
    """Give the interfaces that the operating system brings up: masters, and what VLANs come by."""
    yield from (link.name if link.kind == "master" else link.master for link in plan.links if link.kind != "macvlan")


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def _places() -> set[str]:
    """Give the directories in which any plan may write: an earlier one's files are removed there."""
    return {place.rstrip("/") for place in WRITABLE if place.endswith("/") and place != _TOO_WIDE}


def _outermost(directories: set[str]) -> list[str]:
    """Leave out what lies below another."""
    return sorted(
        directory for directory in directories if not any(directory.startswith(f"{other}/") for other in directories)
    )


def boot_script(plan: Plan) -> bytes:
    """Render boot.sh: the same network state as reconcile makes, with sh and iproute2 alone."""
    masters = tuple(link for link in plan.links if link.kind == "master")
    vlans = tuple(link for link in plan.links if link.kind == "vlan")
    children = tuple(link for link in plan.links if link.kind == "macvlan")
    names = {link.name for link in (*vlans, *children)}
    early, late = _parted(tuple(plan.sysctls.items()), frozenset(link.name for link in masters), frozenset(names))
    promisc = [link for link in (*masters, *vlans) if link.promisc is not None]
    has_lines = bool(plan.routes or plan.addresses or names or promisc)
    opening, identity, preparing, creating, settings, addressing = _parts()
    parts = (
        opening(
            tuple(dict.fromkeys(_awaited(plan))),
            tuple(link.name for link in masters),
            is_known=bool(plan.identity),
            has_lines=has_lines,
            has_routes=bool(plan.routes),
        ),
        identity(plan.node, plan.identity),
        preparing(
            tuple(address for address in plan.addresses if address.adopt),
            vlans,
            tuple((link.name, altname) for link in (*masters, *vlans) for altname in link.altnames),
            early,
            has_addresses=bool(plan.addresses),
            has_children=bool(children),
            has_lines=has_lines,
        ),
        creating(children),
        settings(late),
        addressing(
            (*vlans, *children),
            sorted(plan.addresses, key=lambda address: address.adopt),
            [route for route in plan.routes if route.link not in names],
            [route for route in plan.routes if route.link in names],
            promisc,
        ),
    )
    return "".join(parts).encode()


@cache
def _parts() -> tuple[Callable[..., str], ...]:
    """Give boot.sh's macros: to call one costs much less than to render a template, once for each node.

    What most nodes have in common is kept, by all that it depends on.
    """
    module: Any = templates().get_template("boot.sh").make_module({"header": Plain(HEADER), "protocol": PROTOCOL})
    kept = lru_cache(maxsize=1024)
    return (
        kept(module.opening),
        module.identity,
        kept(module.preparing),
        module.creating,
        kept(module.settings),
        module.addressing,
    )


@lru_cache(maxsize=1024)
def _parted(
    sysctls: tuple[tuple[str, str], ...], masters: frozenset[str], made: frozenset[str]
) -> tuple[tuple[tuple[str, str, str, str], ...], tuple[tuple[str, str], ...]]:
    """Part the settings: those to make before there are interfaces of podlan's, and those about these."""
    early = tuple((*_around(key, masters), value) for key, value in sysctls if not _concerns(key, made))
    return early, tuple(item for item in sysctls if _concerns(item[0], made))


def _around(sysctl: str, interfaces: frozenset[str]) -> tuple[str, str, str]:
    """Split a key at the interface it is about, if it is about one."""
    parts = sysctl.split("/")
    for index, part in enumerate(parts):
        if part in interfaces:
            return (
                "".join(f"{part}/" for part in parts[:index]),
                part,
                "".join(f"/{part}" for part in parts[index + 1 :]),
            )
    return sysctl, "", ""


def _concerns(sysctl: str, interfaces: frozenset[str]) -> bool:
    return any(part in interfaces for part in sysctl.split("/"))
