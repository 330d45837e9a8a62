"""Whatever valid site is compiled, the real plugins take its files, and no address is anybody's twice."""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cni_reading
import pytest
from cni_reading import Network, Span, files, hosts, overlaps, unusable
from hypothesis import HealthCheck, assume, given, settings, strategies
from valid_sites import Drawn, valid_sites

from podlan import pipeline

if TYPE_CHECKING:
    from real_plugins import Machine

pytestmark = pytest.mark.kernel

EXAMPLES = int(os.environ.get("PODLAN_ORACLE_EXAMPLES", "30"))
"""Some 0.4 s each; whoever has the time asks for more."""

MOST_NODES = 2
"""Of each site so many nodes attach pods; all of them are compared."""

MOST_ADDS = 24
"""A slice of no more addresses is asked for all of them."""

CHECK_SINCE = (0, 4, 0)


def compiled(drawn: Drawn, home: Path, only: set[str] | None = None, *, lawful: tuple[str, ...] = ()) -> Path | None:
    """Compile into files, perhaps some of the nodes only; None where there is not room for all."""
    document = drawn.document
    if only is not None:
        document = document | {"nodes": {name: node for name, node in document["nodes"].items() if name in only}}
    site, out = home / "site", home / "output"
    site.mkdir(exist_ok=True)
    (site / "site.yaml").write_text(json.dumps(document, indent=1), encoding="utf-8")
    done = pipeline.compile_site(site, out)
    errors = [finding for finding in done.checked.findings if finding.severity.value == "error"]
    assert all(finding.code == "PL205" or finding.code[:3] in lawful for finding in errors), errors
    return out if not done.failed else None


def everything(drawn: Drawn, output: Path, networks: list[Network]) -> list[Span]:
    return [*drawn.taken, *hosts(output), *(span for network in networks for span in network.spans())]


def without_own_twice(spans: list[Span]) -> list[Span]:
    """With `move` a host's address is the node's own, which the site named too."""
    named = {span[:3] for span in spans if span.whose.startswith("the node")}
    return [span for span in spans if not (span.whose.startswith("the host") and span[:3] in named)]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(valid_sites(), strategies.data())
def test_plugins_take_what_any_valid_site_compiles_to(machine, drawn, data):
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        names = sorted(drawn.document["nodes"])
        first = data.draw(strategies.sets(strategies.sampled_from(names)), label="nodes of an earlier compile")
        if first:
            assume(compiled(drawn, home, first) is not None)
        # What the lock gave away earlier may be in the way of what a later node says.
        output = compiled(drawn, home, lawful=("PL5",) if first else ())
        assume(output is not None)
        networks = files(output)
        assert [network.node for network in networks] == names
        assert overlaps(without_own_twice(everything(drawn, output, networks))) == []
        assert [text for network in networks for text in unusable(network)] == []
        for network in networks:
            as_asked(drawn.document, network)
        for network in networks[:MOST_NODES]:
            one_pod(machine, network, home / "one" / network.node)
            all_pods(machine, network, home / "all" / network.node)


def as_asked(document: dict[str, Any], network: Network) -> None:
    """The file says of the node what the site says of it, and gives it as many addresses as it asks for."""
    node = document["nodes"][network.node]
    (name,) = node.get("masters", document["masters"])
    master = document["masters"][name]
    assert network.plugin["master"] == master["interface"]
    assert network.plugin["mode"] == master["mode"]
    assert network.plugin.get("mtu") == master.get("mtu")
    subnets = [document["subnets"][subnet] for subnet in master["subnets"]]
    assert [group[0].network for group in network.sets] == [ip_network(subnet["cidr"]) for subnet in subnets]
    for group, subnet in zip(network.sets, subnets, strict=True):
        if "gateway" in subnet:
            assert {item.gateway for item in group} == {int(ip_address(subnet["gateway"]))}
    if "ranges" not in {**node, **node.get("masters", {}).get(name, {})}:
        assert network.room >= master["podsPerNode"]


