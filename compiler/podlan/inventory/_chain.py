"""Plugins that a runtime calls after macvlan, on the interface that it made: chained plugins."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from podlan.inventory._section import Section
from podlan.inventory._values import Mac, Mtu

SysctlName = Annotated[str, StringConstraints(pattern=r"^net(\.[A-Za-z0-9_-]+)+$", max_length=200)]
SysctlValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:,-]+( [A-Za-z0-9_.:,-]+)*$", max_length=100)]


class Tuning(Section):
    """Settings of the pod's own network namespace and interface."""

    type: Literal["tuning"] = Field(description="tuning: settings of the pod's namespace and interface")
    sysctl: dict[SysctlName, SysctlValue] = Field(
        {},
        description="Settings below net., written in the pod; IFNAME stands for the interface's name (plugins 1.1)",
        examples=[{"net.core.somaxconn": "1024"}, {"net.ipv6.conf.IFNAME.accept_ra": "0"}],
    )
    mac: Mac | None = Field(None, description="MAC of the pod's interface", examples=["02:00:00:00:00:01"])
    mtu: Mtu | None = Field(None, description="MTU of the pod's interface in bytes", examples=[1400])
    promisc: bool = Field(default=False, description="Make the pod's interface promiscuous")
    allmulti: bool | None = Field(None, description="Let the pod's interface take all multicast (plugins 1.0)")
    tx_q_len: int | None = Field(
        None, ge=0, le=1_000_000, alias="txQLen", description="Length of the send queue (plugins 1.4)", examples=[1000]
    )


class Sbr(Section):
    """Source based routing: a second interface's replies leave by it."""

    type: Literal["sbr"] = Field(description="sbr: answers leave by the interface whose address was asked")
    table: int | None = Field(
        None, ge=1, le=2**31 - 1, description="The routing table (plugins 1.6); default: from 100 up", examples=[200]
    )


class Portmap(Section):
    """Host ports to pods; a macvlan pod's own traffic never passes the host, so it serves what the shim carries."""

    type: Literal["portmap"] = Field(description="portmap: hostPorts, for what reaches the pod through its own host")
    snat: bool = Field(default=True, description="Masquerade what the host forwards, so that answers come back")


class Bandwidth(Section):
    """Limits that the kernel's token buckets keep, in bits a second and bits."""

    type: Literal["bandwidth"] = Field(description="bandwidth: limits of what the pod sends and receives")
    ingress_rate: int | None = Field(None, ge=1, description="To the pod, in bits a second", examples=[100_000_000])
    ingress_burst: int | None = Field(None, ge=1, description="To the pod, in bits", examples=[80_000_000])
    egress_rate: int | None = Field(None, ge=1, description="From the pod, in bits a second", examples=[100_000_000])
    egress_burst: int | None = Field(None, ge=1, description="From the pod, in bits", examples=[80_000_000])


Chained: TypeAlias = Annotated[Tuning | Sbr | Portmap | Bandwidth, Field(discriminator="type")]
