"""What is known of a lab between commands: one directory a lab, one lock beside it, one JSON file in it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podlan.lab.errors import BadName, ForeignLab, LabBusy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path("/run/podlan-lab")


VERSION = 2
"""Version of the state file's form; a lab of another one can be taken down only."""


@dataclass(frozen=True, slots=True)
class LanState:
    """A LAN as built: `gateways` are the gateway's addresses there, with prefix length."""

    name: str
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """A route of a host: to a network, through a gateway or, without one, straight; `source` is its own address."""

    destination: str
    gateway: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A node's end on a LAN: its own addresses there with prefix length, and its routes by this end.

    `access`: the families (4, 6) in which it reaches its own pods here. `shim`: its macvlan child, if it has one.
    `reflects`: the switch sends frames back by the port they came by.
    """

    interface: str
    lan: str
    addresses: tuple[str, ...]
    routes: tuple[Way, ...] = ()
    access: tuple[int, ...] = ()
    shim: str = ""
    reflects: bool = False


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as built."""

    name: str
    ports: tuple[Port, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its own addresses, without prefix length."""
        return tuple(_bare(address) for port in self.ports for address in port.addresses)


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """A pod's interface: `config` is the CNI configuration it was attached with, `result` what ADD gave.

    `master` is the node's interface that it hangs on.
    """

    name: str
    master: str
    addresses: tuple[str, ...]
    config: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as attached: its interfaces in the order in which it got them."""

    name: str
    node: str
    interfaces: tuple[InterfaceState, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses on all of them, without prefix length."""
        return tuple(address for interface in self.interfaces for address in interface.addresses)


@dataclass(frozen=True, slots=True)
class Before:
    """What was found while the nodes had no host access: tries between pods and their own hosts."""

    tried: int = 0
    reached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """A lab that is up: everything that verifying and taking down need. `secured`: one MAC a switch port."""

    lans: tuple[LanState, ...]
    nodes: tuple[NodeState, ...]
    pods: tuple[PodState, ...]
    bin_dirs: dict[str, str]
    before: Before = Before()
    secured: bool = False

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateway's addresses, without prefix length."""
        return tuple(_bare(address) for lan in self.lans for address in lan.gateways)


def _bare(address: str) -> str:
    return address.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Home:
    """Where a lab's namespaces, files and state lie: a private tmpfs below /run/podlan-lab."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", self.name):
            raise BadName(self.name)

    @property
    def path(self) -> Path:
        """The lab's directory."""
        return ROOT / self.name

    @property
    def lock(self) -> Path:
        """The file whose lock says that somebody works on the lab; beside the directory, which comes and goes."""
        return ROOT / f"{self.name}.lock"

    @property
    def output(self) -> Path:
        """Where the lab compiles its site: beside the directory, since it comes first and is found after a kill."""
        return ROOT / f"{self.name}.output"

    @property
    def state(self) -> Path:
        """The file whose presence says that the lab was built to the end."""
        return self.path / "state.json"


def save(home: Home, state: State) -> None:
    """Write down that the lab is up."""
    partial = home.state.with_suffix(".partial")
    document = {"version": VERSION} | dataclasses.asdict(state)
    partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
    partial.rename(home.state)


def load(home: Home) -> State | None:
    """Give the state of a lab that is up, None when there is none or its building was interrupted.

    Raises ForeignLab when what is there is nothing that `save` of this version wrote.
    """
    try:
        return _decode(json.loads(home.state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ForeignLab(home.name, str(error) if isinstance(error, _OtherVersion) else repr(error)) from error


class _OtherVersion(ValueError):
    pass


def _decode(document: dict[str, Any]) -> State:
    if (version := document.pop("version", 1)) != VERSION:
        raise _OtherVersion(f"version {version} of its form, and this podlan reads {VERSION}")
    lans = tuple(LanState(lan["name"], tuple(lan["gateways"])) for lan in document["lans"])
    nodes = tuple(NodeState(node["name"], tuple(map(_port, node["ports"]))) for node in document["nodes"])
    pods = tuple(
        PodState(pod["name"], pod["node"], tuple(map(_interface, pod["interfaces"]))) for pod in document["pods"]
    )
    before = Before(document["before"]["tried"], tuple(document["before"]["reached"]))
    return State(lans, nodes, pods, document["bin_dirs"], before, document["secured"])


def _port(document: dict[str, Any]) -> Port:
    lists: dict[str, Any] = {key: tuple(document[key]) for key in ("addresses", "access")}
    return Port(**document | lists | {"routes": tuple(Way(**way) for way in document["routes"])})


def _interface(document: dict[str, Any]) -> InterfaceState:
    return InterfaceState(**document | {"addresses": tuple(document["addresses"])})


def homes(prefix: str) -> list[Home]:
    """Give the labs whose names begin so, built, half built or half removed; what bears no lab's name is none."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted({path.stem for path in ROOT.iterdir()}):
            with contextlib.suppress(BadName):
                found.append(Home(name))
    return [home for home in found if home.name.startswith(prefix)]


@contextlib.contextmanager
def locked(home: Home) -> Iterator[int]:
    """Hold a lab's lock and give its descriptor, for the lab's programs to inherit; raises LabBusy.

    A lock that only programs of a podlan that died hold is `life.opened`'s to clear.
    """
    descriptor = _take(home)
    try:
        yield descriptor
    finally:
        os.ftruncate(descriptor, 0)
        shutil.rmtree(home.output, ignore_errors=True)
        if not home.path.exists():
            home.lock.unlink(missing_ok=True)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            ROOT.rmdir()  # other labs' directories keep it


def _take(home: Home) -> int:
    while True:
        ROOT.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            continue  # the last lab's end removed the directory just now
        except OSError:
            with contextlib.suppress(OSError):
                ROOT.rmdir()
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise LabBusy(home.name, owner) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), home.lock.stat()):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return descriptor
        os.close(descriptor)  # somebody removed this file between our open and our lock


def abandoned(home: Home) -> bool:
    """Tell whether a podlan died while it worked on a lab, and nobody has come since."""
    try:
        pid = home.lock.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return False
    return bool(pid) and not alive(pid)


def alive(pid: str) -> bool:
    """Tell whether the process that a lock names runs still."""
    return pid.isdecimal() and Path("/proc", pid).exists()
