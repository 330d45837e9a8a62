"""Sites made in memory, for tests that need many of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from podlan import rules
from podlan.addressing import Allocation, Decisions, Lock, allocate, survey
from podlan.inventory import Site, load
from podlan.source import Source
from podlan.source._document import parse


def site(nodes: dict[str, Any], subnets: dict[str, Any] | None = None, **master: Any) -> Site:
    """Make a site of one master, whose subnets say their routes; JSON is YAML too."""
    subnets = subnets or {"lan": {"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}}
    subnets = {name: {"routes": []} | subnet for name, subnet in subnets.items()}
    data = {
        "version": 1,
        "site": "test",
        "cluster": {"kubernetes": "1.31"},
        "cni": {"name": "pods"},
        "subnets": subnets,
        "masters": {"uplink": {"interface": "eth0", "subnets": list(subnets), "podsPerNode": 8, **master}},
        "nodes": nodes,
    }
    source = Source(Path("site.yaml"))
    source.add(parse("site.yaml", json.dumps(data)))
    found, findings = load(source)
    assert found is not None, findings
    return found


def allocated(where: Site, lock: Lock | None = None, **options: Any) -> Allocation:
    """Allocate as the pipeline does: what a rule refuses is not allocated at all."""
    grounds = survey(where)
    refused = rules.run(where, grounds)
    if refused:
        return Allocation(findings=refused)
    return allocate(
        where,
        grounds,
        lock or Lock(),
        Decisions(**{key: frozenset(value) if key != "base" else value for key, value in options.items()}),
    )
