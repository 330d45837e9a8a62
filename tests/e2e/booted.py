"""The nodes of a site as machines that boot: podlan, containerd and what stands in for the kubelet are their units."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from containerd import IMAGE, SOCKET
from cri import Cri, Pod
from furniture import configure, furnish
from machine import REBOOT, REPOSITORY, Machine, Rack

from podlan import pipeline

GATEWAY = "10.0.0.254"
NETWORK = "pods"
SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31", runtime: containerd, runtimeVersion: "1.6"}
cni: {name: pods, binDir: /usr/lib/cni, plugins: {version: "1.1.1"}}
subnets:
  lan: {cidr: 10.0.0.0/24, gateway: 10.0.0.254, pool: [10.0.0.16-99], routes: []}
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 4}
nodes:
  node-1: {address: 10.0.0.1}
  node-2: {address: 10.0.0.2}
  node-3: {address: 10.0.0.3, boot: systemd-watch}
"""
# Another name of the link on each node, and a route for pods: links, addresses, routes and files of each kind change.
CHANGED = SITE.replace("podsPerNode: 4", "podsPerNode: 4, hostAccess: {via: shim, interface: pods0}").replace(
    "routes: []", "routes: [{dst: 0.0.0.0/0}]"
)
PROGRAM = "/usr/local/sbin/podlan-node.pyz"
CNI = "etc/cni/net.d/05-podlan.conflist"
COPY = "/etc/podlan/node"
UNIT = "podlan-reconcile"
"""At boot, in every way in which a node's systemd can run it."""
# Each file takes so many microseconds more to reach the disk, so that there is time to see it being written.
SLOWLY = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "inject=fsync:delay_enter=20000")
VERY_SLOWLY = (*SLOWLY[:-1], "inject=fsync:delay_enter=200000")
MARKS = ("link", "-4 address", "-4 route", "-4 route show table local")
_Answer = TypeVar("_Answer")


def build_program(path: Path) -> Path:
    """Build podlan-node.pyz, as `make node` does."""
    subprocess.run([sys.executable, REPOSITORY / ".ci/node_archive.py", path], check=True, cwd=REPOSITORY)
    return path


