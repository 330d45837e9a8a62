"""The how-to's network: three nodes on one LAN, with the three ways of host access."""

import hashlib
import json
from ipaddress import ip_address, summarize_address_range

from podlan.lab import LabNode, Lan, Options, Topology, Wire
from podlan.plan import Address, Cni, EnvFlags, File, Link, Plan, Route, encode

LANS = {4: ("172.16.129.0/24", "172.16.129.254"), 6: ("fd00:129::/64", "fd00:129::fe")}
# Own address, first and last pod address, shim.
NODES = {
    "node-1": {
        4: ("172.16.129.101", "172.16.129.110", "172.16.129.119", "172.16.129.199"),
        6: ("fd00:129::1", "fd00:129::100", "fd00:129::1ff", "fd00:129::c1"),
    },
    "node-2": {
        4: ("172.16.129.102", "172.16.129.128", "172.16.129.143", "172.16.129.198"),
        6: ("fd00:129::2", "fd00:129::200", "fd00:129::2ff", "fd00:129::c2"),
    },
    "node-3": {
        4: ("172.16.129.103", "172.16.129.160", "172.16.129.175", "172.16.129.197"),
        6: ("fd00:129::3", "fd00:129::300", "fd00:129::3ff", "fd00:129::c3"),
    },
}
CONFLIST = "/etc/cni/net.d/05-podlan.conflist"
CONF = "/etc/cni/net.d/05-podlan.conf"
KUBELET = "/etc/default/kubelet"
SHIM_SYSCTLS = {
    "net/ipv4/conf/eth0/arp_filter": "1",
    "net/ipv4/conf/macvlan0/arp_filter": "1",
    "net/ipv4/conf/macvlan0/arp_announce": "2",
}
ALONE = {4: 32, 6: 128}
FAST = Options(before=False)
"""Without the how-to's fourth result, which costs a second reconcile of every node."""


def plan(name, *, access, families=(4,), file=CONFLIST, bin_dir="/opt/cni/bin"):
    """Give a node's plan: with a shim, with its address moved, or with no host access."""
    mine = {family: NODES[name][family] for family in families}
    promise = {"links": (Link("eth0", "master", promisc=True),)}
    if access == "shim":
        mac = "02:70:" + ":".join(f"{int(part):02x}" for part in NODES[name][4][3].split("."))
        shim = Link("macvlan0", "macvlan", master="eth0", mode="bridge", mac=mac, alias="podlan: shim of eth0")
        promise = {
            "links": (*promise["links"], shim),
            "addresses": tuple(Address("macvlan0", f"{mine[family][3]}/{ALONE[family]}") for family in families),
            "routes": tuple(route for _, first, last, source in mine.values() for route in routes(first, last, source)),
            "sysctls": SHIM_SYSCTLS,
        }
    if access == "move":
        own, gateway = f"{mine[4][0]}/24", LANS[4][1]
        child = Link("macvlan0", "macvlan", master="eth0", mode="bridge", alias="podlan: host access on eth0")
        settings = {"rp_filter": "2", "arp_filter": "1"}
        promise = {
            "links": (*promise["links"], child),
            "addresses": (
                Address("macvlan0", own, metric=50, announce=True),
                Address("eth0", own, metric=512, adopt=True),
            ),
            "routes": (
                Route("eth0", "0.0.0.0/0", gateway=gateway, metric=1024),
                Route("macvlan0", "0.0.0.0/0", gateway=gateway, replaces=True),
            ),
            "sysctls": {
                f"net/ipv4/conf/{link}/{key}": value for link in ("eth0", "macvlan0") for key, value in settings.items()
            },
        }
    return Plan(
        name,
        files=(
            File(file, source="rootfs" + file),
            File(KUBELET, env_flags=EnvFlags("KUBELET_EXTRA_ARGS", (f"--node-ip={NODES[name][4][0]}",))),
        ),
        cni=Cni(file, (f"{bin_dir}/macvlan", f"{bin_dir}/host-local")),
        **promise,
    )


def routes(first, last, source):
    """Give the shim's routes to a slice."""
    blocks = summarize_address_range(ip_address(first), ip_address(last))
    return tuple(Route("macvlan0", str(block), source=source) for block in blocks)


def network(name, *, access, families=(4,), mode="bridge", form="conflist", ranges=None, after=()):
    """Give a node's CNI configuration; with a shim, pods go to their own host through it."""
    slices, ways = [], []
    for family in families:
        subnet, gateway = LANS[family]
        own, first, last, shim = NODES[name][family]
        slices.append([{"subnet": subnet, "rangeStart": first, "rangeEnd": last, "gateway": gateway}])
        ways.append({"dst": {4: "0.0.0.0/0", 6: "::/0"}[family]})
        if access == "shim":
            ways.append({"dst": f"{own}/{ALONE[family]}", "gw": shim})
    plugin = {
        "type": "macvlan",
        "master": "eth0",
        "mode": mode,
        "ipam": {"type": "host-local", "dataDir": "/run/podlan/ipam", "ranges": ranges or slices, "routes": ways},
    }
    if form == "conf":
        return {"cniVersion": "0.3.1", "name": "k8s-pod-network"} | plugin
    return {"cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": [plugin, *after]}


def write_node(directory, planned, config):
    """Write a node's compiled directory."""
    files = {"plan.json": encode(planned), "rootfs" + planned.cni.file: config}
    manifest = {}
    for name, document in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")
        manifest[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (directory / "manifest.json").write_text(
        json.dumps({"version": 1, "node": planned.node, "podlan": "0.1.0", "files": manifest})
    )


def topology(
    output,
    access="shim",
    *,
    only=tuple(NODES),
    families=(4,),
    sysctls=(),
    form="conflist",
    bin_dir="/opt/cni/bin",
    **shape,
):
    """Write the compiled site and describe what it stands on."""
    file = {"conflist": CONFLIST, "conf": CONF}[form]
    nodes = []
    for name in only:
        node, directory = NODES[name], output / "nodes" / name
        planned = plan(name, access=access, families=families, file=file, bin_dir=bin_dir)
        write_node(directory, planned, network(name, access=access, families=families, form=form, **shape))
        own = tuple(f"{node[family][0]}/{LANS[family][0].partition('/')[2]}" for family in families)
        wire = Wire("eth0", own, tuple(LANS[family][1] for family in families))
        nodes.append(LabNode(name, directory, (wire,), sysctls))
    gateways = tuple(f"{LANS[family][1]}/{LANS[family][0].partition('/')[2]}" for family in families)
    return Topology(tuple(nodes), (Lan(gateways=gateways),))
