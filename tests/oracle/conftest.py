import os

import pytest
from real_plugins import Machine

# What Debian's plugins do not know: `make test-newer-plugins` fetches those that do.
collect_ignore = [] if "PODLAN_CNI_RELEASE" in os.environ else ["test_newer_plugins.py"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("oracle"))
    try:
        yield made.up()
    finally:
        made.down()
