"""What people write: the inventory's models, one class a section. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from podlan.inventory._chain import Chained
from podlan.inventory._files import OwnFile
from podlan.inventory._kubelet import Kubelet, Role
from podlan.inventory._section import Section, Silencing
from podlan.inventory._values import (
    AbsolutePath,
    Cidr,
    Domain,
    FileName,
    HostAddress,
    InterfaceName,
    KubernetesName,
    LanCidr,
    Mac,
    Mtu,
    Name,
    NetworkName,
    NodeName,
    PluginsUrl,
    ProbeTimeout,
    Range,
    Reason,
    ServerAddress,
    Sha256,
    VersionText,
)

Boot = Literal["systemd", "systemd-watch", "rc.local"]
Pods = Annotated[int, Field(ge=1, le=65536)]

_LAN = {"cidr": "172.16.129.0/24", "gateway": "172.16.129.254", "routes": [{"dst": "0.0.0.0/0"}]}
"""The examples here are of one site: /24, gateway .254, the nodes at .101 and up, pods in .110-.199."""


class Cluster(Silencing):
    """Facts of the Kubernetes cluster that decide what a node's files look like."""

    kubernetes: VersionText | None = Field(
        None,
        description="The kubelet's version, quoted: decides which flags and files exist",
        examples=["1.31", "1.31.2"],
    )
    distribution: Literal["kubeadm-deb", "kubeadm-rpm", "legacy", "k3s", "rke2"] = Field(
        "kubeadm-deb", description="Where kubelet flags live; 'legacy' is /etc/kubernetes/kubelet"
    )
    runtime: Literal["containerd", "cri-o", "docker"] = Field("containerd", description="The container runtime")
    runtime_version: VersionText | None = Field(
        None, description="The runtime's version, quoted: decides which cniVersion it takes", examples=["1.7"]
    )
    service_cidr: list[Cidr] = Field(
        [],
        alias="serviceCIDR",
        description="Networks of Services; pods get a route to them through their own host",
        examples=[["10.96.0.0/12"], ["10.96.0.0/12", "fd00:96::/112"]],
    )
    cluster_dns: list[ServerAddress] = Field(
        [], alias="clusterDNS", description="DNS servers of the cluster, for the kubelet", examples=[["10.96.0.10"]]
    )
    avoid: list[Cidr] = Field(
        [], description="Networks that nodes use for something else, such as docker0's", examples=[["172.17.0.0/16"]]
    )
    kubelet_config_dir: AbsolutePath = Field(
        "/etc/kubernetes/kubelet.conf.d",
        description="The kubelet's --config-dir, from Kubernetes 1.30 on",
        examples=["/etc/kubernetes/kubelet.conf.d"],
    )
    max_pods: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="The kubelet's maxPods; default: the slice's addresses and hostNetworkPods",
        examples=[110],
    )
    host_network_pods: int = Field(
        0,
        ge=0,
        le=1000,
        description="Pods on the host network: they count as pods but take no address of the slice",
        examples=[4],
    )
    kubelet: Kubelet = Field(
        Kubelet(), description="Settings of the kubelet beside podlan's own", examples=[{"flags": {"v": "2"}}]
    )


class Plugins(Section):
    """The CNI plugins that the nodes have."""

    version: VersionText | None = Field(
        None, description="Version of the CNI plugins, quoted; decides the default cniVersion", examples=["1.1.1"]
    )
    url: PluginsUrl | None = Field(
        None,
        description="Where nodes get the plugins' archive: https://, http:// or a file on the node, file:///",
        examples=["https://mirror.example.com/cni-plugins-linux-amd64-v1.4.0.tgz"],
    )
    sha256: Sha256 | None = Field(
        None,
        description="SHA-256 of the archive, in hexadecimal; nothing is installed from another one",
        examples=["c2485ddb3ffc176578ae30ae58137f0b88e50f7c7f2af7d53a569276b2949a33"],
    )


class Cni(Silencing):
    """The CNI configuration file and its places."""

    name: NetworkName | None = Field(
        None, description="The network's name; cannot change while pods live on it", examples=["k8s-pod-network"]
    )
    cni_version: Literal["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] | None = Field(
        None, description="Version of the file's form; default: the newest that plugins and runtime take, at most 1.0.0"
    )
    format: Literal["conflist", "conf"] = Field("conflist", description="A list of plugins, or one plugin alone")
    file_name: FileName | None = Field(
        None,
        description="The file's name; default: 05-podlan.conflist or 05-podlan.conf, to sort first",
        examples=["05-podlan.conflist"],
    )
    conf_dir: AbsolutePath = Field(
        "/etc/cni/net.d", description="Where the runtime looks for the file", examples=["/etc/cni/net.d"]
    )
    bin_dir: AbsolutePath = Field(
        "/opt/cni/bin", description="Where the runtime looks for the plugins", examples=["/usr/lib/cni"]
    )
    data_dir: AbsolutePath = Field(
        "/run/podlan/ipam",
        description="Where host-local remembers addresses; on tmpfs none leaks over a reboot",
        examples=["/run/podlan/ipam"],
    )
    plugins: Plugins = Field(
        Plugins(), description="The CNI plugins that the nodes have", examples=[{"version": "1.1.1"}]
    )


