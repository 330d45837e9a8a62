"""What is wrong on a node, or will be: looks only, changes nothing, and claims nothing that it cannot tell."""

from podlan.node.doctor._examine import examine

__all__ = ["examine"]
