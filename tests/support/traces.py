"""What a lab leaves, and must not leave, on the machine that it runs on."""

import os
import subprocess
import time
from pathlib import Path

ROOT = Path("/run/podlan-lab")


def machine():
    """What of the machine's own network and files a lab must leave as it was."""
    commands = (
        ["ip", "-o", "link"],
        ["ip", "-o", "address", "show", "scope", "global"],
        ["ip", "route"],
        ["ip", "-6", "route"],
        ["sysctl", "net.ipv4.ip_forward", "-r", "net.ipv4.conf.*(filter|arp_).*"],
    )
    shown = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands]
    return [*shown, *(os.path.lexists(path) for path in ("/etc/podlan", "/run/podlan", "/var/lib/podlan", "/opt/cni"))]


def unchanged(before):
    """Whether the machine is as it was; what other programs do meanwhile may pass by."""
    deadline = time.monotonic() + 20
    while machine() != before and time.monotonic() < deadline:
        time.sleep(0.2)
    return machine() == before


def traces(name):
    """What is there still of a lab: mounts, files, named namespaces, processes that name it."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/podlan-lab/{name}" in line]
    files = list(ROOT.glob(f"{name}*"))
    named = [path for path in Path("/run/netns").glob("*") if name in path.name]
    return [*mounts, *files, *named, *processes_with(f"/podlan-lab/{name}")]


def processes_with(text):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in words:
                found.append(f"{entry.name}: {words!r}")
    return found
