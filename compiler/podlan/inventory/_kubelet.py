"""What people add to the kubelet's own settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from podlan.inventory._section import Section
from podlan.inventory._values import AbsolutePath

Role = Literal["worker", "control-plane"]
FlagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]
FlagValue = Annotated[str, StringConstraints(pattern=r"^[!-~]*$", max_length=1000)]
"""Printable ASCII without blanks: systemd and shells split the variable that holds the flags at blanks."""
LabelName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$", max_length=317
    ),
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]
"""Kubernetes, labels and selectors: a prefix that is a DNS subdomain, names and values of at most 63 characters."""
Taint = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
        r"(=([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?)?:(NoSchedule|PreferNoSchedule|NoExecute)$",
        max_length=400,
    ),
]


class Registration(Section):
    """What a kubelet says of its node when it registers it."""

    labels: dict[LabelName, LabelValue] = Field(
        {}, description="Labels of the node", examples=[{"example.com/rack": "r12"}]
    )
    taints: list[Taint] = Field(
        [], description="Taints of the node, as key=value:effect", examples=[["dedicated=gpu:NoSchedule"]]
    )


class Kubelet(Registration):
    """Settings of the kubelet beside podlan's own."""

    roles: dict[Role, Registration] = Field(
        {},
        description="Labels and taints of the nodes of one role, beside those of all",
        examples=[{"control-plane": {"taints": ["node-role.kubernetes.io/control-plane:NoSchedule"]}}],
    )
    resolv_conf: AbsolutePath | None = Field(
        None,
        description="The file whose servers pods ask; with systemd-resolved not its stub in /etc/resolv.conf",
        examples=["/run/systemd/resolve/resolv.conf"],
    )
    flags: dict[FlagName, FlagValue] = Field(
        {},
        description="More flags of the kubelet, without the dashes; what the node's version lacks is refused",
        examples=[{"v": "2"}],
    )
    config: dict[str, Any] = Field(
        {},
        description="More fields of KubeletConfiguration; what the node's version lacks is refused",
        examples=[{"serializeImagePulls": False}],
    )

    def registration(self, role: Role) -> Registration:
        """Give what a node of this role registers with: the role's labels win, and its taints come after all nodes'."""
        own = self.roles.get(role)
        if own is None:
            return self
        return Registration(labels={**self.labels, **own.labels}, taints=[*self.taints, *own.taints])
