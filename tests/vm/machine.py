"""Run a program in a virtual machine with Debian's cloud kernel: machine.py DIRECTORY PROGRAM [ARGUMENT...]

For what the kernel of this machine lacks. The machine's root is this one's, read only, with a tmpfs over it, so that
the checkout, .venv and every program are where they are here. Needs root, qemu-system-x86 (in software: no /dev/kvm),
cpio, kmod and busybox-static; DIRECTORY is where the kernel's package is unpacked, and is filled if it is empty.
"""

import gzip
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 300
MODULES = ("virtio_pci", "virtiofs", "overlay", "8021q", "macvlan", "veth", "af_packet")
END = "machine: ended with "
VIRTIOFSD = next(
    (path for path in map(Path, ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")) if path.exists()), None
)
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t proc none /proc
mount -t devtmpfs none /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order
mount -t virtiofs -o ro root /lower
mount -t tmpfs none /over
mkdir /over/up /over/work /over/root
mount -t overlay -o lowerdir=/lower,upperdir=/over/up,workdir=/over/work none /over/root
for place in /tmp /run /dev /proc /sys; do mount -t tmpfs none "/over/root$place"; done
mount -t devtmpfs none /over/root/dev
mount -t proc none /over/root/proc
mount -t sysfs none /over/root/sys
mkdir -p /over/root/run/netns
chroot /over/root /bin/sh -c 'cd @HERE@ && PATH=/usr/sbin:/usr/bin:/sbin:/bin exec @PROGRAM@' < /dev/null
echo "@END@$?"
sync
poweroff -f
"""


def kernel(directory: Path) -> tuple[Path, Path]:
    """Give the kernel and the directory of its modules; unpacks the package at the first time."""
    if not list(directory.glob("boot/vmlinuz-*")):
        directory.mkdir(parents=True, exist_ok=True)
        needs = subprocess.run(
            ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True
        )
        package = next(line.split()[1] for line in needs.stdout.splitlines() if "Depends:" in line)
        subprocess.run(["apt-get", "-qq", "download", package], cwd=directory, check=True)
        subprocess.run(["dpkg", "-x", next(directory.glob("*.deb")), directory], check=True)
    modules = next(directory.glob("lib/modules/*"))
    subprocess.run(["/sbin/depmod", "-b", directory, modules.name], check=True)
    return next(directory.glob("boot/vmlinuz-*")), modules


def order(directory: Path, modules: Path) -> list[Path]:
    """Give the modules to load, each after those that it needs."""
    found: dict[Path, None] = {}
    for name in MODULES:
        argv = ["/sbin/modprobe", "-d", directory.resolve(), "-S", modules.name, "-D", name]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        found |= {Path(line.split()[1]): None for line in lines if line.startswith("insmod ")}
    return list(found)


def initramfs(work: Path, modules: list[Path], program: list[str]) -> Path:
    """Write what the kernel starts: busybox, the modules, and a script that goes over to this machine's root."""
    root = work / "initramfs"
    for place in ("bin", "dev", "modules", "proc", "lower", "over"):
        (root / place).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    names = ("sh", "mount", "insmod", "mkdir", "chroot", "echo", "sync", "poweroff")
    for name in names:
        (root / "bin" / name).symlink_to("busybox")
    for module in modules:
        (root / "modules" / module.name).write_bytes(module.read_bytes())
    (root / "modules/order").write_text("".join(f"{module.name}\n" for module in modules), encoding="utf-8")
    words = shlex.join(program).replace("'", "'\\''")
    text = INIT.replace("@HERE@", shlex.quote(str(Path.cwd()))).replace("@PROGRAM@", words).replace("@END@", END)
    (root / "init").write_text(text, encoding="utf-8")
    for path in (root / "init", root / "bin/busybox"):
        path.chmod(0o755)
    files = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "-oH", "newc", "--quiet"], cwd=root, input=files.encode(), capture_output=True, check=True
    )
    image = work / "initramfs.gz"
    image.write_bytes(gzip.compress(archive.stdout, 1))
    return image


def boot(work: Path, image: Path, initrd: Path) -> int:
    """Run the machine to its end, and give the program's exit code; what it prints is printed."""
    socket = work / "virtiofsd.sock"
    options = "source=/,sandbox=chroot,cache=always,no_xattr"
    share = subprocess.Popen(
        [VIRTIOFSD, f"--socket-path={socket}", "-o", options, "--rlimit-nofile=19000"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    argv = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "pc", "-m", "512"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-object", "memory-backend-memfd,id=memory,size=512M,share=on", "-numa", "node,memdev=memory"),
        *("-chardev", f"socket,id=root,path={socket}", "-device", "vhost-user-fs-pci,chardev=root,tag=root"),
        *("-kernel", image, "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet mitigations=off"),
    ]
    code = 99
    try:
        while not socket.exists():
            if share.poll() is not None:
                raise SystemExit("machine: virtiofsd ended")
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, errors="replace"
        ) as machine:
            signal.signal(signal.SIGALRM, lambda *_: machine.kill())
            signal.alarm(SECONDS)
            for line in machine.stdout or ():
                if line.startswith(END):
                    code = int(line.removeprefix(END))
                else:
                    sys.stdout.write(line.replace("\r", ""))
                    sys.stdout.flush()
    finally:
        share.terminate()
        share.wait()
    return code


if __name__ == "__main__":
    assert os.geteuid() == 0, "a virtual machine whose root is this one's is root's"
    assert VIRTIOFSD, "virtiofsd is missing (Debian: qemu-system-common)"
    with tempfile.TemporaryDirectory() as name:
        vmlinuz, tree = kernel(Path(sys.argv[1]))
        image = initramfs(Path(name), order(Path(sys.argv[1]), tree), sys.argv[2:])
        sys.exit(boot(Path(name), vmlinuz, image))
