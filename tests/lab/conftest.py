import os

import how_to
import pytest
from how_to import FAST
from traces import machine, traces, unchanged

from podlan.lab.life import down, opened, up


@pytest.fixture
def name(request):
    """A lab's name that no other test and no other run has; afterwards nothing of it, and nothing else, is there."""
    before = machine()
    given = f"t{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"
    yield given
    with opened(given) as lab:
        down(lab)
    assert traces(given) == []
    assert unchanged(before)


@pytest.fixture
def build(name, tmp_path):
    """Build the how-to's network in a way of host access, and give the lab as its builder holds it."""

    def make(access="shim", *, options=FAST, **shape):
        with opened(name) as lab:
            state = up(lab, how_to.topology(tmp_path, access, **shape), options)
            return lab.home, state

    return make
