"""A network card comes late, has another machine's address, or loses its carrier: podlan waits, and says for what."""

from __future__ import annotations

import os
import time

import pytest
from required import applied_once, came_first, has_failed, is_planned, mends_itself, well

pytestmark = pytest.mark.kernel

WAIT_ONLINE = "etc/systemd/system/network-online.target.wants/systemd-networkd-wait-online.service"
LATE = 10  # seconds
STRANGE = "10.0.0.20{}"


def test_a_card_that_comes_ten_seconds_late_is_waited_for_by_the_unit_and_by_who_watches(installed):
    """On the last two podlan itself waits, since the operating system calls itself online at once."""
    for node in installed.nodes:
        node.machine.wired = False
    for node in installed.nodes[1:]:
        (node.root / WAIT_ONLINE).unlink()
    installed.start()
    installed.each(lambda node: node.machine.await_leader())
    time.sleep(LATE)
    for node in installed.nodes:
        assert node.property("ActiveState", "kubelet") == "inactive"
        node.machine.plug()
    installed.each(lambda node: node.machine.await_ready())
    assert "waiting" not in installed.nodes[0].log()
    for node in installed.nodes[1:]:
        assert "waiting: there is no interface eth0 [PL603]; correct its name in the inventory\n" in node.log()
    installed.each(came_first)
    well(installed)


def test_who_watches_goes_on_after_a_flap_and_repairs_what_was_lost_meanwhile(installed):
    """systemd-networkd takes the node's address away with the carrier, and brings it back."""
    installed.boot()
    well(installed)
    node = installed.nodes[-1]
    assert node.property("Type") == "notify"
    process = node.property("MainPID")
    waits = "waiting: eth0 does not have 10.0.0.3: is this machine node-3? [PL623]; use the directory"
    for times, lost in enumerate((["true"], ["ip", "link", "del", "macvlan0"], ["ip", "address", "flush", "macvlan0"])):
        installed.rack.run("ip", "link", "set", node.machine.port, "down")
        node.wait_for(lambda times=times: node.log().count(waits) > times)
        node.machine.run(*lost)
        installed.rack.run("ip", "link", "set", node.machine.port, "up")
        node.wait_for(lambda times=times: node.log().count("node-3 is as planned again") > times)
        is_planned(node)
    assert node.property("MainPID") == process, "the same one"
    log = node.log()
    assert "--wait" not in log
    assert log.count("+ ip link add link eth0 name macvlan0") == 2, "at the boot, and when it was deleted"
    applied_once(node)
    assert installed.matrix() == []


def test_a_machine_with_another_address_gets_nothing_until_it_has_its_own(installed):
    """The unit waits for a minute; then kubelet and containerd start without it, and systemd tries again."""
    for number, node in enumerate(installed.nodes):
        node.configure(STRANGE.format(number))
    installed.start()
    installed.each(lambda node: node.machine.await_leader())
    for number, node in enumerate(installed.nodes):
        waits = f"waiting: eth0 does not have {node.address} (but {STRANGE.format(number)}): is this machine"
        node.wait_for(lambda node=node, waits=waits: waits in node.log())
        assert node.marks == []
        assert installed.answers(STRANGE.format(number))
        assert node.property("ActiveState", "kubelet") == "inactive"
    if os.environ.get("PROOF"):
        for node in installed.nodes[:-1]:
            node.machine.await_ready()
            has_failed(node, 75)
            assert "nothing was changed within the 60 s of --wait" in node.log()
            assert node.property("ActiveState", "kubelet") == "active"
    for node in installed.nodes:
        node.machine.run("ip", "address", "add", f"{node.address}/24", "dev", "eth0")
    installed.each(lambda node: node.machine.await_ready())
    installed.each(mends_itself)
    well(installed)
