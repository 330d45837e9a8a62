"""Machines that boot: this one's own files below an overlay, a systemd of their own, and eth0 on a wire to a switch."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120
"""Seconds for a machine to start or to end; each takes less than one, where nobody else works."""

REBOOT = 133
"""How systemd-nspawn ends where the machine asks to be started again."""

_CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")
_RACK = """\
mount --make-rprivate / && ip link add br0 type bridge stp_state 0 mcast_snooping 0 && ip link set br0 up &&
{ [ ! -e /proc/sys/net/bridge ] || echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; } && echo && exec cat
"""
# Each machine in a cgroup of its own, or all would have the same one, and systemd would end the others' processes.
_JOIN = """\
while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit; shift; done
shift
exec "$@"
"""


@dataclass(frozen=True)
class Rack:
    """Where machines stand: mounts, a switch, and processes that end with their first one, which holds it all."""

    holder: int

    @property
    def enter(self) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self.holder), "--net", "--mount", "--pid", "--")

    def run(self, *argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.enter, *map(str, argv)], check=check, capture_output=True, text=True)

    def seen(self, path: Path) -> Path:
        """Give a path in it as it is seen from outside."""
        return Path(f"/proc/{self.holder}/root{path}")


@contextlib.contextmanager
def rack() -> Iterator[Rack]:
    """Hold one until the end of the block, or of this process, whatever that is."""
    argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    argv += ["--mount-proc", "sh", "-c", _RACK]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(argv, **pipes, start_new_session=True) as holder:  # its own: no Ctrl-C comes before the end
        assert holder.stdout is not None
        assert holder.stderr is not None
        assert holder.stdout.readline() == b"\n", holder.stderr.read().decode(errors="replace")
        _, first = family(holder.pid)
        yield Rack(first)


def family(process: int) -> list[int]:
    """Give a process and all that came of it and are there still."""
    found = [process]
    for one in found:  # grows meanwhile
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


@dataclass
class Machine:
    """Its file tree is `root`, to be filled before it starts; what runs in it is reached by its first process.

    `home` is where its disk is, in the rack; `options` are those of systemd-nspawn. One that is not `wired` has no eth0
    until it is plugged.
    """

    rack: Rack
    name: str
    home: Path
    options: tuple[str, ...] = ()
    wired: bool = True
    leader: int = 0
    _token: str = field(default_factory=lambda: f"podlan-test-{secrets.token_hex(4)}")
    _process: subprocess.Popen[bytes] | None = None
    _listener: socket.socket | None = None
    ready: bool = False

    def furnish(self) -> None:
        """Lay an empty layer over this machine's own files; systemd finds no units but its own and those of `write`."""
        self.home.mkdir()
        self.rack.run("mount", "-t", "tmpfs", "podlan-test", self.home)
        for directory in ("upper/etc/systemd/system", "upper/etc/tmpfiles.d", "work", "root", "saved"):
            (self.disk / directory).mkdir(parents=True)
        for directory in ("systemd/system", "tmpfiles.d"):
            os.setxattr(self.disk / "upper/etc" / directory, "trusted.overlay.opaque", b"y")
        self._overlay()

    def _overlay(self) -> None:
        layers = f"lowerdir=/,upperdir={self.home}/upper,workdir={self.home}/work"
        self.rack.run("mount", "-t", "overlay", "podlan-test", "-o", layers, self.home / "root")

    def save(self, name: str, *others: str) -> None:
        """Keep the disk of a machine that is off as it is now, with other directories that are bound into it."""
        saved = self.home / "saved" / name
        self.rack.run("mkdir", saved)
        self.rack.run("cp", "-a", *(self.home / part for part in ("upper", *others)), saved)

    def restore(self, name: str) -> None:
        """Give a machine that is off the disk again that it had then."""
        self.rack.run("umount", self.home / "root")
        saved = [entry.name for entry in (self.disk / "saved" / name).iterdir()]
        self.rack.run("rm", "-rf", *(self.home / part for part in (*saved, "work")))
        self.rack.run("cp", "-a", *(self.home / "saved" / name / part for part in saved), self.home)
        self.rack.run("mkdir", self.home / "work")
        self._overlay()

    @property
    def disk(self) -> Path:
        """Give what outlives a power cut, as seen from outside."""
        return self.rack.seen(self.home)

    @property
    def root(self) -> Path:
        return self.disk / "root"

    @property
    def console(self) -> str:
        return self._beside("console").read_text(errors="replace")

    @property
    def port(self) -> str:
        """Give the switch's end of its wire."""
        return f"p-{self.name}"

    def _beside(self, what: str) -> Path:
        return self.home.with_name(f"{self.home.name}.{what}")

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, *argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        return subprocess.run([*enter, *map(str, argv)], check=check, capture_output=True, text=True)

    @contextlib.contextmanager
    def boot(self) -> Iterator[Machine]:
        """Wait until systemd has started all that it wants; at the end the power is cut."""
        try:
            self.start()
            self.await_ready()
            yield self
        finally:
            self.cut()

    def start(self) -> None:
        """Switch the power on."""
        assert self._process is None
        notify = self._beside("notify")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._listener.bind(str(notify))
        threading.Thread(target=self._listen, args=[self._listener], daemon=True).start()
        for cgroup in self._cgroups:
            cgroup.mkdir()
        argv = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _JOIN, "join", *self._cgroups, "--", *self.rack.enter]
        argv += ["systemd-nspawn", "-q", "-b", "-D", self.home / "root", "-M", self.name, "--register=no"]
        argv += ["--keep-unit", "--notify-ready=yes", "--console=pipe", "--link-journal=no", "--timezone=off"]
        argv += ["--private-network", *self.options]
        argv += [f"--network-veth-extra={self.port}:eth0"] if self.wired else []
        # Machines have version 2 of cgroups, whatever this one has: else its containers could not make any.
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self._beside("console").open("wb") as console:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": console, "stderr": console}
            self._process = subprocess.Popen(argv, **pipes, env=environment, start_new_session=True)

    def _listen(self, listener: socket.socket) -> None:
        """Take what systemd has to say until there is no more: nobody's ear would in the end hold up its boot."""
        with contextlib.suppress(OSError):  # it has ended
            while told := listener.recv(4096).decode():
                for line in told.splitlines():
                    self._hear(line)

    def _hear(self, line: str) -> None:
        if line.startswith("X_NSPAWN_LEADER_PID="):
            if self.wired:
                self.rack.run("ip", "link", "set", self.port, "master", "br0", "up")
            self.leader = self._outside(line.partition("=")[2])
        elif line == "READY=1":
            self.ready = True

    def _outside(self, process: str) -> int:
        """Give the number that a process of the rack has for us."""
        assert self._process is not None
        for one in family(self._process.pid):
            status = Path(f"/proc/{one}/status").read_text(encoding="utf-8")
            if re.search(rf"^NSpid:\t{one}\t{process}\b", status, re.MULTILINE):
                return one
        raise AssertionError(process)

    def await_leader(self) -> None:
        """Wait until there is a first process, and its wire is in the switch."""
        self.wait_for(lambda: self.leader)

    def await_ready(self) -> None:
        """Wait until systemd has started all that it wants."""
        self.wait_for(lambda: self.ready)

    def wait_for(self, holds: Callable[[], object], *, every: float = 0.005, told: Callable[[], str] = str) -> None:
        """Wait until it holds, while the machine is on; `told` is what to say if it never does."""
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while not holds():
            assert self._process.poll() is None, self.console
            assert time.monotonic() < end, told() + self.console
            time.sleep(every)

    def plug(self) -> None:
        """Give it the network card that it did not have at its start."""
        wire = f"ip link add {self.port} type veth peer name eth0 netns {self.leader}"
        # In the rack's network alone, since elsewhere in it the leader has another number.
        subprocess.run(["nsenter", "-t", str(self.rack.holder), "--net", "--", *wire.split()], check=True)
        self.rack.run("ip", "link", "set", self.port, "master", "br0", "up")

    def cut(self) -> None:
        """Cut the power: its first process is killed, and all others with it."""
        if self._process is not None and self._process.poll() is None:
            for process in [self.leader] if self.leader else family(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self.await_end()

    def await_end(self) -> int:
        """Wait until it has ended, and give how; nothing of it is left but its disk."""
        code = 0 if self._process is None else self._process.wait(timeout=PATIENCE)
        self._process, self.leader, self.ready = None, 0, False
        if self._listener is not None:
            with self._listener as listener, contextlib.suppress(OSError):  # it may not be bound yet
                listener.shutdown(socket.SHUT_RDWR)
            self._listener = None
        self._beside("notify").unlink(missing_ok=True)
        for cgroup in self._cgroups:
            _remove(cgroup)
        return code

    @property
    def _cgroups(self) -> list[Path]:
        return [Path(place) / self._token for place in _CGROUPS if Path(place, "cgroup.procs").exists()]


def _remove(cgroup: Path) -> None:
    """Remove what the machine's systemd made in it, too, as soon as the last process has gone."""
    end = time.monotonic() + PATIENCE
    while cgroup.exists():
        try:
            for below in sorted((found for found in cgroup.rglob("*") if found.is_dir()), reverse=True):
                below.rmdir()
            cgroup.rmdir()
        except OSError:
            assert time.monotonic() < end, cgroup
            time.sleep(0.05)


@contextlib.contextmanager
def machine(home: Path) -> Iterator[Machine]:
    """Give a machine that stands alone."""
    with rack() as place:
        made = Machine(place, "node-1", home / "machine")
        made.furnish()
        yield made
