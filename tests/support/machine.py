"""A machine that boots: this one's own files below an overlay, a systemd of its own, and eth0 on a wire to nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
BOOT_SECONDS = 60
_CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")


@dataclass
class Machine:
    """Its file tree is `root`, to be filled before `boot`; what runs in it is reached by its first process."""

    name: str
    home: Path
    leader: int = 0

    @property
    def root(self) -> Path:
        return self.home / "root"

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, *argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]
        return subprocess.run([*enter, *map(str, argv)], check=check, capture_output=True, text=True)

    @contextlib.contextmanager
    def boot(self):
        """Wait until systemd has started all that it wants; at the end the power is cut."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(self.home / "notify"))
        listener.settimeout(1)
        argv = ["nsenter", f"--net=/run/netns/{self.name}", "systemd-nspawn", "-q", "-b", "-D", self.root]
        argv += ["-M", self.name, "--register=no", "--keep-unit", "--notify-ready=yes", "--console=pipe"]
        argv += ["--private-network", "--network-veth-extra=wire:eth0", "--link-journal=no", "--timezone=off"]
        cgroups = [Path(place) / self.name for place in _CGROUPS if Path(place, "cgroup.procs").exists()]
        for cgroup in cgroups:
            cgroup.mkdir()

        def join() -> None:
            for cgroup in cgroups:
                (cgroup / "cgroup.procs").write_text("0", encoding="ascii")

        environment = {**os.environ, "NOTIFY_SOCKET": str(self.home / "notify")}
        console = (self.home / "console").open("wb")
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=environment,
            preexec_fn=join,  # noqa: PLW1509 - nothing here runs threads
        )
        try:
            self._wait(listener, process)
            subprocess.run(["ip", "-n", self.name, "link", "set", "wire", "up"], check=True)
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader or process.pid, signal.SIGKILL)
            process.wait(timeout=30)
            self.leader = 0
            console.close()
            listener.close()
            (self.home / "notify").unlink()
            for cgroup in cgroups:
                _remove(cgroup)

    def _wait(self, listener: socket.socket, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + BOOT_SECONDS
        lines: list[str] = []
        while "READY=1" not in lines:
            lines = []
            with contextlib.suppress(TimeoutError):
                lines = listener.recv(4096).decode().splitlines()
            assert process.poll() is None, (self.home / "console").read_text(errors="replace")
            assert time.monotonic() < end, (self.home / "console").read_text(errors="replace")
            for line in lines:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    self.leader = int(line.partition("=")[2])


def _remove(cgroup: Path) -> None:
    """Remove what the machine's systemd made in it, too, as soon as the last process has gone."""
    end = time.monotonic() + 10
    while cgroup.exists():
        try:
            for below in sorted((found for found in cgroup.rglob("*") if found.is_dir()), reverse=True):
                below.rmdir()
            cgroup.rmdir()
        except OSError:
            assert time.monotonic() < end, cgroup
            time.sleep(0.05)


@contextlib.contextmanager
def machine(home: Path):
    """Lay an empty layer over this machine's own files; systemd finds no units but its own and those of `write`."""
    made = Machine(f"pm{os.getpid():x}", home)
    layers, root = home / "layers", home / "root"
    for directory in (layers, root):
        directory.mkdir()
    with contextlib.ExitStack() as undo:
        subprocess.run(["ip", "netns", "add", made.name], check=True)
        undo.callback(subprocess.run, ["ip", "netns", "del", made.name], check=False)
        subprocess.run(["mount", "-t", "tmpfs", "podlan-test", layers], check=True)
        undo.callback(subprocess.run, ["umount", "-l", layers], check=True)
        for directory in ("upper/etc/systemd/system", "upper/etc/tmpfiles.d", "work"):
            (layers / directory).mkdir(parents=True)
        for directory in ("system", "../tmpfiles.d"):
            os.setxattr(layers / "upper/etc/systemd" / directory, "trusted.overlay.opaque", b"y")
        options = f"lowerdir=/,upperdir={layers}/upper,workdir={layers}/work"
        subprocess.run(["mount", "-t", "overlay", "podlan-test", "-o", options, root], check=True)
        undo.callback(subprocess.run, ["umount", "-l", root], check=True)
        yield made
