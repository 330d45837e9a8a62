"""A site in network namespaces on one machine, with the real CNI plugins, to prove what was compiled."""

from podlan.lab.life import Lab, Options, down, up, verify
from podlan.lab.state import State
from podlan.lab.topology import LabNode, Lan, Topology, Wire

__all__ = ["Lab", "LabNode", "Lan", "Options", "State", "Topology", "Wire", "down", "up", "verify"]
