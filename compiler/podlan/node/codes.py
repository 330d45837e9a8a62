"""The codes of what a node finds: one row each, with what it means and how a run ends on it."""

from __future__ import annotations

from typing import NamedTuple

from podlan.diagnostics import Exit, Explanation, Finding, Severity


class Code(NamedTuple):
    """What a code stands for; `exit_code` None is a warning, which stops nothing.

    `doctor` is the severity of what only `podlan doctor` tells; `stops`: an error before which nothing is changed.
    """

    title: str
    why: str
    hint: str
    exit_code: int | None
    doctor: Severity | None = None
    stops: bool = True


_A = {Severity.ERROR: "An error", Severity.WARNING: "A warning", Severity.NOTE: "A note"}


CODES: dict[str, Code] = {
    "PL601": Code(
        "no privilege to change the network",
        "links, addresses and routes are changed through netlink, which needs CAP_NET_ADMIN; the files are root's",
        "run podlan as root",
        Exit.ENVIRONMENT,
    ),
    "PL602": Code(
        "the kernel is too old",
        "macvlan came with Linux 3.9, altnames of a master with 5.5, metrics of IPv6 addresses with 4.18; in the place "
        "of what else a plan needs (metrics of IPv4 addresses, 4.18, and their protocol, 5.18) podlan knows something",
        "use a newer kernel; or, for a second name, take altname from the inventory",
        Exit.ENVIRONMENT,
    ),
    "PL603": Code(
        "a master interface is missing",
        "the macvlan children hang on the master; at boot it may still come, so the run waits for it",
        "correct its name in the inventory",
        Exit.NOT_READY,
    ),
    "PL604": Code(
        "an address of the system is missing",
        "with `hostAccess: move` the child gets an address that the master has already; this one it has not",
        "podlan never adds it: configure it",
        Exit.NOT_READY,
    ),
    "PL605": Code(
        "a master is down",
        "a route through an interface that is down is refused, and an address that moves there would be lost",
        "bring it up",
        Exit.NOT_READY,
    ),
    "PL606": Code(
        "a master is in a bridge or bond",
        "the kernel gives a port's frames to its bridge or bond, so it refuses a macvlan child of the port",
        "name the bridge or bond itself as the master",
        Exit.FAILED,
    ),
    "PL607": Code(
        "another child keeps macvlan from the master",
        "a child in mode passthru has the master for itself: the kernel refuses a second child",
        "remove that child first",
        Exit.FAILED,
    ),
    "PL608": Code(
        "a name is taken by another interface",
        "the plan's macvlan child has this name, and podlan neither renames nor removes what it did not make",
        "remove it, or choose another name",
        Exit.FAILED,
    ),
    "PL609": Code(
        "a route of others is in the way",
        "the kernel keeps one route of a destination and metric; podlan replaces none that it did not add",
        "remove it, or change the inventory",
        Exit.FAILED,
    ),
    "PL610": Code(
        "a route could not be given back",
        "podlan can put back only what it can write down whole; a route with several next hops or a lifetime it cannot",
        "replace it by a plain one first",
        Exit.FAILED,
    ),
    "PL611": Code(
        "plugin binaries are missing",
        "the runtime starts the plugins from `cni.binDir`; without them every pod stays in ContainerCreating",
        "install the package containernetworking-plugins and set cni.binDir to /usr/lib/cni (Debian, Ubuntu) or "
        "/usr/libexec/cni (Fedora, RHEL), or kubernetes-cni with /opt/cni/bin; or give cni.plugins a url and sha256",
        None,
    ),
    "PL612": Code(
        "another CNI configuration comes first",
        "a runtime uses the first file in lexical order, and no other: pods would get addresses of that network. Those "
        "that already did go before the file does: nobody gives their addresses back without it",
        "remove it, or the runtime will use it",
        None,
    ),
    "PL613": Code(
        "a master is wireless",
        "an access point answers to one MAC address a station, and each macvlan child has one of its own",
        "use a wired one: most access points let one MAC address through",
        None,
    ),
    "PL614": Code(
        "the kernel has no IPv6",
        "the plan sets IPv6 settings and uses no IPv6 address; without IPv6 they have no meaning",
        "IPv6 settings are skipped",
        None,
    ),
    "PL615": Code(
        "an address has no prefix route of its own",
        "whoever added the address keeps its prefix route apart from it, so the address's metric does not reach it",
        "its metric is the business of whoever manages it",
        None,
    ),
    "PL616": Code(
        "a file that podlan wrote was changed by others",
        "podlan no longer needs the file, and removes only what is as it left it",
        "remove it by hand, if it is not needed",
        None,
    ),
    "PL617": Code(
        "a file cannot be brought into line",
        "flags or a block are put into a file of others only where podlan is sure how it is read",
        "repair the file by hand, then run podlan again",
        Exit.FAILED,
    ),
    "PL618": Code(
        "the kernel has no such setting",
        "the plan sets a value in /proc/sys that this kernel does not have",
        "compile for this kernel, or load the module",
        Exit.FAILED,
    ),
    "PL619": Code(
        "a unit of the network is never restarted",
        "restarting what manages the network may take the node's own address away while podlan works on it",
        "restart it by hand, if you must",
        None,
    ),
    "PL620": Code(
        "a master is down",
        "a macvlan child carries nothing while its master is down",
        "its pods reach nobody until it is up",
        None,
    ),
    "PL621": Code(
        "the plan has IPv6 and the kernel has not",
        "addresses and routes of IPv6 cannot be added: it is disabled on the kernel's command line, or not built in",
        "enable IPv6, or take it from the inventory",
        Exit.FAILED,
    ),
    "PL622": Code(
        "a program that a file calls is missing",
        "a unit or script of the plan starts it at boot; without it the node's network would not come back",
        "install dist/podlan-node.pyz there (`make node` builds it), or choose `boot: rc.local`",
        None,
    ),
    "PL623": Code(
        "this machine does not have the node's address",
        "the directory is of a machine with that address: with another's directory two nodes would have one slice",
        "use the directory of this machine's own node, or give the machine that address",
        Exit.NOT_READY,
    ),
    "PL624": Code(
        "this machine was another node",
        "with another node's slice living pods would share addresses with that node's",
        "use that node's directory; or, if the machine is another node now, --rename",
        Exit.FAILED,
    ),
    "PL625": Code(
        "the gateway did not answer before an address moved",
        "some switches let one MAC address a port through; a child with its own MAC is then silent. Nobody could tell",
        "when the gateway is back, see that others still reach this node",
        None,
    ),
    "PL626": Code(
        "another machine has an address of podlan's",
        "it answered, or asked for it at the same time, before podlan added it; two machines with one address cut each "
        "other off",
        "give that machine another address, or reserve this one in the inventory and compile again",
        Exit.FAILED,
    ),
    "PL627": Code(
        "a unit could not be restarted",
        "the files are as planned, but the unit still runs with what it read before",
        "see `systemctl status` of it; each run tries again until it restarts",
        None,
    ),
    "PL630": Code(
        "an altname is taken",
        "the CNI file names the master by it: pods would hang on the other interface",
        "take it from the other interface (`ip link property del`), or choose another altname",
        Exit.FAILED,
    ),
    "PL631": Code(
        "plugins are missing and cannot be fetched",
        "without them every pod fails; all else is as planned by now, but the CNI file is not written before them",
        "see that the node reaches cni.plugins.url, or put the archive there and name it by file://; each run tries",
        Exit.NOT_READY,
        stops=False,
    ),
    "PL632": Code(
        "plugins of an earlier archive stay",
        "the inventory names another archive, which could not be had or is not the one; pods keep the old plugins",
        "see that the node reaches cni.plugins.url and that sha256 is that of the archive; the next run tries again",
        None,
    ),
    "PL633": Code(
        "plugins are missing and cannot be installed",
        "what came from the URL is not the archive whose digest was reviewed, or does not hold the plugins, or they "
        "cannot be written to cni.binDir; nothing of it is installed",
        "compare cni.plugins.sha256 with the release's own list of digests; a proxy may have answered in its place",
        Exit.FAILED,
        stops=False,
    ),
    "PL634": Code(
        "a plugin that podlan installed was changed by others",
        "a package may own it by now; podlan overwrites a binary only as long as it is as podlan left it",
        "remove it, and podlan installs its own; or take url and sha256 from cni.plugins",
        None,
    ),
    "PL635": Code(
        "a plugin is no longer podlan's",
        "the plan does not bring it any more; others may use it, so it is not removed",
        "remove it by hand, if nothing uses it",
        None,
    ),
    "PL636": Code(
        "the runtime looks elsewhere for CNI",
        "it would not see podlan's file, or not find the plugins; podlan never rewrites a runtime's own configuration",
        "change it as told and restart the runtime, or change cni.confDir and cni.binDir",
        None,
    ),
    "PL637": Code(
        "containerd's CRI plugin is disabled",
        "Docker's packages ship it so; without it the kubelet cannot use this containerd, and no CNI file is read",
        "take it from disabled_plugins and restart containerd",
        None,
    ),
    "PL638": Code(
        "the runtime writes a CNI file itself",
        "containerd fills conf_template with the node's podCIDR and writes it beside podlan's file: two would decide",
        "remove conf_template from containerd's configuration and restart it",
        Exit.FAILED,
    ),
    "PL639": Code(
        "containerd does not read podlan's drop-in",
        "a file beside config.toml counts only if config.toml imports it",
        "change config.toml as told and restart containerd",
        None,
    ),
    "PL640": Code(
        "the runtime's configuration cannot be read",
        "so nobody can tell where the runtime looks for CNI files and plugins; the runtime may not even start on it",
        "repair the file",
        None,
    ),
    "PL641": Code(
        "CRI-O uses another network by name",
        "cni_default_network names the network of every pod, whatever file comes first",
        "remove cni_default_network, or set it to podlan's network, and restart CRI-O",
        None,
    ),
    "PL642": Code(
        "containerd loads several CNI files",
        "each pod gets an interface of each of them; podlan means its own to be the only one",
        "set max_conf_num to 1 and restart containerd",
        None,
    ),
    "PL643": Code(
        "a directory has the network's name",
        "runtimes with libcni 1.3 or newer chain every `*.conf` of it behind podlan's plugins",
        "move the files away, unless they are meant so",
        None,
    ),
    "PL644": Code(
        "another CNI file has the network's name",
        "CRI-O knows networks by their name: of two with the same name the pods may get the other one",
        "remove the other file",
        None,
    ),
    "PL645": Code(
        "a broken CNI file stops the runtime",
        "containerd loads no network at all when the first file in lexical order is broken: the node becomes NotReady",
        "repair or remove it",
        None,
    ),
    "PL646": Code(
        "systemd-networkd configures a link of the plan",
        "it sets addresses, routes and metrics anew whenever it configures the link; podlan's files keep it off what "
        "podlan made as soon as it has read them, unless another .network file comes before them",
        "run `networkctl reload`; let that file match only what it is for; for a master with hostAccess move, set "
        "RouteMetric= there to podlan's metric",
        None,
    ),
    "PL647": Code(
        "NetworkManager has a link of the plan",
        "it takes addresses and routes away that its profile does not have; podlan's file in conf.d names podlan's "
        "links unmanaged, which NetworkManager reads at its start or when told",
        "run `nmcli general reload` and `nmcli device set LINK managed no`; for a master with hostAccess move, set "
        "ipv4.route-metric of the connection to podlan's metric",
        None,
    ),
    "PL648": Code(
        "ifupdown has a link of the plan",
        "`systemctl restart networking` would take podlan's link down and make another one in its place",
        "remove the stanza: podlan makes the link at every boot",
        None,
    ),
    "PL649": Code(
        "a DHCP client asks on podlan's link",
        "it would give the link an address and the node a default route that are not in the plan",
        "stop it there: `denyinterfaces LINK` in /etc/dhcpcd.conf, or end the dhclient that was started for it",
        None,
    ),
    "PL650": Code(
        "pods' MTU is larger than their master's",
        'the kernel gives no child more than its master has, and the plugin refuses each pod: "invalid MTU"',
        "raise the interface's own MTU, with that of the switch; or lower mtu in the inventory",
        Exit.NOT_READY,
    ),
    "PL651": Code(
        "a VLAN is there under another name",
        "the kernel gives the frames of one tag to one interface; podlan neither renames nor removes what others made",
        "remove it, or give the VLAN that name in the inventory (interface)",
        Exit.FAILED,
    ),
    "PL652": Code(
        "others hang on a VLAN that must be made anew",
        "its number or its link has changed; the kernel deletes pods' interfaces along with the VLAN that they are on",
        "drain the node (kubectl drain), and run podlan again",
        Exit.FAILED,
    ),
    "PL653": Code(
        "a VLAN stays for others' sake",
        "the kernel deletes pods' interfaces along with the VLAN that they are on",
        "when they are gone, the next run removes it",
        None,
    ),
    "PL654": Code(
        "a VLAN that podlan is to make is others'",
        "podlan uses it and changes nothing of it; but from the next boot on networkd and NetworkManager leave it "
        "alone, as podlan's files tell them to, so that who made it may no longer look after it",
        "name it in the inventory as the master's interface, without vlan; or have the others no longer make it",
        None,
    ),
    "PL655": Code(
        "another machine still has an IPv6 address of podlan's",
        "the kernel found so when somebody else than podlan added the address, and does not use it; podlan adds it "
        "anew as soon as nobody answers for it",
        "take the address from that machine, or reserve it in the inventory and compile again",
        Exit.FAILED,
    ),
    "PL656": Code(
        "another machine has the node's own IPv6 address",
        "the kernel asked the wire and was answered: a cloned machine, most often, and this may be the clone, with the "
        "directory, and so the pods' addresses, of the other one",
        "give each machine an address of its own, then delete and add it here, or restart the network",
        Exit.FAILED,
    ),
    "PL657": Code(
        "an IPv6 address is not in use yet",
        "the kernel asks the wire whether another machine has it, which takes up to two seconds; a route cannot have "
        "it as its source, and nobody knows yet whether this machine is a clone",
        "it ends by itself",
        Exit.NOT_READY,
    ),
    "PL660": Code(
        "a reservation without a living pod",
        "host-local keeps an address until the runtime gives it back; after a crash nobody does, and the "
        "slice runs dry",
        "remove the file under host-local's own lock, as shown with the finding; host-local then gives the "
        "address out again",
        None,
        Severity.WARNING,
    ),
    "PL661": Code(
        "nobody can tell which reservations are in use",
        "the runtime keeps no trace of its pods where doctor looks, so a reservation without a pod cannot be "
        "told from one with",
        "compare the container ids in the files with `crictl pods -o json` by hand",
        None,
        Severity.NOTE,
    ),
    "PL662": Code(
        "a pod's address is outside the node's slice",
        "the slice shrank or moved under a living pod; once somebody else is given the address, two machines have it",
        "delete the pod, and its successor gets an address of the slice; release the old addresses only after that",
        None,
        Severity.WARNING,
    ),
    "PL663": Code(
        "reservations where host-local no longer looks",
        "host-local keeps them by dataDir and the network's name: after a rename it begins with an empty "
        "store under living pods",
        "give the network its old name and dataDir back, or replace the pods that are named there, then "
        "remove the directory",
        None,
        Severity.WARNING,
    ),
    "PL664": Code(
        "a reservation that cannot be right",
        "an empty file (a power cut) or one of two addresses of one container is given back by nobody",
        "remove the file under host-local's own lock, as shown with the finding",
        None,
        Severity.WARNING,
    ),
    "PL665": Code(
        "a pod was given an address that means something else",
        "the gateway's, the shim's and the node's own addresses are answered by others: the pod and they cut "
        "each other off",
        "delete the pod; then see that the CNI file on the node is the compiled one",
        None,
        Severity.ERROR,
    ),
    "PL666": Code(
        "a living pod's address is not reserved",
        "host-local will give the same address to the next pod: its store was removed or renamed, or the "
        "address is not from it",
        "delete the pod, and its successor gets an address that is reserved",
        None,
        Severity.ERROR,
    ),
    "PL667": Code(
        "another machine has an address of this node's",
        "it answers by ARP or neighbour discovery; two machines with one address cut each other off, in turns",
        "find the MAC in the switch's table; give that machine another address, or reserve this one in the "
        "inventory; if one MAC answers for all, look for proxy ARP on it",
        None,
        Severity.ERROR,
    ),
    "PL668": Code(
        "not all addresses were asked about on the wire",
        "questions are bounded in number and time, so that doctor is no burden to the LAN",
        "ask for the others with arping or ndisc6, if you doubt them",
        None,
        Severity.NOTE,
    ),
    "PL669": Code(
        "the switch lets no second MAC address through",
        "the gateway answers the master and not its macvlan child: pods reach nobody beyond this node",
        "raise the number of MAC addresses of the switch port; on a hypervisor allow promiscuous mode and "
        "forged transmits",
        None,
        Severity.ERROR,
    ),
    "PL670": Code(
        "the node differs from its plan",
        "somebody or something changed what podlan applied; what was reviewed is not what runs",
        "`podlan reconcile --dry-run` shows each difference as a command, `podlan reconcile` repairs it",
        None,
        Severity.ERROR,
    ),
    "PL671": Code(
        "a plugin does not speak the version of its CNI file",
        "it refuses every pod with 'incompatible CNI versions'",
        "install newer plugins, or set cni.plugins.version to what is installed and compile again",
        None,
        Severity.ERROR,
    ),
    "PL672": Code(
        "others than root can write a plugin",
        "the runtime runs it as root for every pod: who can write it is root; doctor does not run it",
        "find out who changed it, install it again, and see that root alone can write it and its directories",
        None,
        Severity.ERROR,
    ),
    "PL673": Code(
        "a plugin does not answer",
        "it does not run here, or says nothing of its version: another architecture, a broken download, no "
        "plugin at all",
        "install it again",
        None,
        Severity.ERROR,
    ),
    "PL674": Code(
        "plugins of another release than planned",
        "the compiler chose keys and cniVersion for the planned release; another one ignores what it does not know",
        "install the planned release, or set cni.plugins.version to what is installed",
        None,
        Severity.WARNING,
    ),
    "PL675": Code(
        "a kernel setting works against pods",
        "it is none of the plan's, but decides who answers whom; the finding says how",
        "set it as told, and find the file that sets it at boot",
        None,
        Severity.WARNING,
    ),
    "PL676": Code(
        "a file sets the plan's settings otherwise at boot",
        "whichever file of sysctl.d comes last wins at boot, and again each time an interface appears",
        "take the line out, or rename the file so that it sorts before podlan's",
        None,
        Severity.WARNING,
    ),
    "PL677": Code(
        "MAC addresses at this node's switch port",
        "each pod has a MAC address of its own; a port that allows fewer drops the pods that come last, without a word",
        "compare with the switch's limit for the port (port security) or with the hypervisor's",
        None,
        Severity.NOTE,
    ),
    "PL678": Code(
        "flags that a kubelet no longer knows",
        "a kubelet ends at once on a flag that it does not know: the node does not come back from the upgrade",
        "take them out before the upgrade; what podlan put there goes with cluster.kubernetes of the new version",
        None,
        Severity.WARNING,
    ),
    "PL679": Code(
        "leftovers of an interrupted run",
        "a run was killed, or a unit did not restart; the next run finishes what is open",
        "run `podlan reconcile`",
        None,
        Severity.WARNING,
    ),
    "PL680": Code(
        "an interrupted run is taken back",
        "a run was killed together with the process that guards it, so the node was left between two plans; what it "
        "did is taken back by its journal before anything else is done",
        "look for what killed it: the machine's memory, or a person",
        None,
    ),
    "PL681": Code(
        "an interrupted run cannot be taken back",
        "what a killed run did could not be undone, or its journal cannot be read; this run compares the node with the "
        "plan as always, and so finishes what the other began",
        "see whether all is as you want it: podlan reconcile --check",
        None,
    ),
    "PL682": Code(
        "an interrupted run had been confirmed",
        "its network stays, since `podlan confirm` came before the run was killed; files and restarts come now",
        "nothing is to be done",
        None,
    ),
    "PL685": Code(
        "somebody watches this node",
        "a `podlan reconcile --watch` that is no unit of podlan's would put back what undo takes away",
        "end the process, then run podlan undo again",
        Exit.FAILED,
    ),
    "PL686": Code(
        "what was there before is not known",
        "boot.sh remembers nothing, or podlan's state of this boot is lost: what was replaced cannot be given back; "
        "the plan's values stay, which cuts nobody off, until the next boot brings those of the system",
        "set them by hand, or restart the machine",
        None,
    ),
    "PL687": Code(
        "plugins that podlan installed stay",
        "other CNI configurations may call them, and so does the runtime to take down pods that still run",
        "`podlan undo --plugins` removes those that are as podlan left them",
        None,
    ),
    "PL688": Code(
        "files of podlan's may stay",
        "neither podlan's state nor its copy of the node's directory is there, which tell what it wrote; what is in "
        "the kernel is recognized by its marks",
        "run podlan reconcile with the node's directory, then podlan undo",
        None,
    ),
    "PL689": Code(
        "a displaced route cannot be given back",
        "its interface is down or gone, and its routes went with it; what brings the interface up brings them too",
        "bring the interface up again by what manages it, or add the route by hand",
        None,
    ),
    "PL695": Code(
        "a bond gives pods' frames MAC addresses of its own",
        "in the modes balance-tlb and balance-alb a frame that leaves by another interface than the active one has "
        "that interface's MAC address, not the pod's: a switch that knows which MAC an address belongs to (IP source "
        "guard, port security) drops it; and until Linux 6.5 (5.15.129, 5.4.255) balance-alb tells neighbours its own "
        "MACs for pods' addresses, too, and pods do not take what comes for those",
        "use active-backup, or 802.3ad with a group of ports on the switch",
        None,
        Severity.WARNING,
    ),
    "PL697": Code(
        "a plugin refuses a pod",
        "pods that the kubelet starts here meet the same: the runtime calls the same plugins with the same file",
        "the plugin's own message says what it lacks; podlan doctor tells more of reservations and plugins",
        Exit.FAILED,
        stops=False,
    ),
    "PL698": Code(
        "pods reach nobody beyond their host",
        "the host reaches others and its pods do not: most often the switch port (port security) or the hypervisor "
        "(promiscuous mode, forged transmits, MAC spoofing) lets one MAC address through",
        "let the port carry the pods' MAC addresses; podlan doctor compares two MACs before the gateway",
        Exit.FAILED,
        stops=False,
    ),
    "PL699": Code(
        "leftovers of an earlier podlan verify",
        "it was killed, or a plugin refused to detach its pods, so their addresses may have been reserved until now",
        "nothing is to be done",
        None,
    ),
    "PL737": Code(
        "the slice has no room for as many pods",
        "podlan verify asks for addresses as the runtime does, and takes none that is in use",
        "if the slice should have room: podlan doctor tells which reservations have no pod",
        None,
    ),
    "PL738": Code(
        "the network was changed while pods were tried",
        "what podlan verify saw may be of the time before, or in between",
        "run podlan verify again",
        None,
    ),
}


def finding(code: str, message: str) -> Finding:
    """Make a finding of the table's severity and hint."""
    row = CODES[code]
    severity = row.doctor or (Severity.WARNING if row.exit_code is None else Severity.ERROR)
    return Finding(code, message, severity=severity, hint=row.hint)


def explanations() -> dict[str, Explanation]:
    """Give what each code means, as `podlan rule` and SARIF show it."""
    return {
        code: Explanation(code, row.title, f"{_how_a_run_ends(row)}\nWhy: {row.why}.\nDo: {row.hint}.")
        for code, row in CODES.items()
    }


def _how_a_run_ends(row: Code) -> str:
    if row.doctor is not None:
        return f"{_A[row.doctor]} of podlan doctor."
    if row.exit_code is None:
        return "A warning: the run goes on."
    rest = "nothing is changed" if row.stops else "all else is done"
    return f"An error: {rest}, and the exit code is {int(row.exit_code)}."
