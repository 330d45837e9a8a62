"""One switch, with virtual machines and a network namespace on it: the nodes of one site, and its pods."""

import contextlib
import sys
import threading
from dataclasses import dataclass, field
from queue import SimpleQueue

from kernel import initramfs, kernel, order
from lan import Net
from nodes import AGENT, PORT, Node, VirtualNode, in_machine, in_namespace
from qemu import Machine

# Addresses that the nodes have by themselves, as in site/site.yaml, and how many interfaces the virtual ones have.
OWN = {"plain": "172.16.129.101", "bonded": "172.16.129.103", "mixed": "172.16.129.104", "tagged": "172.16.131.105"}
TAPS = {"bonded": 2, "mixed": 3, "tagged": 1}


@dataclass(frozen=True)
class Pod:
    """A pod, with its address on the LAN, and the one in the VLAN where its node has that."""

    node: str
    name: str
    uplink: str
    storage: str = ""

    def __str__(self):
        return f"{self.node}/{self.name}"


@dataclass
class Site:
    """The site as it runs; `net` has the switch and the gateway."""

    net: Net
    nodes: dict[str, Node]
    pods: dict[str, Pod] = field(default_factory=dict)

    @property
    def machines(self) -> list[VirtualNode]:
        return [node for node in self.nodes.values() if isinstance(node, VirtualNode)]

    def each(self, function):
        """Do it on all nodes at once; a node that hangs keeps neither a failure nor a signal from ending us."""
        done = SimpleQueue()

        def work(node):
            try:
                done.put((node.name, function(node), None))
            except Exception as error:  # noqa: BLE001 - it is raised below
                done.put((node.name, None, error))

        for node in self.nodes.values():
            threading.Thread(target=work, args=(node,), daemon=True).start()
        results = {}
        for _ in self.nodes:
            name, results[name], error = done.get()
            if error is not None:
                raise error
        return results

    def port(self, mac):
        """Give the port by which the switch sends to this MAC, '' where it floods."""
        lines = self.net.run("sw", "bridge", "fdb", "show", "br", "br0").stdout.splitlines()
        found = [line.split()[2] for line in lines if line.startswith(f"{mac} dev ") and "permanent" not in line]
        return found[0] if found else ""


@contextlib.contextmanager
def running(work, kernels, taps=TAPS):
    """Boot all nodes on one switch: virtual machines with so many interfaces each, and one network namespace."""
    net = Net(work)
    if taps:
        vmlinuz, tree = kernel(kernels)
        initrd = initramfs(work, order(kernels, tree), [sys.executable, str(AGENT), PORT])
    with contextlib.ExitStack() as stack:
        stack.callback(net.down)
        net.up()
        nodes = {"plain": stack.enter_context(in_namespace("plain", f"{net.prefix}node", work / "plain"))}
        for number, (name, count) in enumerate(taps.items(), start=1):
            macs = {f"{name}-{port}": f"02:00:00:00:{number:02x}:{port:02x}" for port in range(count)}
            for tap in macs:
                net.run("sw", "ip", "tuntap", "add", tap, "mode", "tap")
                net.run("sw", "ip", "link", "set", tap, "master", "br0", "up")
            machine = Machine(work / name, vmlinuz, initrd, f"{net.prefix}sw", macs)
            nodes[name] = stack.enter_context(in_machine(name, machine))
        yield Site(net, nodes)
