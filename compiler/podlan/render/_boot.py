"""What brings the node's network state back after a reboot: a systemd unit or rc.local, and boot.sh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.plan import PROTOCOL, File, Plan
from podlan.render._artifact import HEADER, Artifact, Plain, templates, unit_escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.planning import Blueprint

UNIT = "/etc/systemd/system/podlan-reconcile.service"
NODE_DIRECTORY = "/etc/podlan/node"
PROGRAM = "/usr/local/sbin/podlan-node.pyz"

_RC_LOCAL = {"kubeadm-rpm": "/etc/rc.d/rc.local", "legacy": "/etc/rc.d/rc.local"}
"""Red Hat's systemd-rc-local-generator runs /etc/rc.d/rc.local, Debian's /etc/rc.local."""


def boot(plan: Blueprint) -> Iterator[Artifact]:
    """Render the hook by which the node's operating system calls podlan, or boot.sh, at every start."""
    if plan.node.boot == "rc.local":
        path = _RC_LOCAL.get(plan.node.cluster.distribution, "/etc/rc.local")
        yield Artifact(File(path, mode="0755", block=(f"/bin/sh {NODE_DIRECTORY}/boot.sh",)))
        return
    template = templates().get_template("podlan-reconcile.service")
    device = f"sys-subsystem-net-devices-{unit_escape(plan.attachment.interface)}.device"
    text = template.render(
        header=Plain(HEADER), device=Plain(device), program=Plain(PROGRAM), directory=Plain(NODE_DIRECTORY)
    )
    file = File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",), needs=(PROGRAM,))
    yield Artifact(file, text.encode())


def boot_script(plan: Plan) -> bytes:
    """Render boot.sh: the same network state as reconcile makes, with sh and iproute2 alone."""
    template = templates().get_template("boot.sh")
    masters = [link for link in plan.links if link.kind == "master"]
    children = [link for link in plan.links if link.kind == "macvlan"]
    names = {child.name for child in children}
    text = template.render(
        header=Plain(HEADER),
        plan=plan,
        protocol=PROTOCOL,
        masters=masters,
        children=children,
        early=[item for item in plan.sysctls.items() if not _concerns(item[0], names)],
        late=[item for item in plan.sysctls.items() if _concerns(item[0], names)],
        fallbacks=[route for route in plan.routes if route.link not in names],
        routes=[route for route in plan.routes if route.link in names],
        own=[address for address in plan.addresses if not address.adopt],
        adopted=[address for address in plan.addresses if address.adopt],
    )
    return text.encode()


def _concerns(sysctl: str, interfaces: set[str]) -> bool:
    return any(part in interfaces for part in sysctl.split("/"))
