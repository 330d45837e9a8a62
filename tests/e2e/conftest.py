import os
import signal
from contextlib import contextmanager

import pytest
import traces
from booted import build_program, site
from containerd import require_packages, write_image
from machine import rack


@contextmanager
def interrupted_by_sigterm():
    """Have whoever ends the tests as a service manager does leave as little as Ctrl-C, which does not end all of it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Forks of the tests are programs of their own, which would take a handler that is there for somebody else's.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, before))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    """Three machines that are off, as they were before podlan came, and as they are once it is installed."""
    require_packages(**{"systemd-nspawn": "systemd-container", "networkctl": "systemd"})
    home = tmp_path_factory.mktemp("machines")
    write_image(home / "busybox.tar")
    program = build_program(home / "podlan-node.pyz")
    before = traces.machine()
    with interrupted_by_sigterm(), rack() as place, site(place, home, program, home / "busybox.tar") as made:
        made.save("bare")
        made.install()
        made.cut()
        made.save("installed")
        yield made
    assert traces.unchanged(before), "of this machine's own network nothing is touched"


@pytest.fixture
def bare(machines):
    """Machines on which podlan has never been; they are on or off, whatever the test has made of the last ones."""
    machines.restore("bare")
    try:
        yield machines
    finally:
        machines.cut()


@pytest.fixture
def installed(machines):
    """Machines that are off, and that are the nodes of the site."""
    machines.restore("installed")
    try:
        yield machines
    finally:
        machines.cut()
