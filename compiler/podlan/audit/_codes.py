"""The codes of the audit, each with its severity and why it matters."""

from __future__ import annotations

from typing import NamedTuple

from podlan.diagnostics import Severity


class Code(NamedTuple):
    """What a code stands for."""

    severity: Severity
    why: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

CODES: dict[str, Code] = {
    # The files.
    "PL701": Code(_E, "a file that is not JSON keeps containerd from loading any network; CRI-O takes the next file"),
    "PL702": Code(_N, "a file that is no CNI configuration was not audited"),
    "PL703": Code(_E, "the runtime refuses this file: no pod of the node gets an address"),
    "PL704": Code(_E, "host-local refuses this configuration, or would leave the subnet: no pod gets a usable address"),
    "PL705": Code(_W, "a JSON key that stands twice: the last one wins, and nobody says so"),
    "PL706": Code(
        _E, "two spellings of one key: Go ignores case, and which one wins depends on who wrote the file last"
    ),
    "PL707": Code(_E, "host-local has no exclusions: what this key means to keep back is handed out"),
    "PL708": Code(_W, "a key that host-local does not know is ignored, and nobody says so"),
    "PL709": Code(_N, "a runtime uses the first file in lexical order, and no other"),
    "PL710": Code(_N, "only host-local's and static addresses can be audited; others come from somewhere else"),
    "PL711": Code(_N, "behind masquerading every node has a wire of its own: not compared with other nodes"),
    "PL712": Code(_E, "nothing was audited, so nothing is proved"),
    "PL713": Code(_E, "what is unreadable here may hold a node's address that pods must not get"),
    # Addresses that mean something already.
    "PL720": Code(_E, "host-local knows one node only: both give the address to a pod, and neither sees an error"),
    "PL721": Code(_E, "each network of a node keeps its own reservations: two pods of the node get the address"),
    "PL722": Code(_E, "a pod with the gateway's address takes the LAN's way out, for everybody"),
    "PL723": Code(_E, "a pod with a node's address cuts that node off"),
    "PL724": Code(
        _E, "network, broadcast and subnet-router anycast addresses belong to nobody; host-local gives them out"
    ),
    "PL725": Code(_E, "a pod with the address of a route's next hop takes the traffic of that route"),
    "PL726": Code(_E, "two nodes with one address answer in turns"),
    # What is legal and seldom meant.
    "PL730": Code(_W, "host-local withholds the gateway without a word: the range has one address less"),
    "PL731": Code(_N, "without a gateway host-local takes the first address for it and withholds it"),
    "PL732": Code(_W, "the plugin accepts it, and then cannot add the route: network is unreachable"),
    "PL733": Code(_W, "nodes that disagree about the subnet disagree about who is a neighbour"),
    "PL734": Code(_W, "nodes of one wire have seldom two gateways on purpose"),
    "PL735": Code(_W, "one cluster has one network name; a node that changes it forgets who has which address"),
    "PL736": Code(_W, "reservations lie there: a node that changes it forgets who has which address"),
}
