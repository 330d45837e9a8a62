import pytest
from booted import build_program, site
from containerd import require_packages, write_image
from machine import rack


@pytest.fixture(scope="session")
def machines(tmp_path_factory):
    """Three machines that are off, as they were before podlan came, and as they are once it is installed."""
    require_packages(**{"systemd-nspawn": "systemd-container", "networkctl": "systemd"})
    home = tmp_path_factory.mktemp("machines")
    write_image(home / "busybox.tar")
    with rack() as place, site(place, home, build_program(home / "podlan-node.pyz"), home / "busybox.tar") as made:
        made.save("bare")
        made.install()
        made.cut()
        made.save("installed")
        yield made


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
