"""Debian's macvlan and host-local, run as runtimes run them, in a namespace that plays a node and some for its pods."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lan import Net

PLUGINS = os.environ.get("PODLAN_CNI_PLUGINS", "/usr/lib/cni")
RELEASE = os.environ.get("PODLAN_CNI_RELEASE", "1.1.1")
"""Debian's own, or those of another release, which lie elsewhere."""
DATA_DIR = re.compile(r'("dataDir": ")([^"]*)(")')


@dataclass(frozen=True)
class Answer:
    """What a plugin says: nothing, a result, or an error's code and text."""

    said: dict[str, Any]

    @property
    def refused(self) -> bool:
        return "msg" in self.said

    @property
    def error(self) -> str:
        return f"{self.said['msg']} {self.said.get('details', '')}".strip() if self.refused else ""

    @property
    def addresses(self) -> list[str]:
        """The addresses of the result; before cniVersion 0.3.0 a result has one of each family."""
        old = [self.said[key]["ip"] for key in ("ip4", "ip6") if key in self.said]
        return [entry["address"] for entry in self.said.get("ips", ())] or old


@dataclass
class Machine:
    """A namespace that plays a node, with a master, and namespaces that play its pods."""

    home: Path
    pods: int = 6
    net: Net = field(init=False)
    master: str = ""

    def __post_init__(self) -> None:
        self.net = Net(self.home)

    def up(self) -> Machine:
        self.net.add("node")
        self.net.batch("node", ["link set lo up"])
        for number in range(self.pods):
            pod = f"pod-{number}"
            self.net.add(pod)
            # Nobody else is on this wire, so that asking for a duplicate would only cost a second each time.
            self.net.run(pod, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        return self

    def down(self) -> None:
        self.net.down()

    def wire(self, master: str, *lines: str) -> None:
        """Give the node this master and no other, and run lines of `ip` after it.

        With the master before it the interfaces of all pods go.
        """
        before = [f"link del {self.master}"] if self.master else []
        made = [f"link add {master} type veth peer name wire", f"link set {master} up", "link set wire up"]
        self.net.batch("node", [*before, *made, *lines])
        self.master = master

    def call(
        self,
        verb: str,
        text: str,
        pod: int,
        store: Path,
        *,
        plugin: str = "macvlan",
        result: dict[str, Any] | None = None,
    ) -> Answer:
        """Run a plugin on a configuration's text, of which only the place of host-local's memory is another."""
        text, count = DATA_DIR.subn(rf"\g<1>{store}\g<2>\g<3>", text)
        assert count or "host-local" not in text, "it would write into this machine's own /var/lib/cni"
        if result is not None:
            text = json.dumps({**json.loads(text), "prevResult": result})
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": f"pod-{pod}",
            "CNI_NETNS": f"/run/netns/{self.net.prefix}pod-{pod % self.pods}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": PLUGINS,
        }
        node = f"/run/netns/{self.net.prefix}node"
        argv = ["nsenter", f"--net={node}", "--", f"{PLUGINS}/{plugin}"]
        done = subprocess.run(argv, input=text, env=environment, text=True, capture_output=True, check=False)
        said = json.loads(done.stdout) if done.stdout.strip() else {}
        assert bool(done.returncode) == ("msg" in said), done
        return Answer(said)

    def shown(self, pod: int, *words: str) -> list[dict[str, Any]]:
        """Ask `ip` in a pod."""
        argv = ["ip", "-n", f"{self.net.prefix}pod-{pod % self.pods}", "-json", *words]
        done = subprocess.run(argv, text=True, capture_output=True, check=True)
        return json.loads(done.stdout or "[]")

    def routes(self, pod: int) -> list[tuple[str, str]]:
        """A pod's routes in the kernel's order, to where and by which way; link-local ones left out."""
        return [
            (route["dst"], route.get("gateway", ""))
            for family in ("-4", "-6")
            for route in self.shown(pod, family, "route", "show")
            if not route["dst"].startswith("fe80:")
        ]