@dataclass
class Node:
    """One of the site's machines, and its pods."""

    site: Site
    machine: Machine
    pods: list[Pod] = field(default_factory=list)
    _runtime: Cri | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def compiled(self) -> Path:
        return self.site.out / "nodes" / self.name

    @property
    def plan(self) -> dict[str, list[dict[str, str]]]:
        return json.loads((self.compiled / "plan.json").read_text(encoding="utf-8"))

    @property
    def address(self) -> str:
        return str(self.plan["identity"][0])

    @property
    def child(self) -> str:
        """Give the name of its shim."""
        (name,) = (link["name"] for link in self.plan["links"] if link["kind"] == "macvlan")
        return name

    @property
    def shim(self) -> str:
        (address,) = self.plan["addresses"]
        return address["address"].partition("/")[0]

    @property
    def root(self) -> Path:
        return self.machine.root

    def compiled_file(self, path: str) -> bytes:
        return (self.compiled / "rootfs" / path).read_bytes()

    def configure(self, *addresses: str) -> None:
        """Have the operating system give eth0 these addresses at the next boot."""
        configure(self.machine, *addresses)

    @property
    def copy(self) -> Path:
        """Give where the node keeps its compiled directory."""
        return self.root / COPY.lstrip("/")

    def deliver(self) -> None:
        """Put the node's directory, as compiled now, where it is applied at the next boot."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.compiled, self.copy)

    @contextlib.contextmanager
    def slow(self) -> Iterator[None]:
        """Let its boot's run be slow at the disk, without the unit's filter of system calls, which refuses tracing."""
        unit = self.root / f"etc/systemd/system/{UNIT}.service"
        start = next(line for line in unit.read_text(encoding="utf-8").splitlines() if line.startswith("ExecStart="))
        change = self.root / f"{unit.relative_to(self.root)}.d/slow.conf"
        change.parent.mkdir()
        traced = f"ExecStart={' '.join(SLOWLY)} {start.partition('=')[2]}"
        change.write_text(f"[Service]\nSystemCallFilter=\nExecStart=\n{traced}\n", encoding="utf-8")
        try:
            yield
        finally:
            shutil.rmtree(change.parent)

    def install(self) -> None:
        """Install podlan as a user does, on a machine that is on: the program, the node's directory, a first run."""
        program = self.root / PROGRAM.lstrip("/")
        # By a process of its own: a fork of another thread's would hold the file open, and so it could not start.
        subprocess.run(["install", "-m", "0755", self.site.program, program], check=True)
        handed = self.root / "root/node"
        shutil.copytree(self.compiled, handed)
        self.machine.run(PROGRAM, "reconcile", "/root/node")
        shutil.rmtree(handed)

    def load_image(self) -> None:
        self.machine.run("ctr", "-a", SOCKET, "-n", "k8s.io", "image", "import", "/var/lib/image.tar")

    @property
    def runtime(self) -> Cri:
        if self._runtime is None:
            self._runtime = Cri(Path(f"/proc/{self.machine.leader}/root{SOCKET}"), IMAGE, "/pods")
        return self._runtime

    def off(self) -> None:
        """Take note that the machine is off."""
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = None
        self.pods.clear()

    def run_pods(self, count: int = 2) -> None:
        """Do what a kubelet does after a boot: remove the pods of the last one, and start them anew."""
        self.remove_pods()
        self.pods += [self.runtime.run() for _ in range(count)]

    def remove_pods(self) -> None:
        for sandbox in self.runtime.sandboxes():
            self.runtime.remove(Pod(sandbox, "", ()))
        self.pods.clear()

    @property
    def addresses(self) -> list[str]:
        return [address for pod in self.pods for address in pod.addresses]

    @property
    def reserved(self) -> list[str]:
        """Give the addresses that host-local keeps."""
        return self.kept_in(f"{self._ipam['dataDir']}/{NETWORK}")

    def kept_in(self, store: str) -> list[str]:
        """Give the addresses that host-local keeps in a directory."""
        names = self.machine.run("ls", store).stdout.split()
        return sorted(name for name in names if name[0].isdecimal())

    @property
    def _ipam(self) -> Any:
        return json.loads(self.compiled_file(CNI))["plugins"][0]["ipam"]

    @property
    def slice(self) -> set[str]:
        ((found,),) = self._ipam["ranges"]
        first, last = (int(found[key].rpartition(".")[2]) for key in ("rangeStart", "rangeEnd"))
        return {f"10.0.0.{number}" for number in range(first, last + 1)}

    def log(self, boot: int = 0, unit: str = UNIT) -> str:
        """Give what the journal has of a unit in this boot (0), or an earlier one (-1)."""
        return self.machine.run("journalctl", "-b", boot, "-u", unit, "-o", "cat", "--no-pager", check=False).stdout

    @property
    def marks(self) -> list[str]:
        """Give what the kernel has of podlan, a line each."""
        shown = [self.machine.run("ip", "-o", *words.split()).stdout for words in MARKS]
        return [line for text in shown for line in text.splitlines() if self.child in line]

    @property
    def own_links(self) -> list[str]:
        """Give the links on its masters, whatever plan they are of; those of pods are theirs."""
        return self.machine.run("ip", "-o", "link", "show", "type", "macvlan").stdout.splitlines()

    def unfinished(self) -> list[str]:
        """Give what a run that was killed leaves, and one that ended does not."""
        left = self.machine.root.joinpath("var/lib/podlan").glob("journal*")
        temporary = (file for top in ("etc", "var/lib/podlan") for file in (self.upper / top).rglob("*.podlan-tmp*"))
        return sorted(str(file) for file in (*left, *temporary))

    @property
    def upper(self) -> Path:
        """Give what the machine has written, also while it is off."""
        return self.machine.disk / "upper"

    def wait_for(self, holds: Callable[[], object]) -> None:
        """Wait until it holds; else the journal tells why it never did."""
        self.machine.wait_for(holds, every=0.1, told=self.log)

    def property(self, name: str, unit: str = UNIT) -> str:
        return self.machine.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def has(self, address: str) -> bool:
        return f" {address}/" in self.machine.run("ip", "-o", "address").stdout

    def is_reached(self) -> bool:
        """Tell whether the node's own address answers."""
        return self.site.answers(self.address)

    def fill_disk(self) -> None:
        """Leave no room for anything more."""
        used = shutil.disk_usage(self.machine.disk).used
        self._resize_disk(f"{used}")

    def free_disk(self) -> None:
        self._resize_disk("50%")

    def _resize_disk(self, size: str) -> None:
        self.site.rack.run("mount", "-o", f"remount,size={size}", self.machine.home)

    @contextlib.contextmanager
    def full_directory(self, path: str) -> Iterator[Callable[[], object]]:
        """Give a directory a file system of its own, which its file fills; give what makes room there."""
        place, rack = self.machine.home / "root" / path, self.site.rack
        (file,) = rack.seen(place).iterdir()
        text = file.read_bytes()
        rack.run("mount", "-t", "tmpfs", "-o", "mode=755,size=4k", "podlan-test", place)
        try:
            (rack.seen(place) / file.name).write_bytes(text)
            yield lambda: rack.run("mount", "-o", "remount,size=1m", place)
        finally:
            rack.run("umount", place)

    def podlan(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run(PROGRAM, *arguments, check=check)


@dataclass
class Site:
    """Three nodes and what they are compiled from; `home` is a directory of this run."""

    rack: Rack
    home: Path
    program: Path
    image: Path
    nodes: list[Node] = field(default_factory=list)
    text: str = ""

    @property
    def out(self) -> Path:
        return self.home / "out"

    def compile(self, text: str = SITE) -> None:
        source = self.home / "site"
        source.mkdir(exist_ok=True)
        (source / "site.yaml").write_text(text, encoding="utf-8")
        if (lock := source / "podlan.lock").exists():  # it lets no dataDir go, since pods could live: here none does
            lock.write_text(re.sub("meta dataDir .*\n", "", lock.read_text(encoding="utf-8")), encoding="utf-8")
        compiled = pipeline.compile_site(source, self.out)
        assert not compiled.failed, compiled.checked.findings
        self.text = text

    def furnish(self) -> None:
        """Put the machines up; all are off."""
        self.rack.run("ip", "address", "add", f"{GATEWAY}/24", "dev", "br0")
        for directory in sorted((self.out / "nodes").iterdir()):
            home = self.home / directory.name
            options = ("--capability=all", "--system-call-filter=add_key keyctl bpf")
            disk = f"--bind={home}/containerd:/var/lib/containerd"  # no overlay may lie on an overlay on an overlay
            self.nodes.append(Node(self, Machine(self.rack, directory.name, home, (*options, disk))))
        self.each(lambda node: furnish(node.machine, node.address, self.image))

    def each(self, what: Callable[[Node], _Answer], nodes: Iterable[Node] | None = None) -> list[_Answer]:
        """Do it with all nodes at the same time."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(what, self.nodes if nodes is None else nodes))

    def answers(self, address: str) -> bool:
        """Tell whether the LAN hears an answer from an address."""
        return not self.rack.run("ping", "-q", "-c", "1", "-W", "2", address, check=False).returncode

    @property
    def pods(self) -> list[list[str]]:
        """Give the addresses of each node's pods."""
        return [node.addresses for node in self.nodes]

    def start(self, *nodes: Node) -> None:
        for node in nodes or self.nodes:
            node.machine.start()

    def boot(self, *nodes: Node) -> None:
        """Switch machines on, all of them unless some are named, and wait until their systemd has started all."""
        self.start(*nodes)
        self.each(lambda node: node.machine.await_ready(), nodes or None)

    def cut(self, *nodes: Node) -> None:
        for node in nodes or self.nodes:
            node.off()
        self.each(lambda node: node.machine.cut(), nodes or None)

    def install(self) -> None:
        """Boot the machines for the first time, and install podlan on them."""
        self.boot()
        self.each(Node.install)
        self.each(Node.load_image)

    def save(self, name: str) -> None:
        """Keep all disks as they are now."""
        self.each(lambda node: node.machine.save(name, "containerd"))

    def restore(self, name: str) -> None:
        """Give machines that are off the disks again that they had then, and the site what it was compiled from."""
        for node in self.nodes:
            node.machine.wired = True
            node.free_disk()
        self.each(lambda node: node.machine.restore(name))
        if self.text != SITE:
            self.compile()

    def reboot(self, *, again: bool = True) -> None:
        for node in self.nodes:
            node.off()
            node.machine.run("systemctl", "reboot", check=False)  # the power may go before it has said so
        assert self.each(lambda node: node.machine.await_end()) == [REBOOT] * len(self.nodes)
        if again:
            self.boot()

    def matrix(self) -> list[str]:
        """Have every host and pod ask every other one, and the gateway; give who did not hear an answer from whom."""
        hosts = {node.address: node for node in self.nodes}
        everybody = [GATEWAY, *hosts, *(address for node in self.nodes for address in node.addresses)]

        def from_host(node: Node) -> list[str]:
            return self._silent(node.name, everybody, node.machine.run("sh", "-c", _asking(everybody, "")).stdout)

        def from_pods(node: Node) -> list[str]:
            question = ("busybox", "sh", "-c", _asking(everybody, "busybox "))
            heard = [(pod, node.runtime.exec(pod, *question).stdout) for pod in node.pods]
            return [line for pod, text in heard for line in self._silent(pod.addresses[0], everybody, text)]

        return [line for ask in (from_host, from_pods) for lines in self.each(ask) for line in lines]

    @staticmethod
    def _silent(asking: str, everybody: list[str], heard: str) -> list[str]:
        return [f"{asking} -> {address}" for address in everybody if address not in heard.split()]

    def down(self) -> None:
        for node in self.nodes:
            node.off()
        with contextlib.ExitStack() as ending:  # each is ended, whatever comes of the others
            for node in self.nodes:
                ending.callback(node.machine.cut)


def _asking(everybody: list[str], prefix: str) -> str:
    asked = (f"{prefix}ping -q -c 1 -W 2 {address} > /dev/null && echo {address} &" for address in everybody)
    return f"{' '.join(asked)} wait"


@contextlib.contextmanager
def site(place: Rack, home: Path, program: Path, image: Path) -> Iterator[Site]:
    """Give the site with its machines off and without podlan; at the end nothing of it is left."""
    made = Site(place, home, program, image)
    try:
        made.compile()
        made.furnish()
        yield made
    finally:
        made.down()