def one_pod(machine: Machine, network: Network, store: Path) -> None:
    """ADD, CHECK where there is one, and DEL do what the file says, in the result and in the kernel."""
    text = json.dumps(network.plugin)
    machine.wire(network.plugin["master"])
    answer = machine.call("ADD", text, 0, store)
    assert not answer.refused, (answer.error, text)
    given_out = [ip_interface(address) for address in answer.addresses]
    assert len(given_out) == len(network.sets)
    for address, group in zip(given_out, network.sets, strict=True):
        item = next(item for item in group if item.first <= int(address.ip) <= item.last)
        assert address.network == item.network
        assert int(address.ip) != item.gateway
    assert [ip_address(entry["gateway"]) for entry in answer.said["ips"]] == [
        ip_address(network.gateway_of(group[0].network.version)) for group in network.sets
    ]
    assert answer.said.get("routes", []) == network.ipam.get("routes", [])
    assert answer.said.get("dns", {}) == network.plugin.get("dns", {})
    in_kernel(machine, network, {str(address) for address in given_out})
    if network.version >= CHECK_SINCE:
        checked = machine.call("CHECK", text, 0, store, result=answer.said)
        assert not checked.refused, checked.error
    deleted = machine.call("DEL", text, 0, store)
    assert not deleted.refused, deleted.error
    assert machine.shown(0, "link", "show", "type", "macvlan") == []
    assert reserved(store) == set()


def in_kernel(machine: Machine, network: Network, addresses: set[str]) -> None:
    (link,) = machine.shown(0, "-details", "address", "show", "dev", "eth0")
    assert link["linkinfo"]["info_data"]["mode"] == network.plugin["mode"]
    assert link["mtu"] == network.plugin.get("mtu", 1500)
    held = {f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"] if entry["scope"] == "global"}
    assert held == addresses
    routes = machine.routes(0)
    for target, gateway in network.routes():
        where = ip_network(target)
        short = "default" if not where.prefixlen else str(where).removesuffix(f"/{where.max_prefixlen}")
        assert (short, gateway) in routes
    assert len(routes) == len(network.routes()) + len(network.sets)


def all_pods(machine: Machine, network: Network, store: Path) -> None:
    """As many pods get addresses as the file has room for, each its own, and then none.

    A passthru master takes one pod only, and a node here has few: beyond that host-local is asked alone.
    """
    attached = 1 if network.plugin["mode"] == "passthru" else machine.pods
    plugin = "macvlan" if network.room <= attached else "host-local"
    text = json.dumps(network.plugin)
    found: list[str] = []
    expected = min(network.room, MOST_ADDS)
    for pod in range(expected):
        answer = machine.call("ADD", text, pod, store, plugin=plugin)
        assert not answer.refused, (answer.error, text)
        found += answer.addresses
    assert len(set(found)) == expected * len(network.sets)
    if network.room <= MOST_ADDS:
        answer = machine.call("ADD", text, expected, store, plugin="host-local")
        assert "no IP addresses available in range set" in answer.error


def reserved(store: Path) -> set[str]:
    return {path.name for path in store.rglob("*") if re.match(r"[0-9a-f]*[.:]", path.name)}


spans = strategies.builds(
    lambda family, first, size: Span(family, first, first + size, f"{family}:{first}"),
    strategies.sampled_from([4, 6]),
    strategies.integers(0, 60),
    strategies.integers(0, 9),
)


@given(strategies.lists(spans, max_size=6))
def test_the_checker_finds_what_counting_addresses_finds(drawn):
    seen: set[tuple[int, int]] = set()
    twice = False
    for span in drawn:
        own = {(span.family, value) for value in range(span.first, span.last + 1)}
        twice |= bool(seen & own)
        seen |= own
    assert bool(overlaps(drawn)) == twice


def test_the_checker_shares_no_code_with_podlan():
    tree = ast.parse(Path(cni_reading.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections.abc", "ipaddress", "json", "pathlib", "typing"}
