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


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as built: its own addresses, and the families (4, 6) in which it has host access to its pods."""

    name: str
    addresses: tuple[str, ...]
    access: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod as attached: `config` is the CNI configuration it was attached with, `result` what ADD gave."""

    name: str
    node: str
    addresses: tuple[str, ...]
    config: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """A lab that is up: addresses without prefix length, everything that verifying and taking down need."""

    gateways: tuple[str, ...]
    nodes: tuple[NodeState, ...]
    pods: tuple[PodState, ...]
    bin_dirs: dict[str, str]


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
    partial.write_text(json.dumps(dataclasses.asdict(state), indent=1), encoding="utf-8")
    partial.rename(home.state)


def load(home: Home) -> State | None:
    """Give the state of a lab that is up, None when there is none or its building was interrupted.

    Raises ForeignLab when what is there is nothing that `save` of this version wrote.
    """
    try:
        return _decode(json.loads(home.state.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignLab(home.name, repr(error)) from error


def _decode(document: dict[str, Any]) -> State:
    return State(
        gateways=tuple(document["gateways"]),
        nodes=tuple(
            NodeState(node["name"], tuple(node["addresses"]), tuple(node["access"])) for node in document["nodes"]
        ),
        pods=tuple(
            PodState(pod["name"], pod["node"], tuple(pod["addresses"]), pod["config"], pod["result"])
            for pod in document["pods"]
        ),
        bin_dirs=document["bin_dirs"],
    )


def homes(prefix: str) -> list[Home]:
    """Give the labs whose names begin so, built, half built or half removed."""
    with contextlib.suppress(FileNotFoundError):
        names = {path.stem for path in ROOT.iterdir()}
        return [Home(name) for name in sorted(names) if name.startswith(prefix)]
    return []


@contextlib.contextmanager
def locked(home: Home) -> Iterator[int]:
    """Hold a lab's lock and give its descriptor, for the lab's programs to inherit; raises LabBusy.

    A lock that only programs of a podlan that died hold is `abandoned`'s to clear.
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


def alive(pid: str) -> bool:
    """Tell whether the process that a lock names runs still."""
    return pid.isdecimal() and Path("/proc", pid).exists()