class Reservation(Section):
    """Addresses that no pod may have, and why."""

    range: Range = Field(description="Addresses that no pod gets", examples=["172.16.129.150-159"])
    reason: Reason = Field(description="Who uses them, in a few words on one line", examples=["printers"])


class Dns(Section):
    """DNS as the CNI result reports it; what pods ask is the kubelet's choice."""

    nameservers: list[ServerAddress] = Field(
        [],
        description="DNS servers, in the order in which they are asked",
        examples=[["192.168.5.229", "192.168.4.189"]],
    )
    domain: Domain | None = Field(None, description="The local domain", examples=["dc1.example.com"])
    search: list[Domain] = Field(
        [], description="Domains in which short names are looked up, in this order", examples=[["dc1.example.com"]]
    )


class PodRoute(Section):
    """A route that pods get besides the connected one; without `gw` it leads to the subnet's gateway."""

    dst: Cidr = Field(
        description="Where the route leads; 0.0.0.0/0 or ::/0 is the default route",
        examples=["0.0.0.0/0", "::/0", "10.20.0.0/16"],
    )
    gw: HostAddress | None = Field(
        None,
        description="The router, an address of the subnet; default: the subnet's gateway",
        examples=["172.16.129.253"],
    )


class Subnet(Silencing):
    """One IP network on the LAN."""

    cidr: LanCidr = Field(description="The network of the LAN", examples=["172.16.129.0/24", "fd00:129::/64"])
    was: Name | None = Field(
        None, description="The subnet's earlier name: its slices stay when it is renamed", examples=["office"]
    )
    gateway: HostAddress | None = Field(
        None,
        description="The LAN's router; without it the first address is kept free: host-local withholds it",
        examples=["172.16.129.254", "fd00:129::1"],
    )
    pool: list[Range] = Field(
        [],
        description="Where slices may lie; default: every usable host address",
        examples=[["172.16.129.110-199"], ["fd00:129::1000-fd00:129::1fff"]],
    )
    reserved: list[Reservation] = Field(
        [],
        description="Addresses that no pod may have, each with its reason",
        examples=[[{"range": "172.16.129.150-159", "reason": "printers"}]],
    )
    dhcp: list[Range] = Field(
        [],
        description="What a DHCP server gives away on this LAN: no slice lies there",
        examples=[["172.16.129.200-219"]],
    )
    dns: Dns = Field(
        Dns(), description="DNS as the CNI result reports it", examples=[{"nameservers": ["192.168.5.229"]}]
    )
    routes: list[PodRoute] = Field(
        [],
        description="Routes that pods get besides the connected one; without a default route they reach the LAN only",
        examples=[[{"dst": "0.0.0.0/0"}]],
    )


class HostAccess(Section):
    """How a host and its own pods reach each other, which macvlan forbids by itself."""

    via: Literal["shim", "move", "none"] = Field(
        "shim",
        description="shim: a child with its own address; move: the host's IPv4 address on the child too, and of IPv6 "
        "a shim; none",
    )
    interface: InterfaceName | None = Field(
        None,
        description="Name of the macvlan child on the host; default: macvlan0, of a secondary master mv- and its name",
        examples=["macvlan0"],
    )
    pool: list[Range] = Field(
        [],
        description="Where shim addresses come from; default: the subnet's pool, from its top",
        examples=[["172.16.129.190-199"]],
    )


class Vlan(Section):
    """A VLAN whose interface podlan makes on the nodes."""

    link: InterfaceName = Field(
        description="The nodes' interface on which the VLAN's tagged frames come", examples=["eno1", "bond0"]
    )
    id: int = Field(ge=1, le=4094, description="The VLAN's number", examples=[101])


class NodeVlan(Section):
    """What is particular about a VLAN on one node."""

    link: InterfaceName | None = Field(
        None, description="The interface that the VLAN comes by on this node", examples=["ens192"]
    )


