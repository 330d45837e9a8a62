"""The smoke workload: Kubernetes takes it, and its probes pass where the network does what it must."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from podlan import pipeline

SITE = """\
version: 1
site: {site}
cluster: {{kubernetes: "{kubernetes}"}}
cni: {{name: pods}}
subnets:
  lan: {{cidr: 10.0.0.0/24, gateway: 10.0.0.254, routes: [{{dst: 0.0.0.0/0}}]}}
  far: {{cidr: 10.1.0.0/24, gateway: 10.1.0.254, routes: [{{dst: 0.0.0.0/0}}]}}
masters:
  uplink: {{interface: eth0, subnets: [lan], podsPerNode: 8, hostAccess: {{via: {via}}}}}
  other: {{interface: eth1, subnets: [far], podsPerNode: 8, hostAccess: {{via: none}}}}
nodes:
  a: {{masters: {{{a}: {{}}}}}}
  b: {{masters: {{{b}: {{}}}}}}
"""
DNS_LABEL = re.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = re.compile("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
VERSIONS = ("1.25", "1.31", "1.36", kubernetes_validate.latest_version())
KINDS = {
    "every host reaches its pods": {"via": "shim", "a": "uplink", "b": "uplink"},
    "no host does": {"via": "none", "a": "uplink", "b": "uplink"},
    "some hosts do": {"via": "shim", "a": "uplink", "b": "other"},
}


def smoke(directory, *, site="lab", kubernetes="1.31", via="shim", a="uplink", b="uplink"):
    text = SITE.format(site=site, kubernetes=kubernetes, via=via, a=a, b=b)
    (directory / "site.yaml").write_text(text, encoding="utf-8")
    compiled = pipeline.compile_site(directory, directory.parent / "nowhere", write=False)
    assert not compiled.failed, compiled.checked.findings
    return compiled.cluster["smoke.yaml"].decode()


def objects(text):
    return list(YAML(typ="safe", pure=True).load_all(text))


def daemon_sets(text):
    return [one for one in objects(text) if one["kind"] == "DaemonSet"]


def container(daemon_set):
    (only,) = daemon_set["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(tmp_path, kind, version):
    for one in objects(smoke(tmp_path, **KINDS[kind])):
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_it_uses_nothing_that_the_how_to_s_kubernetes_lacks(tmp_path, kind):
    """apps/v1 is of 1.9, and its client refuses a field that it does not know."""
    old = {
        *(
            "apiVersion",
            "kind",
            "metadata",
            "name",
            "namespace",
            "labels",
            "spec",
            "selector",
            "matchLabels",
            "template",
        ),
        *("automountServiceAccountToken", "terminationGracePeriodSeconds", "tolerations", "operator", "containers"),
        *("image", "ports", "containerPort", "resources", "requests", "limits", "cpu", "memory", "readinessProbe"),
        *("livenessProbe", "httpGet", "path", "port", "exec", "command", "periodSeconds", "timeoutSeconds"),
        *("initialDelaySeconds", "failureThreshold", "affinity", "nodeAffinity", "matchExpressions", "key", "values"),
        *("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"),
    }

    def keys(value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from () if "/" in key else (key,)
                yield from keys(item)
        for item in value if isinstance(value, list) else ():
            yield from keys(item)

    assert set(itertools.chain.from_iterable(map(keys, objects(smoke(tmp_path, **KINDS[kind]))))) <= old


def test_the_kubelet_asks_from_the_host_where_the_host_reaches_its_pods(tmp_path):
    (only,) = daemon_sets(smoke(tmp_path, **KINDS["every host reaches its pods"]))
    assert {"httpGet"} < container(only)["readinessProbe"].keys()
    assert {"httpGet"} < container(only)["livenessProbe"].keys()
    assert "affinity" not in only["spec"]["template"]["spec"]


def test_without_host_access_the_probes_run_in_the_pod(tmp_path):
    (only,) = daemon_sets(smoke(tmp_path, **KINDS["no host does"]))
    assert {"exec"} < container(only)["readinessProbe"].keys()
    assert {"exec"} < container(only)["livenessProbe"].keys()
    assert "affinity" not in only["spec"]["template"]["spec"]


def test_where_only_some_hosts_reach_their_pods_every_node_has_the_probes_that_can_pass(tmp_path):
    reached, apart = daemon_sets(smoke(tmp_path, **KINDS["some hosts do"]))
    assert "httpGet" in container(reached)["readinessProbe"]
    assert "exec" in container(apart)["readinessProbe"]
    chosen = []
    for one in (reached, apart):
        affinity = one["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        ((term,),) = [
            term["matchExpressions"]
            for term in affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        ]
        chosen.append((term["operator"], term["values"]))
    assert chosen == [("NotIn", ["b"]), ("In", ["b"])]
    selectors = [tuple(sorted(one["spec"]["selector"]["matchLabels"].items())) for one in (reached, apart)]
    assert len(set(selectors)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_node_runs_one_and_selectors_find_their_pods(tmp_path, kind):
    for one in daemon_sets(smoke(tmp_path, **KINDS[kind])):
        pod = one["spec"]["template"]
        assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
        assert pod["metadata"]["labels"] == one["spec"]["selector"]["matchLabels"]


def test_the_image_has_a_tag_that_the_oldest_node_can_pull(tmp_path):
    new, old = (container(daemon_sets(smoke(tmp_path, kubernetes=version))[0])["image"] for version in ("1.31", "1.19"))
    assert new != old
    assert all(image.startswith("nginx:1.") for image in (new, old))


@pytest.mark.parametrize("site", ["DC_1", "dc1-", "x" * 63, "X" * 63, "a" * 50, "a" * 51, "1e3", "null", "0x10", "yes"])
def test_any_site_s_name_becomes_names_and_labels_that_kubernetes_takes(tmp_path, site):
    text = smoke(tmp_path, site=f'"{site}"', **KINDS["some hosts do"])
    for one in objects(text):
        name = one["metadata"].get("namespace", one["metadata"]["name"])
        assert DNS_LABEL.fullmatch(name)
        assert all(isinstance(value, str) for value in one["metadata"]["labels"].values())
        assert LABEL.fullmatch(one["metadata"]["labels"]["app.kubernetes.io/instance"])


def test_two_sites_of_one_cluster_share_no_namespace(tmp_path):
    sites = ["dc-1", "dc_1", "DC-1", "dc-1-", "x" * 63, "x" * 62, "X" * 63]
    names = [objects(smoke(tmp_path, site=f'"{site}"'))[0]["metadata"]["name"] for site in sites]
    assert len(set(names)) == len(sites)


@pytest.fixture
def pod(tmp_path):
    """A pod's namespace on a LAN with its gateway, and the shell and the tools of the image's busybox."""
    name = f"smoke{os.getpid():x}"
    pod, gateway = f"{name}p", f"{name}g"
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for tool in ("sh", "ip", "nc", "awk", "wget"):
        (bin_directory / tool).symlink_to(shutil.which("busybox"))
    try:
        for namespace in (pod, gateway):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
        for line in (
            f"-n {pod} link add eth0 type veth peer name eth0 netns {gateway}",
            *(f"-n {namespace} link set {link} up" for namespace in (pod, gateway) for link in ("lo", "eth0")),
            f"-n {pod} addr add 10.0.0.16/24 dev eth0",
            f"-n {gateway} addr add 10.0.0.254/24 dev eth0",
            f"-n {pod} addr add fd00:10::16/64 dev eth0 nodad",
            f"-n {gateway} addr add fd00:10::fe/64 dev eth0 nodad",
        ):
            subprocess.run(["ip", *line.split()], check=True)

        def run(command, *routes):
            for route in routes:
                subprocess.run(["ip", "-n", pod, *route.split()], check=True)
            inside = ["ip", "netns", "exec", pod, "env", "-i", f"PATH={bin_directory}", *command]
            return subprocess.run(inside, capture_output=True, text=True, timeout=20, check=False).returncode

        yield run, gateway
    finally:
        for namespace in (pod, gateway):
            subprocess.run(["ip", "netns", "del", namespace], check=False)


def readiness(tmp_path):
    (tmp_path / "site").mkdir()
    (only,) = daemon_sets(smoke(tmp_path / "site", **KINDS["no host does"]))
    return container(only)["readinessProbe"]["exec"]["command"]


@pytest.mark.kernel
@pytest.mark.parametrize("route", ["route add default via 10.0.0.254", "-6 route add default via fd00:10::fe"])
def test_a_pod_without_host_access_is_ready_while_its_gateway_has_a_mac(pod, tmp_path, route):
    run, gateway = pod
    command = readiness(tmp_path)
    assert run(command, route) == 0
    subprocess.run(["ip", "-n", gateway, "addr", "flush", "dev", "eth0"], check=True)
    assert run(command, "neigh flush all") != 0


@pytest.mark.kernel
def test_a_pod_without_a_gateway_has_nothing_to_ask(pod, tmp_path):
    run, _ = pod
    assert run(readiness(tmp_path)) == 0
