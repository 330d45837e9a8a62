"""What doctor tells beside a real containerd: nothing of what lives, comes or goes, and what nobody will give back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from containerd import PLUGINS
from cri import Refused
from test_containerd import SITE

pytestmark = pytest.mark.kernel

FORGOTTEN = "f" * 64


def within(runtime, *argv, **options):
    """Run a command where containerd runs: its files, its processes, its network."""
    enter = ["nsenter", "-t", str(runtime.leader), "--mount", "--pid", "--net"]
    return subprocess.run([*enter, *map(str, argv)], text=True, capture_output=True, check=False, **options)


def says(runtime, node):
    """Give the findings of all checks, those on the wire too, without the note that always comes."""
    program = (sys.executable, "-m", "podlan.node", "doctor", "--format", "json", node.directory)
    done = within(runtime, *program)
    assert "Traceback" not in done.stderr, done.stderr
    findings = json.loads(done.stdout)["findings"]
    return [one for one in findings if one["code"] != "PL677"]


@pytest.fixture
def node(lan):
    return lan.nodes(SITE)[0]


def test_what_lives_is_no_finding_and_what_containerd_never_heard_of_is_and_can_be_given_back(node, start):
    node.reconcile()
    runtime = start(node)
    pod = runtime.run()
    assert says(runtime, node) == []
    environment = {
        **os.environ,
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": FORGOTTEN,
        "CNI_NETNS": "/run/netns/gone",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(PLUGINS),
    }
    (config,) = node.compiled.values()
    config = {"cniVersion": "1.0.0", "name": config["name"], "type": "macvlan", "ipam": config["plugins"][0]["ipam"]}
    within(runtime, PLUGINS / "host-local", input=json.dumps(config), env=environment)
    (told,) = says(runtime, node)
    assert told["message"] == "10.0.0.17 is reserved for container fffffffffffff, which is gone"
    with pytest.raises(Refused, match="no IP addresses available"):
        runtime.run()
    command = told["hint"].partition("`")[2].rstrip("`")
    assert not within(runtime, "sh", "-c", command).returncode
    assert runtime.run().addresses == ("10.0.0.17",)
    assert says(runtime, node) == []
    assert pod.addresses == ("10.0.0.16",)


def test_of_a_pod_that_crashed_nothing_is_told_for_the_kubelet_has_yet_to_remove_it(node, start):
    node.reconcile()
    runtime = start(node)
    pod = runtime.run()
    of_the_pod = [process for process in runtime.processes() if is_in_a_pod(process)]
    assert len(of_the_pod) == 2
    for process in of_the_pod:
        os.kill(process, signal.SIGKILL)
    within(runtime, "sh", "-c", "umount /run/netns/* && rm /run/netns/*")
    assert says(runtime, node) == []
    runtime.remove(pod)
    assert runtime.reserved("pods") == set()
    assert says(runtime, node) == []


def is_in_a_pod(process):
    return not Path(f"/proc/{process}/comm").read_text(encoding="ascii").startswith("containerd")


def test_pods_that_come_and_go_meanwhile_are_no_finding(node, start):
    node.reconcile()
    runtime = start(node)
    ended = threading.Event()

    def churn():
        while not ended.is_set():
            runtime.remove(runtime.run())

    kubelet = threading.Thread(target=churn)
    kubelet.start()
    try:
        found = [says(runtime, node) for _ in range(4)]
    finally:
        ended.set()
        kubelet.join()
    assert found == [[], [], [], []]
