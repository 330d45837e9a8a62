import pytest
from lan import Net


@pytest.fixture
def net(tmp_path):
    net = Net(tmp_path)
    try:
        yield net.up()
    finally:
        net.down()
