"""What somebody took away from a lab by hand: namespaces of places that its state still has."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.lab import namespaces
from podlan.lab.errors import CommandFailed, Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home, State


def is_there(home: Home, place: str) -> bool:
    """Tell whether a node, a pod, the gateway or the switch still has its namespaces."""
    node, slash, _ = place.partition("/")
    there = namespaces.node(home, node)
    files = [there / "net", there / "mount"] if there.exists() else [namespaces.net(home, place)]
    if not all(map(_is_namespace, files)):
        return False
    # Only the pod's node sees this file.
    inside = namespaces.in_pod(home, node, place, "true")
    return not slash or not subprocess.run(inside, check=False, capture_output=True).returncode  # noqa: S603 - our own


def lost(processes: Processes, home: Home, built: State) -> list[str]:
    """Give the places without namespaces; of a node that has none, its pods are not told as well."""
    hosts = [namespaces.SWITCH, namespaces.GATEWAY, *(node.name for node in built.nodes)]
    gone = [name for name in hosts if not is_there(home, name)]
    pods = [pod.name for pod in built.pods if pod.node not in gone]
    found = processes.each(lambda pod: is_there(home, pod), pods)
    return [*gone, *(pod for pod, there in zip(pods, found, strict=True) if not there)]


@contextlib.contextmanager
def told(processes: Processes, home: Home, built: State) -> Iterator[None]:
    """Raise Damaged where a program failed since something is gone."""
    try:
        yield
    except CommandFailed as failed:
        processes.start_over()
        if places := lost(processes, home, built):
            raise Damaged(home.name, places) from failed
        raise


def _is_namespace(file: Path) -> bool:
    with contextlib.suppress(OSError):
        return file.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    return False