class Master(Silencing):
    """A parent interface on the nodes, and the subnets it carries."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["interface"], "properties": {"interface": {"type": "string"}}},
                {"required": ["vlan"], "properties": {"vlan": {"type": "object"}}},
            ]
        }
    )

    vlan: Vlan | None = Field(
        None,
        description="Make the interface: a VLAN's, on another interface of the nodes",
        examples=[{"link": "eno1", "id": 101}],
    )
    interface: InterfaceName | None = Field(
        None,
        description="The nodes' interface on the LAN, 'master' in the CNI file; default: LINK.ID of its vlan",
        examples=["eth0", "bond0.101"],
        validate_default=True,
    )
    subnets: list[Name] = Field(
        min_length=1,
        max_length=2,
        description="Names of the subnets it carries, at most one of each family",
        examples=[["lan"], ["lan", "lan6"]],
    )
    mode: Literal["bridge", "private", "vepa", "passthru"] = Field(
        "bridge",
        description="bridge: pods of a node meet directly; vepa: through the switch",
    )
    mtu: Mtu | None = Field(
        None,
        description="MTU of pods' interfaces in bytes, and of a VLAN made by podlan; default: the master's own",
        examples=[1500],
    )
    secondary: bool = Field(
        default=False,
        description="Pods get this interface beside their first one, by Multus, where they ask for its network",
    )
    namespace: KubernetesName = Field(
        "default",
        description="Namespace of a secondary master's NetworkAttachmentDefinition",
        examples=["default"],
    )
    ipam: Literal["host-local", "dhcp", "none"] = Field(
        "host-local",
        description="Who gives pods their addresses: the node's slice, a DHCP server of the LAN, or nobody (L2 only)",
    )
    altname: InterfaceName | None = Field(
        None,
        description="A second name for the interface, the same on every node, by which the CNI file names it",
        examples=["uplink0"],
    )
    link_in_container: bool = Field(
        default=False, description="The interface is looked for in the pod, not on the host (plugins 1.3)"
    )
    bcqueuelen: int | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="Length of the kernel's queue of broadcasts (plugins 1.6); default: 1000",
        examples=[2000],
    )
    chain: list[Chained] = Field(
        [],
        description="Plugins that a runtime calls after macvlan, in this order",
        examples=[[{"type": "tuning", "sysctl": {"net.core.somaxconn": "1024"}}]],
    )
    promisc: bool = Field(
        default=False, description="Make the interface promiscuous; bridge mode needs it only on some hypervisors"
    )

    pods_per_node: Pods | None = Field(
        None,
        description="How many pod addresses a slice has that nobody pinned; nodes override it by pods",
        examples=[10],
    )
    allocate: Literal["aligned", "packed"] = Field(
        "aligned", description="aligned: a power of two, few shim routes; packed: the exact number"
    )
    fragmented: bool = Field(default=False, description="Allow a slice of several ranges where no single one is free")
    probes: list[HostAddress] = Field(
        [],
        max_length=16,
        description="Addresses on this LAN that, beside the gateway, must still answer after a node was changed",
        examples=[["172.16.129.1"], ["172.16.129.1", "fd00:129::1"]],
    )
    probe_timeout: ProbeTimeout = Field(
        1, description="How many seconds such an address and the gateway have to answer", examples=[5]
    )
    host_access: HostAccess = Field(
        HostAccess(),
        description="How a host and its own pods reach each other",
        examples=[{"via": "shim", "interface": "macvlan0"}, {"via": "none"}],
    )

    @field_validator("interface")
    @classmethod
    def _is_somewhere(cls, interface: str | None, info: ValidationInfo) -> str | None:
        if interface is None and info.data.get("vlan", ...) is None:  # one with a mistake of its own is told as such
            raise PydanticCustomError("podlan_missing", "Field required")
        return interface


class NodeHostAccess(Section):
    """What one node says about the macvlan child on its host."""

    mac: Mac | None = Field(
        None,
        description="MAC of the child; default: one derived from the address it carries",
        examples=["02:70:ac:10:81:c8"],
    )


class NodeMaster(Section):
    """What one node, or a profile, says about one of its masters."""

    interface: InterfaceName | None = Field(
        None,
        description="The interface's name on this node, where it is another than the master's",
        examples=["ens192"],
    )
    vlan: NodeVlan = Field(
        NodeVlan(), description="What is particular about the VLAN on this node", examples=[{"link": "ens192"}]
    )
    addresses: list[HostAddress] = Field(
        [],
        max_length=2,
        description="The node's own addresses there, one a family; podlan waits for them and never adds them",
        examples=[["172.16.129.103"], ["172.16.129.103", "fd00:129::103"]],
    )
    mtu: Mtu | None = Field(
        None, description="MTU of pods' interfaces in bytes, at most the interface's own", examples=[9000]
    )
    probes: list[HostAddress] | None = Field(
        None,
        max_length=16,
        description="Addresses that must still answer after a change of this node, instead of the master's",
        examples=[["172.16.129.1"]],
    )
    probe_timeout: ProbeTimeout | None = Field(
        None,
        description="How many seconds they have to answer, where it is another time than the master's",
        examples=[5],
    )
    host_access: NodeHostAccess = Field(
        NodeHostAccess(),
        description="What is particular about the macvlan child on this host",
        examples=[{"mac": "02:70:ac:10:81:c8"}],
    )
    pods: Pods | None = Field(
        None, description="How many pod addresses the slice has; default: the master's podsPerNode", examples=[64]
    )
    ranges: list[Range] = Field(
        [], description="The slice itself, pinned; default: podlan allocates it", examples=[["172.16.129.110-119"]]
    )


class Profile(Silencing):
    """Overrides that several nodes share."""

    role: Role | None = Field(None, description="What the node is in the cluster; default: worker")
    boot: Boot | None = Field(None, description="How the node starts podlan; default: the site's boot")
    cluster: Cluster | None = Field(
        None,
        description="What is different from the site's cluster, as in a rolling upgrade",
        examples=[{"kubernetes": "1.23", "runtime": "docker"}],
    )
    cni: Cni | None = Field(
        None, description="What is different from the site's cni", examples=[{"plugins": {"version": "1.4.0"}}]
    )
    files: dict[AbsolutePath, OwnFile] = Field(
        {},
        description="The site's own files on the node, by their paths there",
        examples=[{"/etc/sysctl.d/90-site.conf": {"template": "sysctl.j2"}}],
    )
    masters: dict[Name, NodeMaster] = Field(
        {},
        description="The masters that the node has, and what is particular there; default: all that the site has",
        examples=[{"uplink": {"interface": "ens192", "pods": 64}}],
    )
    pods: Pods | None = Field(
        None, description="How many pod addresses the slice has, where the site has one master", examples=[64]
    )


class Node(Profile):
    """A machine."""

    was: NodeName | None = Field(
        None, description="The node's earlier name: its slice stays when it is renamed", examples=["node-7"]
    )
    profiles: list[Name] = Field(
        [], description="Applied in this order, before what the node says itself", examples=[["big", "old"]]
    )
    address: HostAddress | None = Field(
        None,
        description="The node's own address, where the site has one master; podlan waits for it and never adds it",
        examples=["172.16.129.101"],
    )
    ranges: list[Range] = Field(
        [], description="The slice, pinned, where the site has one master", examples=[["172.16.129.110-119"]]
    )


class Inventory(Silencing):
    """A whole site: what podlan compiles at once. It may be split over several files, section by section."""

    version: Literal[1] = Field(description="Version of the inventory's form")
    site: Name = Field(description="The site's name, for people", examples=["dc1"])
    cluster: Cluster = Field(
        Cluster(),
        description="Facts of the Kubernetes cluster; profiles and nodes may override them",
        examples=[{"kubernetes": "1.31", "runtimeVersion": "1.7", "serviceCIDR": ["10.96.0.0/12"]}],
    )
    cni: Cni = Field(
        description="The CNI file and its places; profiles and nodes may override them",
        examples=[{"name": "k8s-pod-network", "plugins": {"version": "1.1.1"}}],
    )
    boot: Boot = Field(
        "systemd",
        description="How a node starts podlan at boot: a systemd unit that runs once, one that stays and repairs "
        "drift, or /etc/rc.local, for machines without systemd: it comes no sooner than kubelet and container runtime",
    )
    files: dict[AbsolutePath, OwnFile] = Field(
        {},
        description="The site's own files on every node, by their paths there; profiles and nodes may override them",
        examples=[{"/etc/sysctl.d/90-site.conf": {"template": "sysctl.j2"}}],
    )
    subnets: dict[Name, Subnet] = Field(
        min_length=1, description="The LAN's IP networks, by names that you choose", examples=[{"lan": _LAN}]
    )
    masters: dict[Name, Master] = Field(
        min_length=1,
        description="Parent interfaces on the nodes, by names that you choose",
        examples=[{"uplink": {"interface": "eth0", "subnets": ["lan"], "podsPerNode": 10}}],
    )
    profiles: dict[Name, Profile] = Field(
        {}, description="Overrides that nodes share, by names that you choose", examples=[{"big": {"pods": 64}}]
    )
    nodes: dict[NodeName, Node] = Field(
        {},
        description="The machines, by the names that Kubernetes has for them",
        examples=[{"node-1": {"address": "172.16.129.101", "ranges": ["172.16.129.110-119"]}, "node-2": {}}],
    )
