"""The codes of the audit, each with its severity, why it matters and what to do."""

from __future__ import annotations

from typing import NamedTuple

from podlan.diagnostics import Severity


class Code(NamedTuple):
    """What a code stands for."""

    severity: Severity
    title: str
    why: str
    repair: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

CODES: dict[str, Code] = {
    # The files.
    "PL701": Code(
        _E,
        "a file that is not JSON",
        "a file that is not JSON keeps containerd from loading any network; CRI-O takes the next file",
        "correct the JSON at the place shown, or take the file out of the directory",
    ),
    "PL702": Code(
        _N,
        "a file that was not audited",
        "a file that is no CNI configuration was not audited",
        "nothing, if it is not meant to be a CNI configuration",
    ),
    "PL703": Code(
        _E,
        "a file that the runtime refuses",
        "the runtime refuses this file: no pod of the node gets an address",
        "correct what the finding names; a list ends in .conflist, a single plugin in .conf",
    ),
    "PL704": Code(
        _E,
        "a range that host-local refuses",
        "host-local refuses this configuration, or would leave the subnet: no pod gets a usable address",
        "correct the subnet or the range: both ends inside the subnet, the first before the last",
    ),
    "PL705": Code(
        _W,
        "a JSON key twice",
        "a JSON key that stands twice: the last one wins, and nobody says so",
        "keep the one that is meant",
    ),
    "PL706": Code(
        _E,
        "two spellings of a JSON key",
        "two spellings of one key: Go ignores case, and which one wins depends on who wrote the file last",
        "keep one, spelt as the plugin's documentation does",
    ),
    "PL707": Code(
        _E,
        "a key that is meant to exclude addresses",
        "host-local has no exclusions: what this key means to keep back is handed out",
        "cut the range into parts around those addresses",
    ),
    "PL708": Code(
        _W,
        "a key that host-local does not know",
        "a key that host-local does not know is ignored, and nobody says so",
        "correct its spelling, or remove it",
    ),
    "PL709": Code(
        _N,
        "a file that no runtime uses",
        "a runtime uses the first file in lexical order, and no other",
        "remove it, or name it so that it sorts first",
    ),
    "PL710": Code(
        _N,
        "addresses that cannot be audited",
        "only host-local's and static addresses can be audited; others come from somewhere else",
        "see to it by other means that they lie outside the ranges of host-local",
    ),
    "PL711": Code(
        _N,
        "a network behind masquerading",
        "behind masquerading every node has a wire of its own: not compared with other nodes",
        "nothing, if pods are meant to be behind their node's address",
    ),
    "PL712": Code(
        _E,
        "no CNI file",
        "nothing was audited, so nothing is proved",
        "name the directory that holds the nodes' files, or the files",
    ),
    "PL713": Code(
        _E,
        "a line about a node that cannot be read",
        "what is unreadable here may hold a node's address that pods must not get",
        "write NODE ADDRESS on each line, or give it podlan's output",
    ),
    # Addresses that mean something already.
    "PL720": Code(
        _E,
        "an address in the ranges of two nodes",
        "host-local knows one node only: both give the address to a pod, and neither sees an error",
        "give every node a range of its own",
    ),
    "PL721": Code(
        _E,
        "an address in two networks of a node",
        "each network of a node keeps its own reservations: two pods of the node get the address",
        "give every network a range of its own",
    ),
    "PL722": Code(
        _E,
        "the gateway in a range",
        "a pod with the gateway's address takes the LAN's way out, for everybody",
        "cut the range around the gateway on every node",
    ),
    "PL723": Code(
        _E,
        "a node's address in a range",
        "a pod with a node's address cuts that node off",
        "cut the range around the node's address",
    ),
    "PL724": Code(
        _E,
        "an address in a range that belongs to nobody",
        "network, broadcast and subnet-router anycast addresses belong to nobody; host-local gives them out",
        "begin the range after the subnet's first address, and end it before the last",
    ),
    "PL725": Code(
        _E,
        "a route's next hop in a range",
        "a pod with the address of a route's next hop takes the traffic of that route",
        "cut the range around the next hop",
    ),
    "PL726": Code(
        _E,
        "two nodes with one address",
        "two nodes with one address answer in turns",
        "give each an address of its own",
    ),
    "PL727": Code(
        _E,
        "subnets of different sites that overlap",
        "a router knows one way to an address: of two sites that it connects, one cannot be reached, or not all of it",
        "give every site subnets of its own; audit sites that no route connects with --apart or in a run of their own, "
        "and say --shared CIDR where they are on one LAN",
    ),
    # What is legal and seldom meant.
    "PL730": Code(
        _W,
        "a gateway in its own range",
        "host-local withholds the gateway without a word: the range has one address less",
        "end the range before the gateway, so that its size is what it seems",
    ),
    "PL731": Code(
        _N,
        "a range without a gateway",
        "without a gateway host-local takes the first address for it and withholds it",
        "give the gateway, or begin the range after the subnet's first address",
    ),
    "PL732": Code(
        _W,
        "a gateway outside the subnet",
        "the plugin accepts it, and then cannot add the route: network is unreachable",
        "give a gateway of the subnet, or none",
    ),
    "PL733": Code(
        _W,
        "nodes that disagree about the subnet",
        "nodes that disagree about the subnet disagree about who is a neighbour",
        "give all nodes of the wire the same subnet",
    ),
    "PL734": Code(
        _W,
        "nodes that disagree about the gateway",
        "nodes of one wire have seldom two gateways on purpose",
        "give all nodes of the wire the same gateway, unless two are meant",
    ),
    "PL735": Code(
        _W,
        "nodes that disagree about the network's name",
        "one cluster has one network name; a node that changes it forgets who has which address",
        "use one name; change it on a node only when it has no pods",
    ),
    "PL736": Code(
        _W,
        "nodes that disagree about dataDir",
        "reservations lie there: a node that changes it forgets who has which address",
        "use one directory; change it on a node only when it has no pods",
    ),
}
