"""A LAN in network namespaces, and node directories to reconcile in it."""

import contextlib
import ctypes
import gc
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

import podlan.node.change
import podlan.node.reconcile
from podlan.diagnostics import PodlanError
from podlan.node._kernel import import_pyroute2
from podlan.node.command import main
from podlan.node.undo import undo
from podlan.plan import Address, Link, Plan, Probe, Route, encode

import_pyroute2()

MAC = "02:70:ac:10:81:c7"
GATEWAY = "172.16.129.254"
NODE = "172.16.129.101"
PEER = "172.16.129.102"
FAR = "198.51.100.10"
SHIM = "172.16.129.199"
POD = "172.16.129.110"
CHILD = Link("macvlan0", "macvlan", master="eth0", mac=MAC, alias="podlan: child of eth0")

SHIM_PLAN = Plan(
    "node-1",
    links=(Link("eth0", "master", promisc=True), CHILD),
    addresses=(Address("macvlan0", f"{SHIM}/32"),),
    routes=(
        Route("macvlan0", "172.16.129.110/31", source=SHIM),
        Route("macvlan0", "172.16.129.112/29", source=SHIM),
    ),
    sysctls={
        "net/ipv4/conf/eth0/arp_filter": "1",
        "net/ipv4/conf/macvlan0/arp_filter": "1",
        "net/ipv4/conf/macvlan0/arp_announce": "2",
        "net/ipv6/conf/macvlan0/accept_ra": "0",
        "net/ipv6/conf/macvlan0/autoconf": "0",
    },
)
MOVE_PLAN = Plan(
    "node-1",
    links=(Link("eth0", "master"), CHILD),
    addresses=(
        Address("macvlan0", f"{NODE}/24", metric=50, announce=True),
        Address("eth0", f"{NODE}/24", metric=512, adopt=True),
    ),
    routes=(
        Route("eth0", "0.0.0.0/0", gateway=GATEWAY, metric=1024),
        Route("macvlan0", "0.0.0.0/0", gateway=GATEWAY, replaces=True),
    ),
    sysctls={
        f"net/ipv4/conf/{link}/{key}": value
        for link in ("eth0", "macvlan0")
        for key, value in (("arp_filter", "1"), ("rp_filter", "2"))
    },
    probes=(Probe("macvlan0", GATEWAY),),
)
NONE_PLAN = Plan("node-1")

_numbers = itertools.count()


def write_directory(path, plan, sources=None):
    """Write what a compiler would give for this node."""
    files = {"plan.json": json.dumps(encode(plan)).encode(), "boot.sh": b"#!/bin/sh\n"} | (sources or {})
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    write_manifest(path, plan.node, files)
    return path


def write_manifest(path, node, files):
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    document = {"version": 1, "node": node, "podlan": "0.1.0", "files": digests}
    (path / "manifest.json").write_text(json.dumps(document), encoding="utf-8")


def without(plan, **changes):
    return replace(plan, **changes)


def forked_in(namespace, home, arguments):
    """Run podlan-node in a namespace as a process of its own, without paying for its imports each time."""
    return start_in(namespace, home, arguments)()


def start_in(namespace, home, arguments):
    """Start podlan-node in a namespace; gives what waits for its end and tells of it."""
    stdout, stderr = (home / "stdout").open("w+"), (home / "stderr").open("w+")
    pid = os.fork()
    if not pid:
        become(namespace, stdout, stderr, arguments)

    def finish():
        _, status = os.waitpid(pid, 0)
        with stdout, stderr:
            stdout.seek(0)
            stderr.seek(0)
            code = os.waitstatus_to_exitcode(status)
            return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())

    return finish


