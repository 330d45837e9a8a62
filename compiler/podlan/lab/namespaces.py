"""Network and mount namespaces that live as files of a lab, without a process that holds them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from podlan.lab.errors import CommandFailed, Remains

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podlan.lab.processes import Processes
    from podlan.lab.state import Home

SWITCH = "switch"
GATEWAY = "gateway"

_PATIENCE = 5.0
"""Seconds that killed processes have to be gone."""


def net(home: Home, name: str) -> Path:
    """Give the file of a network namespace that has no files of its own: the switch's, the gateway's."""
    return home.path / "net" / name


def node(home: Home, name: str) -> Path:
    """Give the directory of a node: `net` and `mount` are its namespaces, `root` holds its private files."""
    return home.path / "nodes" / name


def in_net(home: Home, name: str, *argv: str) -> list[str]:
    """Give the command that runs another in the switch's or the gateway's namespace."""
    return ["nsenter", f"--net={net(home, name)}", "--", *argv]


def in_node(home: Home, name: str, *argv: str) -> list[str]:
    """Give the command that runs another in a node."""
    place = node(home, name)
    return ["nsenter", f"--net={place / 'net'}", f"--mount={place / 'mount'}", "--", *argv]


def in_pod(home: Home, name: str, pod: str, *argv: str) -> list[str]:
    """Give the command that runs another in a pod; its namespace is a file that only its node sees."""
    return in_node(home, name, "nsenter", f"--net={pod_net(pod)}", "--", *argv)


def pod_net(pod: str) -> str:
    """Give the path, in its node, of a pod's network namespace; the node's name in it might make it too long."""
    return f"/run/netns/{pod.rpartition('/')[2]}"


def furnish(processes: Processes, home: Home) -> None:
    """Make the lab's directory: a tmpfs of its own, private, since a mount namespace's file needs that."""
    home.path.mkdir(mode=0o700)
    processes.must(
        "mounting the lab's directory", ["mount", "-t", "tmpfs", "-o", "mode=0700", "podlan-lab", str(home.path)]
    )
    processes.must("mounting the lab's directory", ["mount", "--make-private", str(home.path)])
    (home.path / "net").mkdir()
    (home.path / "nodes").mkdir()


def make_net(processes: Processes, home: Home, name: str) -> None:
    """Make a network namespace."""
    file = net(home, name)
    file.touch()
    processes.must(f"making the {name}'s network namespace", ["unshare", f"--net={file}", "--", "true"])


def make_node(processes: Processes, home: Home, name: str, argv: Sequence[str], stdin: str) -> None:
    """Make a node's namespaces and run the program in them that sets up its mounts."""
    place = node(home, name)
    (place / "net").touch()
    (place / "mount").touch()
    unshare = ["unshare", f"--net={place / 'net'}", f"--mount={place / 'mount'}", "--propagation", "private", "--"]
    done = processes.run([*unshare, *argv], stdin=stdin)
    # Linux 6.18 numbers mount namespaces by processor, and refuses a file for one that is numbered below our own:
    # on the processor where ours was made, a new one never is.
    for processor in sorted(os.sched_getaffinity(0)):
        if not done.code or "Invalid argument" not in done.err:
            break
        done = processes.run(["taskset", "--cpu-list", str(processor), *unshare, *argv], stdin=stdin)
    if done.code:
        raise CommandFailed(f"making the namespaces of node {name}", done.output)


def end_members(home: Home) -> None:
    """Kill every process that is in one of the lab's namespaces, whoever started it, and wait for its end."""
    deadline = time.monotonic() + _PATIENCE
    while members := list(_members(home)):
        for pid in members:
            _kill(pid)
        if time.monotonic() > deadline:
            raise Remains(home.name, f"processes {', '.join(map(str, members))} do not end")
        time.sleep(0.01)


def remove(processes: Processes, home: Home) -> None:
    """Take away the lab's namespaces, files and directory; what is gone already is no error."""
    end_members(home)
    while os.path.ismount(home.path):
        processes.must("unmounting the lab's directory", ["umount", "--recursive", "--lazy", str(home.path)])
    try:
        home.path.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Remains(home.name, f"{home.path}: {error.strerror}") from error


def _members(home: Home) -> Iterator[int]:
    ours = set(
        _identities([*home.path.glob("net/*"), *home.path.glob("nodes/*/net"), *home.path.glob("nodes/*/mount")])
    )
    if not ours:
        return
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a Path for every process is the slower half of this loop
        if entry.isdecimal() and not ours.isdisjoint(
            _identities([Path("/proc", entry, "ns/net"), Path("/proc", entry, "ns/mnt")])
        ):
            yield int(entry)


def _identities(files: Sequence[Path]) -> Iterator[tuple[int, int]]:
    for file in files:
        # A process may end while we look; one of another user namespace may be closed to us, and is not ours.
        with contextlib.suppress(OSError):
            found = file.stat()
            yield found.st_dev, found.st_ino


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
