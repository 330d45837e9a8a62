"""The DHCP client of pods: the dhcp plugin's daemon, which asks for leases and renews them, as a systemd unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podlan.plan import File
from podlan.render._artifact import HEADER, Artifact, Plain, templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podlan.planning import Blueprint

UNIT = "/etc/systemd/system/podlan-cni-dhcp.service"


def dhcp_daemon(plan: Blueprint) -> Iterator[Artifact]:
    """Render the unit, on nodes that have a master whose pods ask a DHCP server.

    The unit is not restarted when its file changes: leases are in the daemon's memory alone, and nobody would renew
    those of living pods (containernetworking/plugins#440, #767).
    """
    if not any(strand.attachment.master.ipam == "dhcp" for strand in plan.strands):
        return
    program = f"{plan.node.cni.bin_dir}/dhcp"
    text = templates().get_template("podlan-cni-dhcp.service").render(header=Plain(HEADER), program=Plain(program))
    yield Artifact(
        File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",), start=True, needs=(program,)),
        text.encode(),
    )
