"""All that takes a kernel which this machine may not have, by one program with one deadline: `make e2e-vm`.

together.py DIRECTORY: where the kernel's package is unpacked. First it interrupts itself, and nothing may be left; and
when all is done the machine's own network must be as it was.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import masters
from kernel import kernel
from machine import family
from nodes import Refused, runs
from qemu import ends_with_us, require
from streams import say
from switch import TAPS, running
from traces import machine, processes_with, unchanged

SECONDS = 900  # until we call all of it hanging; alone it takes a third of that
PATIENCE = 60  # seconds for machines to start, and for what was interrupted to end
HERE = Path(__file__)
VLANS = ("qemu.py", "vlans.py")  # what boots one machine, and what runs in it
INTERRUPTED = "--until-interrupted"
_CLONE_NEWNS = 0x20000


def main(kernels):
    begun, before = time.monotonic(), machine()
    kernel(kernels)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        timed(interrupted_it_leaves_nothing, kernels, number)
    with site(kernels) as built, beside(kernels) as vlans:
        for step in (
            masters.all_nodes_start,
            masters.each_node_gets_its_directory,
            masters.podlan_waits_for_masters_that_the_system_makes,
            masters.pods_are_attached_by_the_plugins,
            masters.everybody_reaches_everybody,
        ):
            timed(step, built)
        vlans()  # what follows is measured, and has the processors to itself
        for step in (masters.failovers_cost_less_than_their_bound, masters.a_bond_that_gives_pods_other_macs_is_told):
            timed(step, built)
    assert unchanged(before), f"the machine's own network was {before} and is {machine()}"
    say(f"in all: {time.monotonic() - begun:.0f} s")


def timed(step, *given):
    at = time.monotonic()
    step(*given)
    words = " ".join(one.name for one in given if isinstance(one, signal.Signals))
    say(f"{step.__name__.replace('_', ' ')}{f' ({words})' if words else ''}: {time.monotonic() - at:.1f} s")


@contextlib.contextmanager
def site(kernels):
    """Have all nodes of the site; what their kernels said of a failure's bonds is told."""
    with tempfile.TemporaryDirectory(prefix="podlan-vm-") as name, running(Path(name), kernels) as built:
        try:
            yield built
        except Exception:
            for node in built.machines:
                say(f"{node.name}, at the end:\n{last_words(node)}")
            raise


def last_words(node):
    """Give what its kernel said of its bond, or of its end."""
    with contextlib.suppress(Refused, OSError):
        return node.run("sh", "-c", "dmesg | grep bond | tail -40")
    return "".join(node.console)


@contextlib.contextmanager
def beside(kernels):
    """Have one more machine that tries VLANs; gives what waits for its end, and prints what it said."""
    boots, tries = (HERE.with_name(name) for name in VLANS)
    process = subprocess.Popen(
        [sys.executable, boots, kernels, sys.executable, tries],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours to answer
        preexec_fn=ends_with_us,  # noqa: PLW1509 - it takes no lock
    )

    def end():
        said, _ = process.communicate()
        say(said.rstrip())
        assert process.returncode == 0, f"{' '.join(VLANS)} ended with {process.returncode}"

    try:
        yield end
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate()


# --- interruptions


def interrupted_it_leaves_nothing(kernels, number):
    """All machines run when the signal comes, and nothing of them is left."""
    with tempfile.TemporaryDirectory(prefix="podlan-vm-") as name:
        code, said, left = interrupted([sys.executable, HERE, kernels, INTERRUPTED], name, number, all_run)
        assert (code, "Traceback" in said) == (128 + number, False), (code, said)
        assert not left, left


def interrupted(argv, directory, number, ready):
    """Start a program and send it a signal as soon as it is `ready`: how it ended, what it said, and what is left."""
    process = subprocess.Popen(
        argv,
        env={**os.environ, "TMPDIR": directory},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours to answer
        preexec_fn=ends_with_us,  # noqa: PLW1509 - it takes no lock
    )
    try:
        end = time.monotonic() + PATIENCE
        while not ready(directory):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, processes_with(directory)
            time.sleep(0.02)
        everything = family(process.pid)
        process.send_signal(number)
        process.send_signal(number)  # an impatient second one changes nothing
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    left = [one for one in everything if runs(one)] + processes_with(directory) + list(Path(directory).iterdir())
    return process.returncode, said, left


def all_run(directory):
    return sum("qemu-system" in one for one in processes_with(directory)) == len(TAPS) + 1


def own_namespaces():
    """Have /run/netns and mounts to ourselves: with the last process they are gone, however it ended."""
    assert ctypes.CDLL(None).unshare(_CLONE_NEWNS) == 0
    for words in (("--make-rprivate", "/"), ("-t", "tmpfs", "podlan-vm", "/run/netns")):
        Path("/run/netns").mkdir(exist_ok=True)
        subprocess.run(["mount", *words], check=True)


def heed_signals():
    """End in order at the first one, whose number the exit code tells; those that follow change nothing."""
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "was told to end", signal.SIGHUP: "lost its terminal"}
    words |= {signal.SIGALRM: f"came to no end within {SECONDS} s"}

    def end(number, _):
        for one in words:
            signal.signal(one, signal.SIG_IGN)
        sys.stderr.write(f"machines: {words[signal.Signals(number)]}\n")
        raise SystemExit(128 + number)

    for one in words:
        signal.signal(one, end)


if __name__ == "__main__":
    heed_signals()
    require("bridge", "ip", "mount", "nsenter", "sysctl", "unshare")
    own_namespaces()
    directory = Path(sys.argv[1])
    if INTERRUPTED in sys.argv:
        with site(directory), beside(directory):
            signal.pause()
    signal.alarm(SECONDS)
    main(directory)
