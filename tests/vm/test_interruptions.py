"""What starts the nodes of `make e2e-vm` and is interrupted leaves nothing; here without machines, there with all."""

import signal
import sys
from pathlib import Path

import pytest
from traces import machine, unchanged

sys.path.insert(0, str(Path(__file__).parent))

from together import interrupted

pytestmark = pytest.mark.kernel

PROGRAM = """
import signal, sys, tempfile
from pathlib import Path

sys.path[:0] = sys.argv[1:]
from switch import running
from together import heed_signals, own_namespaces

heed_signals()
own_namespaces()
with tempfile.TemporaryDirectory() as name, running(Path(name), None, taps={}) as site:
    site.each(lambda node: node.run("true"))
    Path(name, "ready").touch()
    site.each(lambda node: node.run("sleep", "60"))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_starts_nodes_and_is_interrupted_leaves_no_process_and_no_network(tmp_path, number):
    before = machine()
    vm = Path(__file__).parent
    argv = [sys.executable, "-c", PROGRAM, str(vm), str(vm.parent / "support")]
    code, said, left = interrupted(argv, str(tmp_path), number, lambda directory: list(Path(directory).glob("*/ready")))
    assert (code, "Traceback" in said) == (128 + number, False), said
    assert not left, left
    assert unchanged(before)
