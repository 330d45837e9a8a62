"""Services through kube-proxy's rules: who gets an answer, and what takes it away."""

import dataclasses
import json
import subprocess
import sys

import pytest
from how_to import FAST

from podlan import pipeline
from podlan.lab import verify
from podlan.lab.life import opened, up
from podlan.lab.namespaces import in_node, in_pod
from podlan.lab.report import as_json, as_text
from podlan.lab.services import Question, Service, groups, rules
from podlan.lab.topology import topology

pytestmark = pytest.mark.kernel

SITE = """\
version: 1
site: lab
cluster: {{kubernetes: "1.31", runtime: containerd{services}}}
cni: {{name: pods}}
subnets:
  lan: {{cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{{dst: 0.0.0.0/0}}]}}
  six: {{cidr: "fd00:10::/64", gateway: "fd00:10::fe", routes: [{{dst: "::/0"}}]}}
masters:
  uplink: {{interface: eth0, subnets: [lan, six], podsPerNode: 4, hostAccess: {{via: {via}}}}}
nodes:
  a: {{masters: {{uplink: {{addresses: [10.0.0.1, "fd00:10::1"]}}}}}}
  b: {{masters: {{uplink: {{addresses: [10.0.0.2, "fd00:10::2"]}}}}}}
"""
NETWORKS = ("10.96.0.0/12", "fd00:96::/112")
DOCTOR = (sys.executable, "-m", "podlan", "doctor", "--no-wire")
WITH = ', serviceCIDR: [10.96.0.0/12, "fd00:96::/112"]'
# Both families and both protocols; a pod asks itself, its neighbour on the node, and one of the other node.
OF_A_POD, OF_A_HOST = 2 * 2 * 3, 2 * 2 * 2


def built(name, directory, services=WITH, via="shim", pods=2):
    """Build a compiled site; where it knows of no Services, the cluster has them all the same."""
    (directory / "site.yaml").write_text(SITE.format(services=services, via=via), encoding="utf-8")
    done = pipeline.compile_site(directory / "site.yaml", directory / "out")
    assert not done.failed
    described = topology(done.checked.site, directory / "out")
    nodes = tuple(dataclasses.replace(node, services=NETWORKS) for node in described.nodes)
    with opened(name) as lab:
        up(lab, dataclasses.replace(described, nodes=nodes), dataclasses.replace(FAST, pods=pods))
        return lab.home


def found(name):
    with opened(name) as lab:
        return verify(lab)


def counted(report, key):
    row = next(row for row in report.rows if row.key == key)
    return row.tried, row.expected, row.reached


def unanswered(report):
    """Give whose questions got no answer, whose Service that was as seen from there, and the family."""
    return {
        (one.question.source, seen(one.question), one.question.service.version)
        for one in report.services
        if not one.reached
    }


def seen(question):
    pod = question.service.pod
    if pod == question.source:
        return "itself"
    return "own node" if pod.partition("/")[0] == question.node else "other node"


