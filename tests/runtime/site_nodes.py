"""The nodes of a compiled site on one switch, each a network namespace with files of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from containerd import CONFIG, PLUGINS
from lan import Net, forked_in

from podlan import pipeline

GATEWAY = "10.0.0.254"


@dataclass
class Node:
    """A machine of the site, as it is before podlan comes."""

    lan: Lan
    name: str

    @property
    def home(self) -> Path:
        return self.lan.home / self.name

    @property
    def namespace(self) -> str:
        return self.lan.prefix + self.name

    @property
    def conf_dir(self) -> Path:
        return self.home / "etc/cni/net.d"

    @property
    def directory(self) -> Path:
        return self.lan.out / "nodes" / self.name

    @property
    def compiled(self) -> dict[str, object]:
        """Give what the runtime is to read, by file name."""
        files = sorted((self.directory / "rootfs/etc/cni/net.d").iterdir())
        return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}

    @property
    def addresses(self) -> list[str]:
        return list(json.loads((self.directory / "plan.json").read_text(encoding="utf-8"))["identity"])

    def furnish(self) -> None:
        """Give it containerd's configuration, where the plugins are, and what containerd copies into pods."""
        for path, text in (("containerd/config.toml", CONFIG), ("hosts", "127.0.0.1 localhost\n"), ("resolv.conf", "")):
            (self.home / "etc" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.home / "etc" / path).write_text(text, encoding="utf-8")
        self.conf_dir.mkdir(parents=True)
        (self.home / "usr/lib").mkdir(parents=True)
        (self.home / "usr/lib/cni").symlink_to(PLUGINS)

    def reconcile(self, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        arguments = ["reconcile", "--root", str(self.home), *options, str(self.directory)]
        done = forked_in(self.namespace, self.home, arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def reaches(self, address: str) -> bool:
        return self.lan.reaches(self.name, address)


class Lan(Net):
    """A switch, and nodes that a site names on it."""

    def compile(self, site: str) -> None:
        source = self.home / "site"
        source.mkdir(exist_ok=True)
        (source / "site.yaml").write_text(site, encoding="utf-8")
        compiled = pipeline.compile_site(source, self.out)
        assert not compiled.failed, compiled.checked.findings

    @property
    def out(self) -> Path:
        return self.home / "out"

    def nodes(self, site: str) -> list[Node]:
        """Compile a site and plug its nodes in; nothing is reconciled yet."""
        self.compile(site)
        self.add("sw")
        switch = ["link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 up"]
        self.batch("sw", [*switch, f"addr add {GATEWAY}/24 dev br0"])
        nodes = [Node(self, path.name) for path in sorted((self.out / "nodes").iterdir())]
        for node in nodes:
            self._plug(node)
            node.furnish()
        return nodes

    def _plug(self, node: Node) -> None:
        self.add(node.name)
        port = f"p-{node.name}"
        wire = f"link add {port} type veth peer name eth0 netns {node.namespace}"
        self.batch("sw", [wire, f"link set {port} master br0 up"])
        addresses = [f"{address}/64 nodad" if ":" in address else f"{address}/24" for address in node.addresses]
        up = ["link set lo up", "link set eth0 up"]
        self.batch(node.name, [*up, *(f"addr add dev eth0 {address}" for address in addresses)])
