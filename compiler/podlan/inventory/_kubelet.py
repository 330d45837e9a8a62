"""What people add to the kubelet's own settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticKnownError

from podlan.inventory._section import Section
from podlan.inventory._values import AbsolutePath, named

Role = Literal["worker", "control-plane"]
FlagName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=100),
    named("a flag's name without the dashes before it: lower case letters, digits and '-'", "v"),
]
FlagValue = Annotated[
    str,
    StringConstraints(pattern=r"^[!-~]*$", max_length=1000),
    named("a flag's value: printable ASCII without blanks", "2"),
]
"""Systemd and shells split the variable that holds the flags at blanks."""
_PREFIX = r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
_WORD = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = f"{_PREFIX}{_WORD}$"
_TAINT = f"{_PREFIX}{_WORD}(=({_WORD})?)?:(NoSchedule|PreferNoSchedule|NoExecute)$"
_MOST_OF_A_PREFIX = 253
_SHORT_PREFIX = f"^(?![^/]{{{_MOST_OF_A_PREFIX + 1}}})"
"""What has no prefix at all is shorter than that."""


def _with_short_prefix(pattern: str) -> AfterValidator:
    """Refuse a prefix that is too long as the pattern would, could pydantic's engine look ahead."""

    def check(text: str) -> str:
        if text.find("/") > _MOST_OF_A_PREFIX:
            raise PydanticKnownError("string_pattern_mismatch", {"pattern": pattern})
        return text

    return AfterValidator(check)


LabelName = Annotated[
    str,
    StringConstraints(pattern=f"^{_LABEL}", max_length=317),
    _with_short_prefix(f"^{_LABEL}"),
    named(
        "a label's name: letters, digits, '-', '_' and '.', up to 63, with a DNS name and '/' before it or without",
        "example.com/rack",
        pattern=f"{_SHORT_PREFIX}{_LABEL}",
    ),
]
LabelValue = Annotated[
    str,
    StringConstraints(pattern=f"^({_WORD})?$"),
    named("a label's value: letters, digits, '-', '_' and '.', up to 63, or nothing", "r12"),
]
"""Kubernetes, labels and selectors: a prefix that is a DNS subdomain, names and values of at most 63 characters."""
Taint = Annotated[
    str,
    StringConstraints(pattern=f"^{_TAINT}", max_length=400),
    _with_short_prefix(f"^{_TAINT}"),
    named(
        "a taint as key=value:effect or key:effect, the effect NoSchedule, PreferNoSchedule or NoExecute",
        "dedicated=gpu:NoSchedule",
        pattern=f"{_SHORT_PREFIX}{_TAINT}",
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
