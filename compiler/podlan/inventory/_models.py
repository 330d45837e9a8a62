"""What people write: the inventory's models, one class a section. Unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from podlan.inventory._values import (
    AbsolutePath,
    Cidr,
    Domain,
    FileName,
    HostAddress,
    InterfaceName,
    LanCidr,
    Name,
    NetworkName,
    NodeName,
    Range,
    Reason,
    ServerAddress,
    VersionText,
)

Boot = Literal["systemd", "rc.local"]
Role = Literal["worker", "control-plane"]
Pods = Annotated[int, Field(ge=1, le=65536, description="How many pod addresses")]


class _Section(BaseModel):
    # pydantic's own regex engine, in which `$` is the end of the text; to Python's re it is also before a last newline.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel)


class Cluster(_Section):
    """Facts of the Kubernetes cluster that decide what a node's files look like."""

    kubernetes: VersionText | None = Field(
        None, description="The kubelet's version: decides which flags and files exist"
    )
    distribution: Literal["kubeadm-deb", "kubeadm-rpm", "legacy", "k3s", "rke2"] = Field(
        "kubeadm-deb", description="Where kubelet flags live; 'legacy' is /etc/kubernetes/kubelet"
    )
    runtime: Literal["containerd", "cri-o", "docker"] = Field("containerd", description="The container runtime")
    runtime_version: VersionText | None = Field(None, description="The runtime's version")
    service_cidr: list[Cidr] = Field(
        [], alias="serviceCIDR", description="Networks of Services; pods get a route to them through their own host"
    )
    cluster_dns: list[ServerAddress] = Field(
        [], alias="clusterDNS", description="DNS servers of the cluster, for the kubelet"
    )
    avoid: list[Cidr] = Field([], description="Networks that nodes use for something else, such as docker0's")
    kubelet_config_dir: AbsolutePath = Field(
        "/etc/kubernetes/kubelet.conf.d", description="The kubelet's --config-dir, from Kubernetes 1.30 on"
    )
    host_network_pods: int = Field(
        0, ge=0, le=1000, description="Pods on the host network: they count as pods but take no address of the slice"
    )


class Plugins(_Section):
    """The CNI plugins that the nodes have."""

    version: VersionText | None = Field(None, description="Version of the CNI plugins; decides the default cniVersion")


class Cni(_Section):
    """The CNI configuration file and its places."""

    name: NetworkName | None = Field(None, description="The network's name; cannot change while pods live on it")
    cni_version: Literal["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] | None = Field(
        None, description="Default: the newest that plugins and runtime take, at most 1.0.0"
    )
    format: Literal["conflist", "conf"] = Field("conflist", description="A list of plugins, or one plugin alone")
    file_name: FileName | None = Field(None, description="Default: 05-podlan.conflist or 05-podlan.conf, to sort first")
    conf_dir: AbsolutePath = Field("/etc/cni/net.d", description="Where the runtime looks for the file")
    bin_dir: AbsolutePath = Field("/opt/cni/bin", description="Where the runtime looks for the plugins")
    data_dir: AbsolutePath = Field(
        "/run/podlan/ipam", description="Where host-local remembers addresses; on tmpfs none leaks over a reboot"
    )
    plugins: Plugins = Field(Plugins(), description="The CNI plugins that the nodes have")


class Reservation(_Section):
    """Addresses that no pod may have, and why."""

    range: Range
    reason: Reason


class Dns(_Section):
    """DNS as the CNI result reports it."""

    nameservers: list[ServerAddress] = []
    domain: Domain | None = None
    search: list[Domain] = []


class PodRoute(_Section):
    """A route that pods get besides the connected one; without `gw` it leads to the subnet's gateway."""

    dst: Cidr
    gw: HostAddress | None = None


class Subnet(_Section):
    """One IP network on the LAN."""

    cidr: LanCidr
    was: Name | None = Field(None, description="The subnet's earlier name: its slices stay when it is renamed")
    gateway: HostAddress | None = Field(
        None, description="Without it the first address is kept free: host-local withholds it"
    )
    pool: list[Range] = Field([], description="Where slices may lie; default: every usable host address")
    reserved: list[Reservation] = []
    dns: Dns = Dns()
    routes: list[PodRoute] = []


class HostAccess(_Section):
    """How a host and its own pods reach each other, which macvlan forbids by itself."""

    via: Literal["shim", "move", "none"] = Field(
        "shim", description="shim: a child with its own address; move: the host's address on the child too; none"
    )
    interface: InterfaceName = Field("macvlan0", description="Name of the macvlan child on the host")
    pool: list[Range] = Field(
        [], description="Where shim addresses come from; default: the subnet's pool, from its top"
    )


class Master(_Section):
    """A parent interface on the nodes, and the subnets it carries."""

    interface: InterfaceName
    subnets: list[Name] = Field(min_length=1, max_length=2, description="At most one of each family")
    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"
    promisc: bool = Field(default=False, description="Bridge mode needs it only on some hypervisors")
    pods_per_node: Pods | None = Field(None, description="Size of a slice that nobody pinned")
    allocate: Literal["aligned", "packed"] = Field(
        "aligned", description="aligned: a power of two, few shim routes; packed: the exact number"
    )
    fragmented: bool = Field(default=False, description="Allow a slice of several ranges where no single one is free")
    host_access: HostAccess = HostAccess()


class NodeMaster(_Section):
    """What one node, or a profile, says about one of its masters."""

    interface: InterfaceName | None = None
    addresses: list[HostAddress] = Field([], max_length=2, description="The node's own addresses there, one a family")
    pods: Pods | None = Field(None, description="Size of the slice")
    ranges: list[Range] = Field([], description="The slice itself, pinned")


class Profile(_Section):
    """Overrides that several nodes share."""

    role: Role | None = None
    boot: Boot | None = None
    cluster: Cluster | None = None
    cni: Cni | None = None
    masters: dict[Name, NodeMaster] = {}
    pods: Pods | None = Field(None, description="Size of the slice, where the site has one master")


class Node(Profile):
    """A machine."""

    was: NodeName | None = Field(None, description="The node's earlier name: its slice stays when it is renamed")
    profiles: list[Name] = Field([], description="Applied in this order, before what the node says itself")
    address: HostAddress | None = Field(None, description="The node's own address, where the site has one master")
    ranges: list[Range] = Field([], description="The slice, pinned, where the site has one master")


class Inventory(_Section):
    """A whole site."""

    version: Literal[1]
    site: Name
    cluster: Cluster = Cluster()
    cni: Cni
    boot: Boot = "systemd"
    subnets: dict[Name, Subnet] = Field(min_length=1)
    masters: dict[Name, Master] = Field(min_length=1)
    profiles: dict[Name, Profile] = {}
    nodes: dict[NodeName, Node] = {}
