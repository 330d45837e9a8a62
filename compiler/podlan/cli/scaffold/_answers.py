"""What `podlan init` wants to know, in the order in which it asks, and what it takes where nobody says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from podlan.inventory import Cluster, Master

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Answer: TypeAlias = str | tuple[str, ...]
NONE = "none"
"""How a person says that a list is empty, without being asked again."""

_SUBNET = "192.168.1.0/24"
_PODS = 16
_LONGEST_NAME = 63


@dataclass(frozen=True, slots=True)
class Answers:
    """The values of a site as people write them, right or wrong. A gateway of "" is not known yet, or none."""

    site: str = "site"
    subnet: str = _SUBNET
    gateway: str = ""
    interface: str = "eth0"
    distribution: str = "kubeadm-deb"
    kubernetes: str = "1.31"
    avoid: tuple[str, ...] = ()
    runtime: str = "containerd"
    host_access: str = "shim"
    service_cidr: tuple[str, ...] = ()
    cluster_dns: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    pods: str = "1"


@dataclass(frozen=True, slots=True)
class Question:
    """One value: its field in Answers, its option, what is asked, and the defaults to try, the best one first."""

    key: str
    option: str
    asks: str
    defaults: Callable[[Answers, Path], Iterator[Answer]]
    default_is: str
    metavar: str = "TEXT"
    choices: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        """Tell whether the answer is a list."""
        return isinstance(getattr(Answers(), self.key), tuple)

    def read(self, *texts: str) -> Answer:
        """Take what was typed: one value, or a list by commas; nothing is judged here."""
        if not self.several:
            return texts[-1].strip()
        items = tuple(item.strip() for text in texts for item in text.split(",") if item.strip())
        return () if items == (NONE,) else items


def _choices(model: Any, field: str) -> tuple[str, ...]:  # noqa: ANN401 - a type as pydantic gives it for a field
    return get_args(model.model_fields[field].annotation)


def _always(value: Answer) -> Callable[[Answers, Path], Iterator[Answer]]:
    def defaults(answers: Answers, directory: Path) -> Iterator[Answer]:
        del answers, directory
        yield value

    return defaults


def _named_after(answers: Answers, directory: Path) -> Iterator[Answer]:
    del answers
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", directory.resolve().name)
    yield name.strip("-_")[:_LONGEST_NAME] or "site"


def _first_host(answers: Answers, directory: Path) -> Iterator[Answer]:
    del directory
    yield str(ip_network(answers.subnet).network_address + 1)


def _as_many_as_fit(answers: Answers, directory: Path) -> Iterator[Answer]:
    """Halve until it fits; a slice of more than a quarter of the subnet leaves no room to grow."""
    del directory
    pods = _PODS
    while pods > 1:
        if pods * 4 <= ip_network(answers.subnet).num_addresses:
            yield str(pods)
        pods //= 2
    yield "1"


QUESTIONS: tuple[Question, ...] = (
    # The subnet comes first: whether most other answers hold depends on it.
    Question("subnet", "--subnet", "The LAN's network", _always(_SUBNET), _SUBNET, "CIDR"),
    Question("site", "--site", "The site's name", _named_after, "DIR's name", "NAME"),
    Question("gateway", "--gateway", "The LAN's gateway", _first_host, "the first address", "ADDRESS"),
    Question("interface", "--interface", "The nodes' interface on the LAN", _always("eth0"), "eth0", "NAME"),
    Question(
        "distribution",
        "--distribution",
        "How Kubernetes was installed",
        _always("kubeadm-deb"),
        "kubeadm-deb",
        choices=_choices(Cluster, "distribution"),
    ),
    Question("kubernetes", "--kubernetes", "The kubelets' version", _always("1.31"), "1.31", "VERSION"),
    Question(
        "avoid",
        "--avoid",
        "Networks that the nodes use for something else, such as docker0's",
        _always(()),
        NONE,
        "CIDR[,CIDR]",
    ),
    Question(
        "runtime",
        "--runtime",
        "The container runtime",
        _always("containerd"),
        "containerd",
        choices=_choices(Cluster, "runtime"),
    ),
    Question(
        "host_access",
        "--host-access",
        "How a host and its own pods reach each other",
        _always("shim"),
        "shim",
        choices=_choices(Master.model_fields["host_access"].annotation, "via"),
    ),
    Question(
        "service_cidr",
        "--service-cidr",
        "Networks of Services, to reach them from pods (kubeadm's is 10.96.0.0/12, that of k3s and RKE2 10.43.0.0/16)",
        _always(()),
        NONE,
        "CIDR[,CIDR]",
    ),
    Question(
        "cluster_dns",
        "--cluster-dns",
        "DNS servers to write into the kubelet's configuration",
        _always(()),
        NONE,
        "ADDRESS[,ADDRESS]",
    ),
    Question("nodes", "--node", "A node and its own address on the LAN", _always(()), NONE, "NAME=ADDRESS"),
    Question("pods", "--pods", "Pod addresses a node", _as_many_as_fit, "16, or what fits", "NUMBER"),
)
