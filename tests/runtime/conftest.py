import contextlib

import pytest
from containerd import containerd, require_packages, write_image
from site_nodes import Lan


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    require_packages()
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    write_image(path)
    return path


@pytest.fixture
def lan(tmp_path):
    lan = Lan(tmp_path)
    try:
        yield lan
    finally:
        lan.down()


@pytest.fixture
def start(lan, image):  # noqa: ARG001 - the runtimes end before the network does
    """Run a node's containerd until the end of the test."""
    with contextlib.ExitStack() as running:
        yield lambda node: running.enter_context(containerd(node.namespace, node.home, image))
