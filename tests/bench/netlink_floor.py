"""The least that a look at a node by pyroute2 costs: its narrow import, and the four dumps that reconcile needs."""

import socket
import sys
from importlib.util import find_spec

bare = type(sys)("pyroute2")
bare.__path__ = list(find_spec("pyroute2").submodule_search_locations)
sys.modules["pyroute2"] = bare

from pyroute2.iproute.linux import IPRoute  # noqa: E402 - the bare package comes first

with IPRoute(ext_ack=True, strict_check=True) as route:
    links = list(route.get_links(ext_mask=8))
    addresses = list(route.get_addr())
    routes = [list(route.get_routes(family=family, table=254)) for family in (socket.AF_INET, socket.AF_INET6)]
