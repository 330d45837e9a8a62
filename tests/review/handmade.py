"""Nodes' compiled files made by hand, and sites judged, for tests of what podlan tells about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from podlan import pipeline
from podlan.plan import Address, Cni, EnvFlags, File, Link, Plan, Probe, Route, encode

CNI = "/etc/cni/net.d/05-podlan.conflist"
DROP_IN = "/etc/kubernetes/kubelet.conf.d/20-podlan.conf"

PLAN = Plan(
    "node-1",
    links=(
        Link("eth0", "master", promisc=True),
        Link("macvlan0", "macvlan", master="eth0", mac="02:70:0a:00:00:c7", alias="podlan: shim of uplink"),
    ),
    addresses=(Address("macvlan0", "10.0.0.199/32", announce=True),),
    routes=(Route("macvlan0", "10.0.0.16/28", source="10.0.0.199"),),
    sysctls={"net/ipv4/conf/eth0/arp_filter": "1"},
    files=(
        File(CNI, source=f"rootfs{CNI}"),
        File(DROP_IN, source=f"rootfs{DROP_IN}", restart=("kubelet.service",)),
        File("/etc/default/kubelet", env_flags=EnvFlags("ARGS", ("--node-ip=10.0.0.1",)), restart=("kubelet.service",)),
    ),
    probes=(Probe("eth0", "10.0.0.254"),),
    cni=Cni(CNI, ("/opt/cni/bin/macvlan",)),
)


def cni(*ranges: str, subnet: str = "10.0.0.0/24", name: str = "pods", **ipam: Any) -> dict[str, Any]:
    """Make a CNI file with one range set."""
    ends = [item.split("-") for item in ranges]
    found = [{"subnet": subnet, "rangeStart": first, "rangeEnd": last, "gateway": "10.0.0.254"} for first, last in ends]
    local = {"type": "host-local", "ranges": [found], "dataDir": "/run/podlan/ipam", **ipam}
    return {"cniVersion": "1.0.0", "name": name, "plugins": [{"type": "macvlan", "master": "eth0", "ipam": local}]}


def files(plan: Plan = PLAN, conf: dict[str, Any] | None = None, **texts: str) -> dict[str, bytes]:
    """Make a node's compiled directory."""
    contents = {
        f"rootfs{CNI}": json.dumps(cni("10.0.0.16-10.0.0.31") if conf is None else conf),
        f"rootfs{DROP_IN}": '{"maxPods": 16}',
        "plan.json": json.dumps(encode(plan)),
        "boot.sh": "#!/bin/sh\n",
        "manifest.json": "{}",
    }
    return {path: text.encode() for path, text in (contents | texts).items()}


def judged(path: Path, text: str, lock: str | None = None) -> pipeline.Checked:
    """Write a site and judge it; it must be without errors."""
    (path / "site.yaml").write_text(text, encoding="utf-8")
    if lock is not None:
        (path / "podlan.lock").write_text(f"podlan.lock 1\n{lock}", encoding="utf-8")
    checked = pipeline.check(path)
    assert not checked.failed, checked.findings
    return checked


def cases(text: str) -> list[tuple[str, str]]:
    """Read a golden text: what is asked stands behind a $, the answer below it."""
    parts = [part.partition("\n") for part in text.removeprefix("$ ").split("\n$ ")]
    return [(asked, f"{answer.rstrip()}\n") for asked, _, answer in parts]
