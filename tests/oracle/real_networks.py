"""A node with two interfaces on two LANs, its pods, and the other side of both LANs; runtimes' calls of real plugins.

A list of plugins is called as libcni does: each gets the result of the one before, and DEL goes the other way.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lan import Net
from real_plugins import PLUGINS, Answer

from podlan import pipeline

FILE = "rootfs/etc/cni/net.d/05-podlan.conflist"
MULTUS = "rootfs/etc/cni/multus/net.d"
_OWN_RUN = (
    'mkdir "$1" && mount --rbind /run/netns "$1" && mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/cni'
    ' && mount --rbind "$1" /run/netns && shift && exec "$@"'
)
"""A /run of its own, so that the socket of the dhcp plugin's daemon is nobody else's; namespaces stay visible."""


def compiled(site: str, home: Path, node: str = "a") -> dict[str, bytes]:
    """Compile a site of which nothing but notes may be said; give a node's files."""
    home.mkdir(exist_ok=True)
    (home / "site.yaml").write_text(site, encoding="utf-8")
    done = pipeline.compile_site(home, home.parent / f"{home.name}-output")
    told = [finding for finding in done.checked.findings if finding.severity.value != "note"]
    assert not told, told
    return done.nodes[node]


@dataclass
class Wires:
    """`node` has eth0 and eth1; on the other side of each is `far`, with 10.0.0.254 and 10.0.1.254."""

    home: Path
    pods: int = 3
    net: Net = field(init=False)
    sandbox: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.net = Net(self.home)

    def up(self) -> Wires:
        for name in ("node", "far", *(f"pod-{number}" for number in range(self.pods))):
            self.net.add(name)
        far = f"{self.net.prefix}far"
        self.net.batch(
            "node",
            [
                "link set lo up",
                *(f"link add eth{n} type veth peer name eth{n} netns {far}" for n in (0, 1)),
                *(f"link set eth{n} up" for n in (0, 1)),
                *(f"addr add 10.0.{n}.1/24 dev eth{n}" for n in (0, 1)),
                "route add default via 10.0.0.254",
            ],
        )
        self.net.batch(
            "far",
            [
                "link set lo up",
                *(f"link set eth{n} up" for n in (0, 1)),
                *(f"addr add 10.0.{n}.254/24 dev eth{n}" for n in (0, 1)),
                "addr add 198.51.100.1/32 dev lo",
            ],
        )
        for n in (0, 1):
            self.net.run("far", "ip", "addr", "add", f"fd00:{n}::fe/64", "dev", f"eth{n}", "nodad")
        for number in range(self.pods):
            self.net.batch(f"pod-{number}", ["link set lo up"])
            self.net.run(f"pod-{number}", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        return self

    def down(self) -> None:
        if self.sandbox is not None:
            self.sandbox.kill()
            self.sandbox.wait()
        self.net.down()

    def ip(self, name: str, *words: str) -> str:
        return self.net.run(name, "ip", *words).stdout

    def attach(self, files: dict[str, bytes], path: str, pod: int, interface: str = "eth0") -> Attached:
        """Take the file of a network for a pod's interface."""
        text = files[path].decode().replace('"dataDir": "', f'"dataDir": "{self.home}')
        return Attached(self, json.loads(text), pod, interface)

    def own_run(self) -> None:
        """Give daemon and plugins a /run of their own."""
        argv = ["unshare", "--mount", "sh", "-c", _OWN_RUN, "sh", str(self.home / "netns"), "sleep", "600"]
        self.sandbox = subprocess.Popen(argv)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{self.sandbox.pid}/comm").read_text(encoding="utf-8").strip() != "sleep":
            assert self.sandbox.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def on_node(self, *argv: str) -> list[str]:
        """Give a command that runs on the node."""
        mounts = ["nsenter", f"--target={self.sandbox.pid}", "--mount", "--"] if self.sandbox else []
        return [*mounts, "nsenter", f"--net=/run/netns/{self.net.prefix}node", "--", *argv]


@dataclass
class Attached:
    """A pod's interface on a network. `results` is what its plugins gave, in their order."""

    wires: Wires
    config: dict[str, Any]
    pod: int
    interface: str
    result: dict[str, Any] | None = None

    @property
    def addresses(self) -> list[str]:
        return [entry["address"].partition("/")[0] for entry in (self.result or {}).get("ips", ())]

    def add(self) -> Answer:
        """Call the plugins in their order until one refuses."""
        answer = Answer({})
        for plugin in self.config["plugins"]:
            answer = self.call("ADD", plugin, self.result)
            if answer.refused:
                return answer
            self.result = answer.said
        return answer

    def check(self) -> Answer:
        """Let every plugin judge what is there."""
        answers = [self.call("CHECK", plugin, self.result) for plugin in self.config["plugins"]]
        return next((answer for answer in answers if answer.refused), answers[-1])

    def delete(self) -> Answer:
        """Take the interface away, the last plugin first."""
        answers = [self.call("DEL", plugin, self.result) for plugin in reversed(self.config["plugins"])]
        return next((answer for answer in answers if answer.refused), answers[-1])

    def call(self, verb: str, plugin: dict[str, Any], previous: dict[str, Any] | None) -> Answer:
        head = {"cniVersion": self.config["cniVersion"], "name": self.config["name"]}
        options = {key: value for key, value in plugin.items() if key != "capabilities"}
        before = {} if previous is None else {"prevResult": previous}
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": f"{self.wires.net.prefix}{self.pod}",
            "CNI_NETNS": f"/run/netns/{self.wires.net.prefix}pod-{self.pod}",
            "CNI_IFNAME": self.interface,
            "CNI_PATH": PLUGINS,
        }
        done = subprocess.run(
            self.wires.on_node(f"{PLUGINS}/{plugin['type']}"),
            input=json.dumps(head | options | before),
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        said = json.loads(done.stdout) if done.stdout.strip() else {}
        assert bool(done.returncode) == ("msg" in said), done
        return Answer(said)
