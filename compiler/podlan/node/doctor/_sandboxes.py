"""Which of these containers the runtime still knows, from what it keeps on the disk; no socket, no crictl.

What a runtime keeps is found by the container's id, which is the pod sandbox's:

- containerd: the bundle of a running task, and the sandbox's own directory, which lives until the kubelet removes the
  sandbox (so a pod that died, and whose address the kubelet will give back, counts as known);
- CRI-O: the container's directory in the storage library's two places;
- Docker (dockershim, cri-dockerd): the container's directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from podlan.node.tomltree import tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podlan.node.doctor._case import Case

_CONTAINERD_MAIN = "/etc/containerd/config.toml"
_STATES = ("/run/containerd", "/run/k3s/containerd")
_ROOTS = ("/var/lib/containerd", "/var/lib/rancher/k3s/agent/containerd", "/var/lib/rancher/rke2/agent/containerd")
_TASKS = ("io.containerd.runtime.v2.task/k8s.io", "io.containerd.runtime.v1.linux/k8s.io")
_SANDBOXES = "io.containerd.grpc.v1.cri/sandboxes"
_CRIO = ("/run/containers/storage/overlay-containers", "/var/lib/containers/storage/overlay-containers")
_DOCKER = ("/var/lib/docker/containers",)


class Known(NamedTuple):
    """The containers that the runtime knows, and whether what it does not name can be said to be gone."""

    containers: frozenset[str]
    certain: bool


def known(case: Case, containers: Iterable[str]) -> Known:
    """Look each container up; `certain` only where the place is surely the one that this node's runtime uses."""
    wanted = sorted(set(containers))
    runtime = case.plan.runtime.name if case.plan.runtime else ""
    tasks, sandboxes = _containerd(case)
    found = set(_there(case, (*tasks, *sandboxes), wanted))
    certain = runtime in ("containerd", "") and any(_is_directory(case, place) for place in tasks)
    for name, places in (("cri-o", _CRIO), ("docker", _DOCKER)):
        there = set(_there(case, places, wanted))
        found |= there
        # Others keep their containers in places of the same name: one of the pods' own proves the place.
        certain = certain or (runtime in (name, "") and bool(there))
    return Known(frozenset(found), certain)


def _containerd(case: Case) -> tuple[list[str], list[str]]:
    states, roots = list(_STATES), list(_ROOTS)
    if case.plan.runtime is not None and case.plan.runtime.name == "containerd":
        main = tree_of(case.directory, case.last, case.root).table(_CONTAINERD_MAIN) or {}
        for key, places in (("state", states), ("root", roots)):
            if isinstance(main.get(key), str) and main[key]:
                # Elsewhere than it is told there may be the leavings of another containerd.
                places[:] = [main[key].rstrip("/")]
    tasks = [f"{state}/{place}" for state in states for place in _TASKS]
    return tasks, [f"{place}/{_SANDBOXES}" for place in (*states, *roots)]


def _there(case: Case, places: Iterable[str], containers: list[str]) -> Iterator[str]:
    for place in places:
        if _is_directory(case, place):
            yield from (one for one in containers if _is_directory(case, f"{place}/{one}"))


def _is_directory(case: Case, path: str) -> bool:
    return os.path.isdir(case.root.shown(path))  # noqa: PTH112 - strings, as everywhere here
