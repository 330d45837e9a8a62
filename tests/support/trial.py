"""A compiled node with the real plugins below its root, and podlan verify on it."""

import contextlib
import json
import signal
from pathlib import Path

from forked import Forked, eventually
from lan import NODE, PEER

from podlan import pipeline

PLUGINS = Path("/usr/lib/cni")
BIN_DIR = "/opt/cni/bin"
CNI = "/etc/cni/net.d/05-podlan.conflist"
STORE = "run/podlan/ipam/pods"
NODE6, PEER6, GATEWAY6 = "fd00:81::65", "fd00:81::66", "fd00:81::fe"
SITE = f"""\
version: 1
site: lab
cluster: {{kubernetes: "1.31", runtime: containerd}}
cni: {{name: pods, plugins: {{version: "1.1.1"}}}}
subnets:
  lan: {{cidr: 172.16.129.0/24, gateway: 172.16.129.254, routes: [{{dst: 0.0.0.0/0}}]}}
masters:
  uplink: {{interface: eth0, subnets: [lan], mode: MODE, promisc: true, hostAccess: ACCESS}}
nodes:
  node-1: {{masters: {{uplink: {{addresses: [{NODE}], ranges: [172.16.129.110-119]}}}}}}
  node-2: {{masters: {{uplink: {{addresses: [{PEER}], ranges: [172.16.129.120-129]}}}}}}
"""
SHIM_ACCESS = "{via: shim, pool: [172.16.129.198-199]}"
SIX = (
    ("\nmasters:", f'\n  six: {{cidr: "fd00:81::/64", gateway: "{GATEWAY6}", routes: [{{dst: "::/0"}}]}}\nmasters:'),
    ("[lan]", "[lan, six]"),
    (f"[{NODE}]", f'[{NODE}, "{NODE6}"]'),
    (f"[{PEER}]", f'[{PEER}, "{PEER6}"]'),
    ("172.16.129.110-119", '172.16.129.110-119, "fd00:81::110/124"'),
    ("172.16.129.120-129", '172.16.129.120-129, "fd00:81::120/124"'),
    ("172.16.129.198-199", '"fd00:81::c6-fd00:81::c7", 172.16.129.198-199'),
)
SECOND = (
    ("\nmasters:", "\n  store: {cidr: 10.20.0.0/24}\nmasters:"),
    (
        "\nnodes:",
        "\n  storage: {interface: eth1, subnets: [store], secondary: true, mtu: 1400, hostAccess: {via: none}}\nnodes:",
    ),
    (
        "ranges: [172.16.129.110-119]}",
        "ranges: [172.16.129.110-119]}, storage: {addresses: [10.20.0.1], ranges: [10.20.0.10-19]}",
    ),
)


def compiled(home, access=SHIM_ACCESS, mode="bridge", changes=()):
    """Compile the site; gives the directory of its nodes."""
    text = SITE
    for old, new in (("ACCESS", access), ("MODE", mode), *changes):
        assert old in text, old
        text = text.replace(old, new)
    (home / "site").mkdir()
    (home / "site/site.yaml").write_text(text, encoding="utf-8")
    done = pipeline.compile_site(home / "site", home / "out")
    assert not done.failed, done.checked.findings
    return home / "out/nodes"


class Host:
    """A node of the LAN, reconciled; all files are below a root of its own."""

    def __init__(self, net, directory, name="node"):
        self.net, self.name = net, name
        self.root = net.home / f"root-{name}"
        plugins = self.root / BIN_DIR[1:]
        plugins.mkdir(parents=True)
        for plugin in ("macvlan", "host-local"):
            (plugins / plugin).symlink_to(PLUGINS / plugin)
        net.reconcile(directory, "--no-restart", root=self.root, name=name)

    def verify(self, *options, code=0):
        return self.net.podlan("verify", *options, root=self.root, name=self.name, code=code)

    def start(self, *options, code=0):
        return self.net.start("verify", *options, root=self.root, name=self.name, code=code)

    @contextlib.contextmanager
    def held(self, *options):
        """Start it with --hold, and wait until its pods are there."""
        held = Held(self, *options)
        try:
            yield held
        finally:
            if held.code is None:
                held(signal.SIGKILL)

    def found(self, *options, code=0):
        """Give what it prints as JSON."""
        found = json.loads(self.verify("--format", "json", *options, code=code).stdout)
        assert found["ok"] == (code == 0)
        assert self.is_clean()
        return found

    def configure(self, change, file=CNI):
        """Change the CNI file as somebody would on the node; `change` gets what macvlan is told."""
        path = self.root / CNI[1:]
        document = json.loads(path.read_text())
        change(document["plugins"][0])
        (self.root / file[1:]).write_text(json.dumps(document))

    def plugin(self, name, script):
        """Put a script in a plugin's place; REAL is the real one, GATE a file that is there once the gate is open."""
        self.gate.unlink(missing_ok=True)
        path = self.root / BIN_DIR[1:] / name
        path.unlink()
        path.write_text(f"#!/bin/sh\n{script.replace('REAL', str(PLUGINS / name)).replace('GATE', str(self.gate))}\n")
        path.chmod(0o755)

    @property
    def gate(self):
        return self.root / "gate"

    def open_gate(self):
        """Let plugins go on that wait at GATE."""
        self.gate.touch()

    def reserved(self):
        """Give host-local's reservations: the container, by its address."""
        names = (self.root / STORE).glob("*.*.*.*")
        return {path.name: path.read_text().split()[0] for path in names if path.name[0].isdigit()}

    def records(self):
        return sorted(path.name for path in (self.root / "run/podlan/verify").glob("*"))

    def is_clean(self):
        """Tell whether nothing is left: no reservation, no record, and no process of ours that keeps a namespace."""
        return not self.reserved() and not self.records()


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Held:
    """A podlan verify that keeps its pods; calling it ends it by a signal and gives its exit code."""

    def __init__(self, host, *options):
        self._run = Forked(host.net, "verify", "--root", host.root, "--hold", *options, namespace=host.name)
        eventually(self._run.output, lambda: "Ctrl-C" in self._run.stderr or self._run.poll() is not None)
        assert self._run.poll() is None, self._run.output()
        self.pid = self._run.pid
        self.keepers = self._run.children()

    def __call__(self, number=signal.SIGINT):
        self._run.signal(number)
        return self._run.ended_with()

    @property
    def code(self):
        return self._run.poll()

    def printed(self):
        return self._run.stderr


def rows(found):
    """Give the rows of a result by their keys: reached, tried, expected."""
    return {row["key"]: (row["reached"], row["tried"], row["expected"]) for row in found["rows"]}


def codes(found):
    return [one["code"] for one in found["findings"]]


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