def become(namespace, stdout, stderr, arguments):
    """Go on as podlan-node in a namespace; for a process that was just forked."""
    code = 99
    gc.freeze()  # a collection would otherwise copy all that pytest has in memory
    try:
        with open(f"/run/netns/{namespace}", "rb") as file:  # noqa: PTH123 - a descriptor is what is wanted
            assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0
        sys.stdout, sys.stderr = stdout, stderr
        main(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - whatever it is, it must not go on as a second pytest
        traceback.print_exc(file=stderr)
    finally:
        stdout.flush()
        stderr.flush()
        os._exit(code)


@dataclass
class Net:
    """Namespaces of one test: a switch, the node, its gateway and a peer; each host has eth0 on the switch."""

    home: Path
    prefix: str = field(default_factory=lambda: f"pn{os.getpid():x}-{next(_numbers)}-")
    names: list[str] = field(default_factory=list)

    def up(self):
        batches = {}
        for name in ("sw", "node", "gw", "peer"):
            self.add(name)
        batches["sw"] = ["link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 up"]
        for name in ("node", "gw", "peer"):
            batches["sw"] += [
                f"link add p-{name} type veth peer name eth0 netns {self.prefix}{name}",
                f"link set p-{name} master br0 up",
            ]
            batches[name] = ["link set lo up", "link set eth0 up"]
        batches["node"] += [f"addr add {NODE}/24 dev eth0", f"route add default via {GATEWAY}"]
        batches["gw"] += [f"addr add {GATEWAY}/24 dev eth0", "addr add 198.51.100.1/32 dev lo"]
        batches["peer"] += [f"addr add {PEER}/24 dev eth0", f"route add default via {GATEWAY}"]
        for name, lines in batches.items():
            self.batch(name, lines)
        self.run("sw", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
        return self

    def up_behind_gateway(self):
        """Add a client that only the gateway leads to."""
        self.add("far")
        self.batch("gw", [f"link add eth1 type veth peer name eth0 netns {self.prefix}far", "link set eth1 up"])
        self.batch("gw", ["addr add 198.51.100.254/24 dev eth1"])
        self.batch("far", ["link set lo up", "link set eth0 up", f"addr add {FAR}/24 dev eth0"])
        self.batch("far", ["route add default via 198.51.100.254"])
        self.run("gw", "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def add(self, name):
        subprocess.run(["ip", "netns", "add", self.prefix + name], check=True)
        self.names.append(name)

    def down(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", self.prefix + name], check=False)

    def batch(self, name, lines):
        subprocess.run(
            ["ip", "-n", self.prefix + name, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True
        )

    def argv(self, name, *argv):
        return ["ip", "netns", "exec", self.prefix + name, *map(str, argv)]

    def run(self, name, *argv, check=True, **options):
        return subprocess.run(self.argv(name, *argv), check=check, capture_output=True, text=True, **options)

    def ip(self, *argv, check=True):
        return self.run("node", "ip", *argv, check=check).stdout

    def reconcile_argv(self, directory, *options, root=None):
        return self.podlan_argv("reconcile", *options, directory, root=root)

    def podlan_argv(self, command, *arguments, root=None):
        return self.argv("node", sys.executable, "-m", "podlan.node", command, "--root", root or self.root, *arguments)

    def reconcile(self, directory=None, *options, **more):
        """Run the node's program on a directory, or on a plan, and require its exit code."""
        return self.start_reconcile(directory, *options, **more)()

    def start_reconcile(self, directory=None, *options, code=0, root=None, name="node"):
        """Start it; gives what waits for its end, and requires its exit code."""
        directory = self.directory(directory) if isinstance(directory, Plan) else directory
        arguments = ["reconcile", *options, *([directory] if directory else [])]
        return self.start(*arguments, code=code, root=root, name=name)

    def podlan(self, command, *arguments, **more):
        """Run one of the node's commands and require its exit code."""
        return self.start(command, *arguments, **more)()

    def start(self, command, *arguments, code=0, root=None, name="node"):
        """Start one of the node's commands; gives what waits for its end, and requires its exit code."""
        words = [command, "--root", root or self.root, *arguments]
        wait = start_in(self.prefix + name, self.home, [str(word) for word in words])

        def finish():
            done = wait()
            assert done.returncode == code, done
            assert "Traceback" not in done.stderr
            return done

        return finish

    def done_with(self, plan, **options):
        """Reconcile, or undo without a plan, with options that no command has; give the operations, or the error."""
        directory = self.directory(plan) if plan is not None else None
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException), os.fdopen(writing, "w") as told:
                with open(f"/run/netns/{self.prefix}node", "rb") as file:  # noqa: PTH123 - a descriptor is what is wanted
                    assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0
                given = podlan.node.reconcile.Options(root=str(self.root), **options)
                try:
                    done = podlan.node.reconcile.reconcile(str(directory), given) if directory else undo(given)
                    told.write("\n".join(done.operations))
                except PodlanError as error:
                    told.write(f"error: {error}")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            text = told.read()
        os.waitpid(pid, 0)
        return text

    def directory(self, plan, sources=None):
        return write_directory(self.home / f"in-{next(_numbers)}", plan, sources)

    @property
    def root(self):
        root = self.home / "root"
        root.mkdir(exist_ok=True)
        return root

    def sysctl(self, key, value=None):
        if value is None:
            return self.run("node", "cat", f"/proc/sys/{key}").stdout.strip()
        return self.run("node", "sysctl", "-qw", f"{key}={value}").stdout

    def state(self, *, protocols=True):
        """Give all that podlan may touch, as text that two states can be compared by."""
        links = self.ip("-d", "-o", "link", "show")
        links = re.sub(
            r"^\d+: |if\d+|promiscuity \d+| (allmulti|minmtu).*?(?=alias|\\|$)", "", links, flags=re.MULTILINE
        )
        addresses = self.ip("-o", "addr", "show")
        addresses = re.sub(r"^\d+: ", "", addresses, flags=re.MULTILINE)
        addresses = "\n".join(sorted(line for line in addresses.splitlines() if "fe80:" not in line))
        routes = self.ip("route") + "\n".join(
            line for line in self.ip("-6", "route").splitlines() if not line.startswith("fe80:")
        )
        if not protocols:
            routes = routes.replace("proto 112 ", "")
        keys = [f"net/ipv4/conf/eth0/{key}" for key in ("arp_filter", "rp_filter")]
        return links, addresses, routes, [self.sysctl(key) for key in keys]

    def snapshot(self):
        """Give all of the node that a run could change, byte for byte: the kernel's, and what lies below the root."""
        script = """
            ip -d -o link; echo =; ip -o addr; echo =; ip route show table all; ip -6 route show table all; echo =
            grep -rs '' /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward
        """
        told = self.run("node", "sh", "-c", script, check=False).stdout
        # The kernel's link-local addresses settle when they like, lifetimes run, and a new link has a new number.
        told = re.sub(r".*\bfe80:.*\n|(valid|preferred)_lft \d+sec", "", told)
        return *re.sub(r"^\d+: ", "", told, flags=re.MULTILINE).split("=\n"), self.tree()

    def tree(self):
        """Give every file, link and directory below the root, but for podlan's lock, and its record of nothing."""
        there = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            if name.startswith("run") or (name.startswith("var") and (path.is_dir() or b'"node": ""' in content)):
                continue
            there[name] = str(path.readlink()) if path.is_symlink() else (path.stat().st_mode, content)
        return there

    def reaches(self, name, address, count=1):
        return not self.run(name, "ping", "-q", "-c", count, "-i", "0.01", "-W", "1", address, check=False).returncode

    @contextlib.contextmanager
    def pinging(self, name, address):
        """Ping every 5 ms during the block; the list that it gives holds what was sent and received after it."""
        assert self.reaches(name, address)
        counts = []
        argv = self.argv(name, "ping", "-q", "-i", "0.005", address)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as ping:
            try:
                yield counts
                time.sleep(0.3)  # what a late loss would show
            finally:
                ping.send_signal(signal.SIGINT)
                line = next(line for line in ping.communicate()[0].splitlines() if "transmitted" in line)
                counts += [int(word) for word in line.replace(",", "").split() if word.isdigit()][:2]

    @contextlib.contextmanager
    def pod(self, address=POD, node="node"):
        """Attach a pod to a node's eth0 by the real plugin."""
        name = f"pod{next(_numbers)}"
        self.add(name)
        config = {
            "cniVersion": "1.0.0",
            "name": "k8s-pod-network",
            "type": "macvlan",
            "master": "eth0",
            "ipam": {
                "type": "static",
                "addresses": [{"address": f"{address}/24", "gateway": GATEWAY}],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
        environment = {
            **os.environ,
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": name,
            "CNI_NETNS": f"/run/netns/{self.prefix}{name}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/usr/lib/cni",
        }
        self.run(node, "/usr/lib/cni/macvlan", input=json.dumps(config), env=environment)
        try:
            yield name
        finally:
            self.run(
                node,
                "/usr/lib/cni/macvlan",
                input=json.dumps(config),
                env={**environment, "CNI_COMMAND": "DEL"},
                check=False,
            )
