"""podlan compiles a site inventory into the macvlan CNI set-up of every node, and makes a node match it."""

__version__ = "0.1.0"
