"""PL3xx: Services and the cluster's DNS, and whether pods get to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.addressing import Ground, Range, subnets_of
from podlan.diagnostics import Finding, Severity
from podlan.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podlan.inventory import Site
    from podlan.source import KeyPath


@rule("PL314", "Services that pods cannot reach")
def services_reachable(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """Where the cluster has a serviceCIDR, a node's pods have host access, and their routes from podlan.

    Why: a Service's address exists only in the rules that kube-proxy writes on a host; the pod's packets must go
    through its own host to meet them, and without host access there is no way to it. Cluster DNS is a Service.
    Source: measured: a default route alone leaves the ClusterIP unanswered.
    Example:
        cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {via: none}}
    Instead:
        cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12]}
        masters:
          uplink: {interface: eth0, subnets: [lan], podsPerNode: 8}
    """
    del grounds
    told: set[KeyPath] = set()
    for node in site.nodes:
        attachment, path = node.primary, site.origin(node, "cluster", "serviceCIDR")
        if not node.cluster.service_cidr or attachment is None or path in told:
            continue
        if attachment.access.via == "none":
            message = f"pods of {node.name} cannot reach Services: their way is through the host, and there is none"
            hint = "use hostAccess: {via: shim}, or leave serviceCIDR out"
            also = site.place(("masters", attachment.name, "hostAccess"), label="host access is given up here")
        elif not attachment.has_slices:
            message = f"pods of {node.name} get no route to Services from podlan: it does not give them their addresses"
            hint = "let the DHCP server send one (option 121), or use ipam: host-local, or leave serviceCIDR out"
            also = site.place(("masters", attachment.name, "ipam"), label="somebody else does")
        else:
            continue
        told.add(path)
        yield Finding("PL314", message, site.place(path), Severity.WARNING, hint, (also,) if also else ())


@rule("PL315", "a cluster DNS that pods cannot reach")
def dns_reachable(site: Site, grounds: Mapping[str, Ground]) -> Iterator[Finding]:
    """A cluster DNS server is a Service, a machine of the LAN, or one beyond the gateway; never link-local.

    A server that lies in no serviceCIDR and in no subnet of the node is a note: it may be beyond the gateway, and
    it may be a Service whose serviceCIDR nobody wrote down, to which pods then have no route.
    Why: NodeLocal DNSCache listens on 169.254.20.10 of every node; a macvlan pod asks the LAN for that address, where
    nobody or every node answers.
    Source: kubernetes/website#50700; kubespray's macvlan role switches NodeLocal DNSCache off.
    Example:
        cluster: {kubernetes: "1.31", clusterDNS: [169.254.20.10]}
    Instead:
        cluster: {kubernetes: "1.31", serviceCIDR: [10.96.0.0/12], clusterDNS: [10.96.0.10]}
    """
    told: set[KeyPath] = set()
    for node in site.nodes:
        base = site.origin(node, "cluster", "clusterDNS")
        reached = [Range.of_network(network) for network in node.cluster.service_cidr]
        for attachment in node.attachments:
            reached += [grounds[name].network for name in subnets_of(site, attachment) if name in grounds]
        for index, server in enumerate(node.cluster.cluster_dns):
            path = (*base, index)
            if path in told:
                continue
            told.add(path)
            if server.is_link_local:
                yield Finding(
                    "PL315",
                    f"pods cannot reach the DNS server {server}: it is link-local, and they are on the LAN",
                    site.place(path),
                    Severity.WARNING,
                    "name the Service of the cluster DNS, or a server of the LAN",
                )
            elif not any(network.contains(Range.of_address(server)) for network in reached):
                yield Finding(
                    "PL315",
                    f"pods reach the DNS server {server} by way of the gateway alone",
                    site.place(path),
                    Severity.NOTE,
                    "if it is a Service, give the network of Services as cluster.serviceCIDR",
                )


RULES = (services_reachable, dns_reachable)
