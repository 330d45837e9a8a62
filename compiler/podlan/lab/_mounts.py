"""Sets up what a node sees, from inside its new mount namespace; a program of its own, standard library only.

Reads JSON from standard input:
root       directory that holds what becomes the private ones
private    directories that the node has for itself ("/etc")
keep       pairs of paths: what of the private directories must stay visible, and where in `root`
writable   directories outside of the private ones that may be written, to no effect outside
binaries   pair of paths: the plugins, and where the node expects them
scratch    directory for the layers of `writable`
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MNT_DETACH = 2
SYSTEM = ("/proc", "/sys", "/dev")

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Make or change a mount; raises OSError that names both ends."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"mount {source} {target}")


def mounts() -> list[tuple[str, str, int]]:
    """Give point, file system and flags of every mount, as /proc/self/mountinfo has them."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123 - no pathlib in a program that starts this often
        for line in lines:
            before, after = line.split(" - ", 1)
            fields = before.split()
            point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            flags = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC}
            found.append((point, after.split()[0], sum(flags.get(word, 0) for word in fields[5].split(","))))
    return found


def under(path: str, tops: tuple[str, ...]) -> bool:
    """Tell whether a path is one of these directories or lies in one."""
    return any(path == top or path.startswith(top + "/") for top in tops)


def forget_others() -> None:
    """Drop this namespace's copies of other people's namespace files, which would keep those alive."""
    for point, kind, _ in reversed(mounts()):
        if kind == "nsfs":
            _libc.umount2(point.encode(), MNT_DETACH)  # one that is hidden under another mount is gone with that


def protect(root: str, private: tuple[str, ...]) -> None:
    """Make everything read-only that the node shares with the machine."""
    for point, _, flags in mounts():
        shared = not under(point, SYSTEM) and not under(point, private)
        kept = under(point, (root,)) and point != root
        if (shared or kept) and os.path.lexists(point):
            mount("none", point, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def writable(directory: str, scratch: str) -> None:
    """Let a directory be written, on a layer that ends with the namespace."""
    existing = directory
    while not os.path.isdir(existing):  # noqa: PTH112 - as above
        existing = os.path.dirname(existing)  # noqa: PTH120 - as above
    layers = [os.path.join(scratch, part + existing.replace("/", "-")) for part in ("upper", "work")]  # noqa: PTH118 - as above
    for layer in layers:
        os.makedirs(layer)  # noqa: PTH103 - as above
    mount("overlay", existing, "overlay", data=f"lowerdir={existing},upperdir={layers[0]},workdir={layers[1]}")
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as above


def main(order: dict[str, Any]) -> None:
    """Do what the order says."""
    root, private = order["root"], tuple(order["private"])
    forget_others()
    for source, target in order["keep"]:
        mount(source, target, flags=MS_BIND | MS_REC)
    protect(root, private)
    for directory in order["writable"]:
        writable(directory, order["scratch"])
    plugins, expected = order["binaries"]
    if not under(expected, private):
        if not os.path.isdir(expected):  # noqa: PTH112 - as above
            writable(expected, order["scratch"])
        mount(plugins, expected, flags=MS_BIND)
    # The lab's own directory lies in /run, so that comes last.
    for directory in sorted(private, key=lambda path: path == "/run"):
        mount(root + directory, directory, flags=MS_BIND | MS_REC)
    mount("sysfs", "/sys", "sysfs")  # the machine's /sys shows the machine's interfaces


if __name__ == "__main__":
    try:
        main(json.load(sys.stdin))
    except OSError as error:
        sys.exit(str(error))
