"""What the rules about kubelets and runtimes advise is what works on that version."""

from __future__ import annotations

import pytest

from podlan import pipeline
from podlan.diagnostics import Severity
from podlan.inventory import Version
from podlan.inventory.kubelet_tables import flags

NO_DOCKERSHIM = (
    "the container runtime reads the CNI files itself, where its own configuration says"
    " (gone by 1.24: kubernetes/kubernetes#106907)"
)


def findings(project, cluster: str, cni: str = "{name: pods}"):
    project.change('cluster: {kubernetes: "1.31"}', f"cluster: {{{cluster}}}")
    project.change("cni: {name: pods}", f"cni: {cni}")
    return [finding for finding in pipeline.check(project.site).findings if finding.code != "PL219"]


@pytest.mark.parametrize(
    ("cluster", "code", "hint"),
    [
        (
            'kubernetes: "1.24", kubelet: {flags: {network-plugin: cni}}',
            "PL410",
            NO_DOCKERSHIM,
        ),
        ('kubernetes: "1.20", kubelet: {flags: {memory-manager-policy: Static}}', "PL410", "leave it out before 1.21"),
        ('kubernetes: "1.20", kubelet: {flags: {pod-per-core: "1"}}', "PL410", "did you mean --pods-per-core?"),
        ('kubernetes: "1.31", kubelet: {flags: {zzz: "1"}}', "PL410", "ask it: kubelet --help | grep -e --zzz"),
        ('kubernetes: "1.31", kubelet: {config: {podPerCore: 1}}', "PL411", "did you mean podsPerCore?"),
        ('kubernetes: "1.31", kubelet: {config: {zzz: 1}}', "PL411", "leave it out"),
        (
            'kubernetes: "1.31", kubelet: {config: {userNamespaces: {}}}',
            "PL411",
            "it came with 1.33: leave it out until then",
        ),
        (
            'kubernetes: "1.31", kubelet: {flags: {max-pods: "9"}}',
            "PL412",
            "leave it out, and use cluster.maxPods",
        ),
        (
            'kubernetes: "1.29", kubelet: {config: {podsPerCore: 1, shutdownGracePeriod: 30s}}',
            "PL413",
            "write it in kubelet.flags: pods-per-core for podsPerCore",
        ),
        (
            'kubernetes: "1.24", kubelet: {config: {topologyManagerPolicyOptions: {}}}',
            "PL413",
            "leave it out before 1.30",
        ),
        (
            'kubernetes: "1.29", kubelet: {flags: {eviction-hard: "memory.available<1Gi"}}',
            "PL417",
            "write it as evictionHard in kubelet.config, which takes any value",
        ),
        (
            'kubernetes: "1.31", kubelet: {config: {podsPerCore: "10"}}',
            "PL418",
            "write it without quotes",
        ),
        (
            'kubernetes: "1.31", kubelet: {config: {featureGates: {A: sure}}}',
            "PL418",
            "write true or false",
        ),
        (
            'kubernetes: "1.31", kubelet: {config: {cpuManagerPolicyOptions: {full-pcpus-only: true}}}',
            "PL418",
            'write it in quotes, as "true"',
        ),
    ],
)
def test_a_finding_says_what_to_write_instead(project, cluster, code, hint):
    (finding,) = findings(project, cluster)
    assert (finding.code, finding.hint) == (code, hint)


def test_containerd_1_is_told_by_hand_in_the_words_of_its_own_file(project):
    (finding,) = findings(project, 'kubernetes: "1.31", runtimeVersion: "1.7"', "{name: pods, binDir: /usr/lib/cni}")
    assert finding.code == "PL420"
    assert '[plugins."io.containerd.grpc.v1.cri".cni]: bin_dir = "/usr/lib/cni"' in finding.hint


KUBEADM = {
    "bootstrap-kubeconfig": (9, 99),
    "cgroup-driver": (9, 99),
    "cni-bin-dir": (9, 23),
    "config": (9, 99),
    "container-runtime": (9, 26),
    "container-runtime-endpoint": (9, 99),
    "fail-swap-on": (9, 99),
    "hostname-override": (9, 99),
    "kubeconfig": (9, 99),
    "network-plugin": (9, 23),
    "node-ip": (9, 99),
    "node-labels": (9, 99),
    "pod-infra-container-image": (9, 34),
    "register-with-taints": (9, 99),
    "rotate-certificates": (9, 99),
}
"""Flags that kubeadm and its users write, and the minor releases between which kubelets took them."""


