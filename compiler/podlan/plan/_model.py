"""A node's plan: everything one node must have, as plain data. The waist between compiler and node."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from podlan.records import dataclass

PLAN_VERSION = 1
"""Version of the plan's JSON form; a node refuses a plan of a newer one."""

PROTOCOL = 112
"""Protocol number of podlan's own routes and addresses (rtm_protocol, IFA_PROTO); unassigned in rtnetlink(7)."""

Mode = Literal["bridge", "private", "vepa", "passthru"]


@dataclass(frozen=True, slots=True)
class Link:
    """An interface.

    `kind` 'master': it exists already; podlan waits for it, sets its promiscuous flag (None: leaves it), gives it
    the `altnames` it lacks (kernel 5.5), and never creates or deletes it. `kind` 'macvlan': podlan's own child of
    `master`, up, with this mode, MAC and alias. In mode passthru the child has its master's MAC, and `mac` is not
    set. `kind` 'vlan': podlan's own interface for the frames that `master` has with the tag `vlan`, up, with this
    alias; what macvlan children and `promisc` want of a master it has, too. One that fits and that others made is
    used as a master is. Every link that addresses, routes and probes name stands in the plan's links.

    `mtu` in bytes, 0: left alone. A master is never given it: it is what pods' interfaces there have, so that the
    master needs as much.
    """

    name: str
    kind: Literal["master", "macvlan", "vlan"]
    promisc: bool | None = None
    master: str = ""
    mode: Mode = "bridge"
    mac: str = ""
    alias: str = ""
    altnames: tuple[str, ...] = ()
    mtu: int = 0
    vlan: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """An address with prefix length ('172.16.129.199/32') on a link.

    `metric` is that of its prefix route (kernel 4.18), 0 for the kernel's own choice. `adopt`: the address
    belongs to the operating system; podlan waits for it, changes its metric only, and never adds or
    deletes it. `announce`: tell the neighbours (gratuitous ARP) when it appears.
    """

    link: str
    address: str
    metric: int = 0
    adopt: bool = False
    announce: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table.

    `destination` is a network ('0.0.0.0/0' for the default route); without `gateway` it is on-link
    (scope link); `source` is the preferred source address; `metric` 0 is the kernel's default (1024 for
    IPv6). `replaces`: take the place of another's route with the same destination and metric, and give
    it back at the end.
    """

    link: str
    destination: str
    gateway: str = ""
    source: str = ""
    metric: int = 0
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class EnvFlags:
    """Command-line flags that must stand in a shell-style variable (`KUBELET_EXTRA_ARGS="..."`) of a file."""

    variable: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A file on the node; exactly one of `source`, `env_flags` and `block` is given.

    `source`: the whole file, at this path relative to the node's directory. `env_flags`: merged into
    the file's other flags and lines, which stay. `block`: these lines between podlan's marks, the rest
    of the file stays. `mode` is octal text ('0644'). `restart`: units that read the file only at their
    start. `wanted_by`: for a systemd unit, the targets that pull it in; `start`: begin with it as soon as it is new,
    and do not wait for the next boot. `needs`: programs that the file calls, by
    absolute path; without them it is of no use.
    """

    path: str
    mode: str = "0644"
    source: str = ""
    env_flags: EnvFlags | None = None
    block: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = ()
    start: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """An address that must still answer (ARP for IPv4, neighbour discovery for IPv6) after a change.

    `timeout`: how many seconds it has for that, 1 to 60.
    """

    link: str
    address: str
    timeout: int = 1


@dataclass(frozen=True, slots=True)
class Cni:
    """What preflight looks for: podlan's configuration file and the plugin binaries it calls (absolute paths)."""

    file: str
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """The archive (tar, compressed or not) that the plugin binaries come from.

    `url` is https, http or file; `sha256` that of the archive, in hexadecimal; `names` are the binaries to put into
    `directory`.
    """

    version: str
    url: str
    sha256: str
    directory: str
    names: tuple[str, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """Give where the binaries are, or will be."""
        return tuple(f"{self.directory}/{name}" for name in self.names)


@dataclass(frozen=True, slots=True)
class Runtime:
    """What preflight compares with the container runtime's own configuration.

    `version` is empty where the inventory does not say it; the directories are where the runtime must look for CNI
    files and for plugins.
    """

    name: Literal["containerd", "cri-o", "docker"]
    conf_dir: str
    bin_dir: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a node must have.

    `sysctls` maps a path below /proc/sys to its value, in the order to write them. `identity`: the node's own
    addresses, without prefix length: a machine whose master does not have them all is another node. `release`: where
    missing plugin binaries come from.
    """

    node: str
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    probes: tuple[Probe, ...] = ()
    cni: Cni | None = None
    identity: tuple[str, ...] = ()
    release: Release | None = None
    runtime: Runtime | None = None
