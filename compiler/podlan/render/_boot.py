"""What brings the node's network state back after a reboot: a systemd unit or rc.local, and boot.sh."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

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
    needed = {_directory(path) for path in (*(file.path for file in files), UNIT, NODE_DIRECTORY)} | _OWN
    needed |= {release.directory} if release else set()
    return _unit(masters, frozenset(needed), watch=plan.node.boot == "systemd-watch")


@lru_cache(maxsize=1024)
def _unit(masters: tuple[str, ...], needed: frozenset[str], *, watch: bool) -> Artifact:
    """Render the unit for a node with these interfaces and directories; most nodes have the same ones."""
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
    masters = [link for link in plan.links if link.kind == "master"]
    vlans = [link for link in plan.links if link.kind == "vlan"]
    children = [link for link in plan.links if link.kind == "macvlan"]
    names = {link.name for link in (*vlans, *children)}
    text = _script()(
        plan=plan,
        masters=masters,
        awaited=list(dict.fromkeys(_awaited(plan))),
        vlans=vlans,
        children=children,
        altnames=[(link.name, altname) for link in (*masters, *vlans) for altname in link.altnames],
        early=[
            (*_around(key, {link.name for link in masters}), value)
            for key, value in plan.sysctls.items()
            if not _concerns(key, names)
        ],
        late=[item for item in plan.sysctls.items() if _concerns(item[0], names)],
        fallbacks=[route for route in plan.routes if route.link not in names],
        routes=[route for route in plan.routes if route.link in names],
        addresses=sorted(plan.addresses, key=lambda address: address.adopt),
        adopted=[address for address in plan.addresses if address.adopt],
        promisc=[link for link in (*masters, *vlans) if link.promisc is not None],
    )
    return text.encode()


@cache
def _script() -> Callable[..., str]:
    """Give boot.sh's macro: to call it costs much less than to render a template, once for each node."""
    module = templates().get_template("boot.sh").make_module({"header": Plain(HEADER), "protocol": PROTOCOL})
    script: Callable[..., str] = module.script  # type: ignore[attr-defined]  # a macro of the template
    return script


def _around(sysctl: str, interfaces: set[str]) -> tuple[str, str, str]:
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


def _concerns(sysctl: str, interfaces: set[str]) -> bool:
    return any(part in interfaces for part in sysctl.split("/"))