def of(source, version):
    """Give all that a pod asks in a family."""
    return {(source, whose, version) for whose in ("itself", "own node", "other node")}


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_pods_and_hosts_get_answers_and_each_thing_that_this_takes_is_needed(name, tmp_path):
    home = built(name, tmp_path)
    report = found(name)
    assert report.ok, as_text(report)
    assert counted(report, "services") == (4 * OF_A_POD,) * 3
    assert counted(report, "host-services") == (2 * OF_A_HOST,) * 3
    asked = {(one.question.source, one.question.service.pod) for one in report.services}
    assert {("a/pod-1", "a/pod-1"), ("a/pod-1", "a/pod-2"), ("a/pod-1", "b/pod-1")} <= asked
    tries = json.loads(as_json(report))["services"]
    assert {(one["protocol"], ":" in one["address"]) for one in tries} == {
        (protocol, family) for protocol in ("tcp", "udp") for family in (False, True)
    }

    # The routes that podlan gives each pod, of each family.
    for version, network in ((4, NETWORKS[0]), (6, NETWORKS[1])):
        route = (f"-{version}", "route")
        assert run(*in_pod(home, "a", "a/pod-1", "ip", *route, "delete", network)).returncode == 0
        report = found(name)
        assert unanswered(report) == of("a/pod-1", version)
        service = {4: "10.96.0.1", 6: "fd00:96::1"}[version]
        assert f"a/pod-1 gets no answer from Service {service} port 80/tcp, which is a/pod-1" in report.surprises
        back = (network, "via", shim(home, version))
        assert run(*in_pod(home, "a", "a/pod-1", "ip", *route, "add", *back)).returncode == 0
    assert found(name).ok

    # kube-proxy's masqueradeAll: else a backend answers the pod straight, with an address that it did not ask.
    plain = run(*in_node(home, "b", "nft", "flush", "chain", "ip", "kube-proxy", "mark-for-masquerade"))
    assert plain.returncode == 0, plain.stderr
    lost = unanswered(found(name))
    itself_and_neighbour = {(pod, whose, 4) for pod in ("b/pod-1", "b/pod-2") for whose in ("itself", "own node")}
    assert itself_and_neighbour | {("b/pod-1", "other node", 4), ("b/pod-2", "other node", 4)} <= lost, lost
    assert {source.partition("/")[0] for source, _, _ in lost} == {"b"}
    assert {version for _, _, version in lost} == {4}
    mark = "add rule ip kube-proxy mark-for-masquerade mark set mark or 0x4000"
    assert run(*in_node(home, "b", "nft", mark)).returncode == 0

    # IPv6 forwarding, which podlan leaves to the operating system; doctor says so.
    off = "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding"
    assert run(*in_node(home, "a", "sh", "-c", off)).returncode == 0
    report = found(name)
    assert unanswered(report) == of("a/pod-1", 6) | of("a/pod-2", 6)
    assert "no answer from IPv6 Services" in run(*in_node(home, "a", *DOCTOR)).stdout
    assert "no answer from IPv6 Services" not in run(*in_node(home, "b", *DOCTOR)).stdout


def shim(home, version):
    shown = run(*in_node(home, "a", "ip", "-o", f"-{version}", "address", "show", "dev", "macvlan0", "scope", "global"))
    return shown.stdout.split()[3].partition("/")[0]


@pytest.mark.parametrize(("services", "via"), [("", "shim"), (WITH, "none")], ids=["no-services", "no-host-access"])
def test_without_the_routes_no_pod_gets_an_answer_and_that_is_as_promised(name, tmp_path, services, via):
    built(name, tmp_path, services, via, pods=1)
    report = found(name)
    assert report.ok, as_text(report)
    assert counted(report, "services") == (2 * 2 * 2 * 2, 0, 0)
    tried, expected, reached = counted(report, "host-services")
    assert reached == expected == (tried if via == "shim" else tried // 2)


def test_with_a_moved_address_services_answer_too(name, tmp_path):
    built(name, tmp_path, via="move")
    report = found(name)
    assert report.ok, as_text(report)
    assert counted(report, "services") == (4 * OF_A_POD,) * 3


def test_many_questions_are_asked_in_groups_for_which_the_machine_has_room():
    service = Service("10.96.0.1", 80, "a/pod-1", "10.0.0.4")
    asked = [Question(f"a/pod-{number}", "a", service, expected=True) for number in range(10)]
    six = dataclasses.replace(service, address="fd00:96::1")
    asked += [dataclasses.replace(one, service=six) for one in asked]
    assert list(groups(asked, 1000)) == [asked]
    found = list(groups(asked, 8))
    assert [one for group in found for one in group] == asked
    # Four pairs of neighbours in each family: the pods that ask, each with its host, and the pod that answers.
    assert [len(group) for group in found] == [4, 3, 3 + 4, 3, 3]
    assert [len(group) for group in groups(asked[:3], 1)] == [1, 1, 1]
    assert list(groups([], 8)) == []


def test_rules_are_of_the_families_that_services_have():
    four, six = Service("10.96.0.1", 80, "a/pod-1", "10.0.0.4"), Service("fd00:96::1", 80, "a/pod-1", "fd00:10::4")
    assert "table ip6" not in rules([four])
    assert "dnat to [fd00:10::4]:8080" in rules([six])
    assert rules([four, six]) == rules([four]) + rules([six])
    assert rules([]) == ""
