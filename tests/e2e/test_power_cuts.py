"""The power goes at any moment of a boot that has a change to apply; the next boot ends as planned."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from booted import CHANGED, CNI, PROGRAM, SITE, SLOWLY, VERY_SLOWLY, Node
from required import came_first, well

pytestmark = pytest.mark.kernel

PROOF = bool(os.environ.get("PROOF"))
ROUNDS = 20 if PROOF else 1
SEED = int(os.environ["SEED"])
HANDED = "root/node"
"""Where the operator has put the new directory."""


def writes(node: Node) -> bool:
    """Tell whether one of the plan's files is being written: it has its temporary name for a moment."""
    places = (node.upper / place for place in ("etc/cni/net.d", "etc/systemd/network"))
    return any(next(place.glob("*.podlan-tmp"), None) for place in places)


def begins(node: Node) -> bool:
    """Tell whether a change is under way."""
    return (node.upper / "var/lib/podlan/journal.json").exists()


def copies(node: Node) -> bool:
    """Tell whether it is at the node's copy of its directory."""
    return (node.upper / "etc/podlan/node.podlan-tmp").exists()


def change(node: Node, moment: Callable[[Node], bool], delay: float) -> bool:
    """Reconcile with the directory as compiled now, and cut the power then; tell whether it had ended by then."""
    shutil.copytree(node.compiled, node.root / HANDED)
    slowly = VERY_SLOWLY if moment is writes else SLOWLY
    with ThreadPoolExecutor() as pool:
        run = pool.submit(node.machine.run, *slowly, PROGRAM, "reconcile", f"/{HANDED}", check=False)
        while not moment(node):
            assert not run.done(), run.result()
            time.sleep(0.001)
        time.sleep(delay)
        node.machine.cut()
    if moment is writes:
        assert any(".podlan-tmp" in file for file in node.unfinished()), "the file that was being written"
    return not run.result().returncode


def cut(node: Node, seconds: float) -> None:
    """Cut its power so many seconds after it was switched on; without a time, as soon as it writes a file."""
    end = time.monotonic() + (seconds or 60)
    if not seconds:
        node.machine.await_leader()
    while time.monotonic() < end and not node.machine.ready and not (not seconds and writes(node)):
        time.sleep(0)
    node.machine.cut()


def test_a_change_that_an_operator_makes_is_whole_or_never_was_if_the_power_goes_amid_it(installed):
    """Files, kernel and the node's copy of its directory tell of the same plan after the next boot."""
    chance = random.Random(SEED)  # noqa: S311 - of a test
    ends = []
    for number in range(ROUNDS):
        print(f"SEED={SEED} round {number}")  # noqa: T201 - shown on failure
        installed.restore("installed")
        installed.boot()
        before = {node.name: (node.root / CNI).read_bytes() for node in installed.nodes}
        installed.compile(CHANGED)
        moments = [(writes, 0.0), (copies, 0.0), (begins, chance.uniform(0, 1))]
        chance.shuffle(moments)
        ended = installed.each(lambda node, moments=moments: change(node, *moments[installed.nodes.index(node)]))
        installed.boot()
        assert sum(ended) <= 1, "a file and the copy were being written"
        for node in installed.nodes:
            kept = (node.copy / "rootfs" / CNI).read_bytes()
            assert (node.root / CNI).read_bytes() == kept
            assert kept in (before[node.name], node.compiled_file(CNI))
            ends.append(kept == before[node.name])
            assert node.property("ActiveState") == "active", node.log()
            assert node.unfinished() == []
            assert node.podlan("reconcile", "--check", check=False).returncode == 0
            node.podlan("reconcile", f"/{HANDED}")
        well(installed)
        installed.cut()
    print(f"taken back: {sum(ends)} of {len(ends)}")  # noqa: T201 - for who reads on


def on_a_disk(text: str) -> str:
    """Have host-local keep its reservations where they outlive a boot, unless somebody removes them."""
    return text.replace("cni: {", "cni: {dataDir: /var/lib/cni/networks, ")


def test_wherever_the_power_was_cut_the_next_boot_ends_as_planned(installed):
    """Also with no reservation left of pods that the cut has ended, wherever these are kept."""
    chance = random.Random(SEED)  # noqa: S311 - of a test
    installed.compile(on_a_disk(SITE))
    installed.each(Node.deliver)
    begin = time.monotonic()
    installed.boot()
    lasts = time.monotonic() - begin
    well(installed)  # so that the first cut leaves pods behind, too
    left = 0
    for number in range(ROUNDS):
        installed.cut()
        installed.compile(on_a_disk((CHANGED, SITE)[number % 2]))
        installed.each(Node.deliver)
        moments = [chance.choice((0, chance.uniform(0.1, lasts))) for _ in installed.nodes]
        print(f"SEED={SEED} round {number}: cut after {moments} of {lasts:.2f} s")  # noqa: T201 - shown on failure
        installed.start()
        installed.each(lambda node, moments=moments: cut(node, moments[installed.nodes.index(node)]))
        left += sum(bool(node.unfinished()) for node in installed.nodes)
        installed.boot()
        installed.each(came_first)
        well(installed)
    print(f"runs that were cut amid a change: {left} of {3 * ROUNDS}")  # noqa: T201 - for who reads on
