"""containerd in the namespaces of a node, with its pods; nothing that it started outlives it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from cri import Cri

IMAGE = "localhost/busybox:test"
PLUGINS = Path("/usr/lib/cni")
PACKAGES = {"containerd": "containerd", "ctr": "containerd", "runc": "runc", "busybox": "busybox-static"}
PATIENCE = 20
"""Seconds for containerd to start or to end; each takes less than one."""

# What the machine's own containerd may have at the usual place must not be taken for this one's.
SOCKET = "/run/of-this-test/containerd.sock"
CONFIG = f"""\
version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
disable_apparmor = true
disable_hugetlb_controller = true
disable_tcp_service = true
restrict_oom_score_adj = true  # root of a build machine may not lower it
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "/etc/cni/net.d"
max_conf_num = 1
"""
# Hides the machine's own; pods' reservations, results, file systems and namespaces are in what ends with the node.
_ENTER = """\
mount --bind "$0" /etc && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && mkdir /run/netns &&
exec containerd
"""


def require_packages(**more: str) -> None:
    """Say which Debian packages are missing, by a program of each; `more` than containerd takes."""
    missing = {package for program, package in (PACKAGES | more).items() if not shutil.which(program)}
    missing |= set() if (PLUGINS / "host-local").exists() else {"containernetworking-plugins"}
    assert not missing, f"missing, and `make setup` installs them: apt-get install {' '.join(sorted(missing))}"


def write_image(path: Path) -> None:
    """Write busybox as `docker save` would; it sleeps until it is killed."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(shutil.which("busybox") or "", "bin/busybox")
        for name in ("cat", "ping", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@contextlib.contextmanager
def containerd(namespace: str, home: Path, image: Path) -> Iterator[Containerd]:
    """Run it in a network namespace, with `home`/etc as its /etc."""
    cgroup = f"/podlan-test-{namespace}"
    enter = ["nsenter", f"--net=/run/netns/{namespace}", "setpriv", "--pdeathsig", "KILL"]
    # The first process of a PID namespace takes all the others with it: shims and pods, too.
    argv = [*enter, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _ENTER]
    log = home / "containerd.log"
    environment = {**os.environ, "TMPDIR": "/run"}  # what is named now may be hidden there
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*argv, home / "etc"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    leader = 0
    try:
        leader = _leader(process, log)
        with contextlib.closing(Containerd(leader, cgroup)) as runtime:
            load = ["ctr", "-a", runtime.socket, "-n", "k8s.io", "image", "import", image]
            subprocess.run(load, check=True, capture_output=True)
            yield runtime
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader or process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        _remove(cgroup)


class Containerd(Cri):
    """A running containerd, and what it keeps."""

    def __init__(self, leader: int, cgroup: str) -> None:
        self.leader = leader
        self._root = Path(f"/proc/{leader}/root")
        super().__init__(self._root / SOCKET[1:], IMAGE, cgroup)

    def processes(self) -> list[int]:
        """Give containerd, and all that came of it."""
        found = [self.leader]
        for process in found:  # grows meanwhile
            for thread in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
        return found

    def reserved(self, network: str) -> set[str]:
        """Give the addresses that host-local keeps."""
        store = self._root / "run/podlan/ipam" / network
        return {entry.name for entry in store.glob("*") if entry.name[0].isdecimal()}

    def namespaces(self) -> int:
        """Count the pods' network namespaces."""
        return len(list((self._root / "run/netns").iterdir()))


def _leader(process: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until containerd listens, and give its process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < end, log.read_text(errors="replace")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/root{SOCKET}").is_socket():
                return int(child)
        time.sleep(0.01)


def cgroups(name: str) -> list[Path]:
    """Find those of a name: one in each controller's tree where cgroups are of version 1, else one in the only tree."""
    top = Path("/sys/fs/cgroup")
    return [path for path in (top / name[1:], *top.glob(f"*{name}")) if path.exists()]


def _remove(cgroup: str) -> None:
    """Remove what runc made; the kernel may need a moment until the last process has left."""
    end = time.monotonic() + PATIENCE
    while left := cgroups(cgroup):
        assert time.monotonic() < end, left
        for top in left:
            below = sorted((found for found in top.rglob("*") if found.is_dir()), reverse=True)
            with contextlib.suppress(OSError):
                for directory in (*below, top):
                    directory.rmdir()
        time.sleep(0.01)
