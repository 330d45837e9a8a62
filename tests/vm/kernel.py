"""Debian's cloud kernel, and what it starts with: a script that goes over to this machine's own files."""

import gzip
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "linux-image-cloud-amd64"
MODULES = (
    *("virtio_pci", "virtio_net", "virtio_console", "virtiofs", "overlay"),
    *("8021q", "macvlan", "bonding", "veth", "af_packet"),
)
PARAMETERS = {"bonding": "max_bonds=0"}
END = "machine: ended with "
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t proc none /proc
mount -t devtmpfs none /dev
while read -r module parameters; do insmod "/modules/$module" $parameters; done < /modules/order
mount -t virtiofs -o ro root /lower
mount -t tmpfs none /over
mkdir /over/up /over/work /over/root
mount -t overlay -o lowerdir=/lower,upperdir=/over/up,workdir=/over/work none /over/root
for place in /tmp /run /dev /proc /sys; do mount -t tmpfs none "/over/root$place"; done
mount -t devtmpfs none /over/root/dev
mount -t proc none /over/root/proc
mount -t sysfs none /over/root/sys
mkdir -p /over/root/run/netns /over/root@HERE@
mount -o bind /lower@HERE@ /over/root@HERE@
chroot /over/root /bin/sh -c 'cd @HERE@ && PATH=/usr/sbin:/usr/bin:/sbin:/bin exec @PROGRAM@' < /dev/null
echo "@END@$?"
sync
poweroff -f
"""


def kernel(directory: Path) -> tuple[Path, Path]:
    """Give the kernel and the directory of its modules; downloads and unpacks the package at the first time."""
    if not directory.exists():
        with tempfile.TemporaryDirectory(dir=directory.absolute().parent) as name:
            unpacked = Path(name, "unpacked")
            _said(["dpkg", "-x", _downloaded(Path(name)), unpacked])
            _said(["/sbin/depmod", "-b", unpacked, next(unpacked.glob("lib/modules/*")).name])
            unpacked.rename(directory)
    return next(directory.glob("boot/vmlinuz-*")), next(directory.glob("lib/modules/*"))


def _downloaded(directory: Path) -> Path:
    """Download the package that the newest release's own one depends on."""
    if not shutil.which("apt-get"):
        raise SystemExit(f"machine: the kernel is Debian's ({PACKAGE}), and here is no apt-get to download it with")
    needs = _said(["apt-cache", "depends", PACKAGE]).splitlines()
    package = next((line.split()[1] for line in needs if "Depends:" in line), None)
    if package is None:
        raise SystemExit(f"machine: apt knows no {PACKAGE}: this is not Debian on amd64, or apt-get update is due")
    _said(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], directory)
    return next(directory.glob("*.deb"))


def _said(argv: list[object], directory: Path | None = None) -> str:
    done = subprocess.run(list(map(str, argv)), cwd=directory, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"machine: {argv[0]} failed; the kernel is Debian's {PACKAGE}:\n{done.stderr.strip()}")
    return done.stdout


def order(directory: Path, modules: Path) -> dict[Path, str]:
    """Give the modules to load, each after those that it needs, with their parameters."""
    found: dict[Path, str] = {}
    for name in MODULES:
        argv = ["/sbin/modprobe", "-d", directory.resolve(), "-S", modules.name, "-D", name]
        lines = [line.split() for line in _said(argv).splitlines()]
        found |= {Path(words[1]): "" for words in lines if words[0] == "insmod" and Path(words[1]) not in found}
        found |= {path: PARAMETERS[name] for path in found if name in PARAMETERS and path.stem == name}
    return found


def initramfs(work: Path, modules: dict[Path, str], program: list[str]) -> Path:
    """Write what the kernel starts: busybox, the modules, and a script that goes over to this machine's root."""
    root = work / "initramfs"
    for place in ("bin", "dev", "modules", "proc", "lower", "over"):
        (root / place).mkdir(parents=True)
    busybox = shutil.which("busybox")
    if not busybox:
        raise SystemExit("machine: busybox is missing (Debian: busybox-static)")
    (root / "bin/busybox").write_bytes(Path(busybox).read_bytes())
    for name in ("sh", "mount", "insmod", "mkdir", "chroot", "echo", "sync", "poweroff"):
        (root / "bin" / name).symlink_to("busybox")
    for module in modules:
        (root / "modules" / module.name).write_bytes(module.read_bytes())
    lines = (f"{module.name} {parameters}\n" for module, parameters in modules.items())
    (root / "modules/order").write_text("".join(lines), encoding="utf-8")
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
