"""A plan survives its JSON form, and the node refuses every other form."""

from __future__ import annotations

import json

import pytest

from podlan.plan import PLAN_VERSION, Address, BadPlan, Cni, EnvFlags, File, Link, Plan, Probe, Route, decode, encode

NODE = "10.0.0.2"
PLAN = Plan(
    "node-1",
    links=(
        Link("eth0", "master", promisc=True),
        Link("macvlan0", "macvlan", master="eth0", mac="02:00:00:00:00:01", mtu=1400),
    ),
    addresses=(
        Address("macvlan0", "10.0.0.1/32", announce=True),
        Address("eth0", "10.0.0.2/24", metric=512, adopt=True),
    ),
    routes=(Route("macvlan0", "0.0.0.0/0", gateway="10.0.0.254", replaces=True),),
    sysctls={"net/ipv4/conf/eth0/arp_filter": "1"},
    files=(
        File("/etc/x", source="rootfs/etc/x", restart=("kubelet.service",)),
        File("/etc/y", env_flags=EnvFlags("ARGS", ("--a=1",))),
        File("/etc/rc.local", mode="0755", block=("sh x",)),
    ),
    probes=(Probe("eth0", "10.0.0.254"), Probe("eth0", "10.0.0.253", 30)),
    identity=(NODE, "fd00::2"),
    cni=Cni("/etc/cni/net.d/x.conflist", ("/opt/cni/bin/macvlan",)),
)


def test_a_plan_survives_its_json_form():
    assert decode(json.dumps(encode(PLAN)), "plan.json") == PLAN


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": PLAN_VERSION + 1}, "newer than this podlan reads"),
        ({"version": 0}, "does not exist"),
        ({"version": "1"}, "no version"),
        ({"version": True}, "no version"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"node": None}, r"plan.json.node: not a string"),
        ({"node": "a\0b"}, r"plan.json.node: not a string"),
        ({"node": "\ud800"}, r"plan.json.node: not Unicode text"),
        ({"\ud800": 1}, r"unknown key '\\ud800'"),
        ({"sysctls": {"net/\ud800": "1"}}, r"not Unicode text"),
        ({"sysctls": {"net/\0": "1"}}, r"not a string"),
        ({"identity": NODE}, r"plan.json.identity: not a list"),
        ({"links": {}}, r"plan.json.links: not a list"),
        ({"links": [{"name": "eth0"}]}, r"plan.json.links\[0\]: kind is missing"),
        ({"links": [{"name": "eth0", "kind": "bridge"}]}, r"links\[0\].kind: not one of master, macvlan"),
        ({"links": [{"name": "eth0", "kind": "master", "promisc": 1}]}, "not true or false"),
        ({"links": [{"name": "eth0", "kind": "master", "mtu": 67}]}, "not an MTU"),
        ({"addresses": [{"link": "a", "address": "b", "metric": -1}]}, "not a metric"),
        ({"probes": [{"link": "a", "address": "b", "timeout": 0}]}, "not a number of seconds"),
        ({"probes": [{"link": "a", "address": "b", "timeout": True}]}, "not a number of seconds"),
        ({"sysctls": {"net/x": 1}}, r"sysctls.net/x: not a string"),
        ({"files": [{"path": "/x", "envFlags": {"variable": "A"}}]}, r"envFlags: flags is missing"),
    ],
)
def test_another_form_is_refused_with_the_place_and_the_problem(change, problem):
    document = {**json.loads(json.dumps(encode(PLAN))), **change}
    with pytest.raises(BadPlan, match=problem):
        decode(json.dumps(document), "plan.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(BadPlan):
        decode(text, "plan.json")