@pytest.mark.parametrize("name", KUBEADM)
def test_a_flag_of_every_day_is_refused_by_the_releases_that_lack_it_and_by_no_other(name):
    first, last = KUBEADM[name]
    taken = [minor for minor in range(9, 41) if not flags().missing(name, Version(1, minor, 3))]
    assert taken == list(range(first, min(last, 40) + 1))


@pytest.mark.parametrize(
    ("cluster", "node", "code"),
    [
        ('kubernetes: "1.31", kubelet: {flags: {zzz: "1"}}', 'kubernetes: "1.20"', "PL410"),
        ('kubernetes: "1.99", kubelet: {config: {zzz: 1}}', 'kubernetes: "1.32"', "PL411"),
        ('kubernetes: "1.31", runtimeVersion: "2.1"', 'runtimeVersion: "1.7"', "PL420"),
    ],
)
def test_a_note_about_one_node_does_not_hide_what_is_worse_on_the_next(project, cluster, node, code):
    project.change("{address: 10.0.0.2}", f"{{address: 10.0.0.2, cluster: {{{node}}}}}")
    said = findings(project, cluster, "{name: pods, binDir: /usr/lib/cni}" if code == "PL420" else "{name: pods}")
    severities = [finding.severity for finding in said if finding.code == code]
    worse = Severity.WARNING if code == "PL420" else Severity.ERROR
    assert severities == [Severity.NOTE, worse]


def test_a_node_s_own_flags_are_laid_over_the_site_s(project):
    project.change('kubernetes: "1.31"', 'kubernetes: "1.31", kubelet: {flags: {v: "2"}, labels: {rack: r1}}')
    project.change("{address: 10.0.0.1}", '{address: 10.0.0.1, cluster: {kubelet: {labels: {row: "7"}}}}')
    result = pipeline.compile_site(project.site, project.out, write=False)
    assert not [finding for finding in result.checked.findings if finding.severity is not Severity.NOTE]
    assert b'"--node-labels=rack=r1,row=7"' in result.nodes["node-1"]["plan.json"]
    assert b'"--v=2"' in result.nodes["node-1"]["plan.json"]
    assert b'"--node-labels=rack=r1"' in result.nodes["node-2"]["plan.json"]


LONG = ".".join(["a" * 49] * 5)
"""A DNS name of 249 characters."""
LABEL = "write a label's name: "
TAINT = "write a taint as key=value:effect or key:effect"


@pytest.mark.parametrize("prefix", ["a..b", "a-.b", "a.-b", ".a", "a.", "A", f"{LONG}.aaaa"])
def test_a_prefix_that_the_api_server_refuses_is_no_name_of_a_label_or_taint(project, prefix):
    said = findings(
        project, f"""kubernetes: "1.31", kubelet: {{labels: {{{prefix}/x: y}}, taints: ["{prefix}/x:NoExecute"]}}"""
    )
    assert [finding.code for finding in said] == ["PL104", "PL104"]
    assert said[0].hint.startswith(LABEL)
    assert said[1].hint.startswith(TAINT)


@pytest.mark.parametrize("prefix", ["a.b", "a--b.c", "9", f"{LONG}.aaa"])
def test_a_prefix_that_is_a_dns_name_stands_before_the_name_of_a_label_or_taint(project, prefix):
    kubelet = f"""{{labels: {{{prefix}/x: y}}, taints: ["{prefix}/x=:NoExecute"]}}"""
    assert not findings(project, f'kubernetes: "1.31", kubelet: {kubelet}')


@pytest.mark.parametrize(
    ("kubelet", "hint"),
    [
        ("labels: {x: a b}", "write a label's value: "),
        ("flags: {--v: '2'}", "write a flag's name without the dashes before it: "),
        ("flags: {v: 2 3}", "write a flag's value: "),
    ],
)
def test_what_may_stand_in_a_label_or_flag_is_said_in_words(project, kubelet, hint):
    (finding,) = findings(project, f'kubernetes: "1.31", kubelet: {{{kubelet}}}')
    assert finding.code == "PL104"
    assert finding.hint.startswith(hint)
