"""Virtual machines in software: qemu.py DIRECTORY PROGRAM [ARGUMENT...] runs a program in one, for what the kernel
of this machine lacks.

The machine's root is this one's, read only, with a tmpfs over it, so that the checkout, .venv and every program are
where they are here. Needs root, qemu-system-x86 (no /dev/kvm), cpio, kmod and busybox-static; DIRECTORY is where the
kernel's package is unpacked, and is filled if it is not there.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from kernel import END, initramfs, kernel, order

VIRTIOFSD = next(
    (path for path in map(Path, ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")) if path.exists()), None
)
_PR_SET_PDEATHSIG = 1
_PACKAGES = {
    "cpio": "cpio",
    "qemu-system-x86_64": "qemu-system-x86",
    "bridge": "iproute2",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "unshare": "util-linux",
}


def require(*programs: str) -> None:
    """End with what is missing, and where it is to be had."""
    if os.geteuid():
        raise SystemExit("machine: a virtual machine whose root is this one's is root's")
    for program in ("cpio", "qemu-system-x86_64", *programs):
        if not shutil.which(program):
            raise SystemExit(f"machine: {program} is missing (Debian: {_PACKAGES[program]})")
    if VIRTIOFSD is None:
        raise SystemExit("machine: virtiofsd is missing (Debian: qemu-system-common)")


def ends_with_us() -> None:
    """Let the process that is about to start end when this one does, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Machine:
    """One machine; `taps` are the switch's ends of its interfaces eth0, eth1 ..., in the namespace `switch`.

    `agent` is the socket of the machine's virtio port, `monitor` QEMU's own; both are below `home`.
    """

    home: Path
    vmlinuz: Path
    initrd: Path
    switch: str = ""
    taps: dict[str, str] = field(default_factory=dict)
    """By their names, the MACs of the interfaces."""

    @property
    def agent(self) -> Path:
        return self.home / "agent.sock"

    @property
    def monitor(self) -> Path:
        return self.home / "monitor.sock"

    @contextlib.contextmanager
    def run(self):
        """Give the process, whose output is the console's; both it and what serves its files are ended at the end."""
        socket = self.home / "virtiofsd.sock"
        options = "source=/,sandbox=chroot,cache=always,no_xattr"
        with contextlib.ExitStack() as ending:
            share = self._start(
                [VIRTIOFSD, f"--socket-path={socket}", "-o", options, "--rlimit-nofile=19000"],
                stderr=subprocess.DEVNULL,
            )
            ending.callback(_end, share)
            while not socket.exists():
                if share.poll() is not None:
                    raise SystemExit("machine: virtiofsd ended")
                time.sleep(0.01)
            machine = self._start(self._argv(socket), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            ending.callback(_end, machine)
            yield machine

    def _start(self, argv: list[object], **streams: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            list(map(str, argv)),
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C is ours to answer
            preexec_fn=ends_with_us,  # noqa: PLW1509 - it takes no lock
            **streams,
        )

    def _argv(self, socket: Path) -> list[object]:
        wires: list[str] = []
        for number, (tap, mac) in enumerate(self.taps.items()):
            wires += ["-netdev", f"tap,id=wire{number},ifname={tap},script=no,downscript=no"]
            # Bonds of some modes do not use an interface that does not tell its speed.
            facts = f"mac={mac},speed=1000,duplex=full,romfile="
            wires += ["-device", f"virtio-net-pci,id=eth{number},netdev=wire{number},{facts}"]
        return [
            *(["nsenter", f"--net=/run/netns/{self.switch}"] if self.switch else []),
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "pc", "-m", "512"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
            *("-object", "memory-backend-memfd,id=memory,size=512M,share=on", "-numa", "node,memdev=memory"),
            *("-chardev", f"socket,id=root,path={socket}", "-device", "vhost-user-fs-pci,chardev=root,tag=root"),
            *("-chardev", f"socket,id=agent,path={self.agent},server=on,wait=off", "-device", "virtio-serial-pci"),
            *("-device", "virtserialport,chardev=agent,name=agent"),
            *("-qmp", f"unix:{self.monitor},server=on,wait=off"),
            *wires,
            *("-kernel", self.vmlinuz, "-initrd", self.initrd),
            *("-append", "console=ttyS0 panic=-1 quiet mitigations=off"),
        ]


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def main(directory: Path, program: list[str]) -> int:
    """Run the machine to its end, and give the program's exit code; what it prints is printed."""
    require()
    vmlinuz, tree = kernel(directory)
    code = 99
    with tempfile.TemporaryDirectory() as name:
        machine = Machine(Path(name), vmlinuz, initramfs(Path(name), order(directory, tree), program))
        with machine.run() as running:
            for line in running.stdout or ():
                if line.startswith(END):
                    code = int(line.removeprefix(END))
                else:
                    sys.stdout.write(line.replace("\r", ""))
                    sys.stdout.flush()
    return code


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
