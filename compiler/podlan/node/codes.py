"""The codes of what a node finds: one row each, with what it means and how a run ends on it."""

from __future__ import annotations

from typing import NamedTuple

from podlan.diagnostics import Exit, Finding, Severity


class Code(NamedTuple):
    """What a code stands for; `exit_code` None is a warning, which stops nothing."""

    title: str
    hint: str
    exit_code: int | None


CODES: dict[str, Code] = {
    "PL601": Code("no privilege to change the network", "run podlan as root", Exit.ENVIRONMENT),
    "PL602": Code("the kernel is too old", "macvlan needs Linux 3.9, metrics of addresses 4.18", Exit.ENVIRONMENT),
    "PL603": Code("a master interface is missing", "correct its name in the inventory", Exit.NOT_READY),
    "PL604": Code("an address of the system is missing", "podlan never adds it: configure it", Exit.NOT_READY),
    "PL605": Code("a master is down", "bring it up", Exit.NOT_READY),
    "PL606": Code("a master is in a bridge or bond", "name the bridge or bond itself as the master", Exit.FAILED),
    "PL607": Code("another child keeps macvlan from the master", "remove that child first", Exit.FAILED),
    "PL608": Code("a name is taken by another interface", "remove it, or choose another name", Exit.FAILED),
    "PL609": Code("a route of others is in the way", "remove it, or change the inventory", Exit.FAILED),
    "PL610": Code("a route could not be given back", "replace it by a plain one first", Exit.FAILED),
    "PL611": Code(
        "plugin binaries are missing",
        "Debian's containernetworking-plugins puts them in /usr/lib/cni: set cni.binDir to it, or link them",
        None,
    ),
    "PL612": Code("another CNI configuration comes first", "remove it, or the runtime will use it", None),
    "PL613": Code("a master is wireless", "most access points let one MAC address through", None),
    "PL614": Code("the kernel has no IPv6", "IPv6 settings are skipped", None),
    "PL615": Code(
        "an address has no prefix route of its own", "its metric is the business of whoever manages it", None
    ),
    "PL616": Code("a file that podlan wrote was changed by others", "remove it by hand, if it is not needed", None),
    "PL617": Code("a file cannot be brought into line", "repair the file by hand, then run podlan again", Exit.FAILED),
    "PL618": Code("the kernel has no such setting", "compile for this kernel, or load the module", Exit.FAILED),
    "PL619": Code("a unit of the network is never restarted", "restart it by hand, if you must", None),
    "PL620": Code("a master is down", "its pods reach nobody until it is up", None),
    "PL621": Code(
        "the plan has IPv6 and the kernel has not", "enable IPv6, or take it from the inventory", Exit.FAILED
    ),
    "PL622": Code(
        "a program that a file calls is missing",
        "install dist/podlan-node.pyz there (`make node` builds it), or choose `boot: rc.local`",
        None,
    ),
    "PL623": Code(
        "this machine does not have the node's address",
        "use the directory of this machine's own node, or give the machine that address",
        Exit.NOT_READY,
    ),
    "PL624": Code(
        "this machine was another node",
        "use that node's directory; or, if the machine is another node now, --rename",
        Exit.FAILED,
    ),
    "PL625": Code(
        "the gateway did not answer before an address moved",
        "when the gateway is back, see that others still reach this node",
        None,
    ),
    "PL626": Code(
        "another machine has an address of podlan's",
        "give that machine another address, or reserve this one in the inventory and compile again",
        Exit.FAILED,
    ),
    "PL627": Code(
        "a unit could not be restarted", "see `systemctl status` of it; each run tries again until it restarts", None
    ),
}


def finding(code: str, message: str) -> Finding:
    """Make a finding of the table's severity and hint."""
    row = CODES[code]
    severity = Severity.WARNING if row.exit_code is None else Severity.ERROR
    return Finding(code, message, severity=severity, hint=row.hint)
