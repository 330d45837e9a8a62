"""Each container runtime is told where podlan's files are, in its own words, where it would look elsewhere."""

from __future__ import annotations

import subprocess
import tomllib

import pytest
from blueprints import blueprint
from hypothesis import given
from hypothesis import strategies as st

from podlan.plan import Runtime, may_write
from podlan.render._runtime import runtime, runtime_facts

ELSEWHERE = {"confDir": "/etc/cni/podlan.d", "binDir": "/usr/lib/cni"}
DEFAULTS = {"confDir": "/etc/cni/net.d", "binDir": "/opt/cni/bin"}
CONTAINERD = "/etc/containerd/conf.d/20-podlan.toml"
CRI_O = "/etc/crio/crio.conf.d/20-podlan.conf"
CRI_DOCKERD = "/etc/systemd/system/cri-docker.service.d/20-podlan.conf"


def rendered(cluster, cni=None, **keywords):
    return list(runtime(blueprint({"kubernetes": "1.31", **cluster}, cni, **keywords)))


@pytest.mark.parametrize(
    ("cluster", "cni", "path", "unit"),
    [
        ({}, {}, None, None),
        ({}, ELSEWHERE, None, None),
        ({"runtimeVersion": "1.6"}, ELSEWHERE, None, None),
        ({"runtimeVersion": "1.7.27"}, ELSEWHERE, None, None),
        ({"runtimeVersion": "2.1"}, {}, None, None),
        ({"runtimeVersion": "2.0"}, ELSEWHERE, CONTAINERD, "containerd.service"),
        ({"runtimeVersion": "2.1"}, {"binDir": "/usr/lib/cni"}, CONTAINERD, "containerd.service"),
        ({"runtimeVersion": "2.1", "distribution": "k3s"}, ELSEWHERE, None, None),
        ({"runtimeVersion": "2.1", "distribution": "rke2"}, ELSEWHERE, None, None),
        ({"runtime": "cri-o"}, {}, CRI_O, "crio.service"),
        ({"runtime": "cri-o", "kubernetes": "1.19"}, ELSEWHERE, CRI_O, "crio.service"),
        ({"runtime": "docker"}, {}, None, None),
        ({"runtime": "docker"}, ELSEWHERE, CRI_DOCKERD, "cri-docker.service"),
        ({"runtime": "docker", "kubernetes": "1.24"}, ELSEWHERE, CRI_DOCKERD, "cri-docker.service"),
        ({"runtime": "docker", "kubernetes": "1.23"}, ELSEWHERE, None, None),
    ],
)
def test_a_drop_in_stands_only_where_the_runtime_reads_it_and_needs_it(cluster, cni, path, unit):
    """containerd 1.x would take it for its whole configuration, and dockershim has the kubelet's flags."""
    files = [artifact.file for artifact in rendered(cluster, cni)]
    assert [(file.path, *file.restart) for file in files] == ([] if path is None else [(path, unit)])
    assert all(may_write(file.path) for file in files)


PATHS = st.from_regex(r"(/[A-Za-z0-9_][A-Za-z0-9_.+-]{0,12}){1,5}", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(conf=PATHS, binaries=PATHS)
def test_containerd_reads_both_directories_in_the_form_of_its_version(conf, binaries):
    for version, keys in (("2.0", {"bin_dir"}), ("2.1.4", {"bin_dirs"})):
        cni = {"confDir": conf, "binDir": binaries}
        if cni == DEFAULTS:
            continue
        (artifact,) = rendered({"runtimeVersion": version}, cni)
        document = tomllib.loads(artifact.content.decode())
        assert document.pop("version") == 3
        section = document["plugins"]["io.containerd.cri.v1.runtime"]["cni"]
        assert section.keys() <= {"conf_dir", *keys}
        assert section.get("conf_dir", DEFAULTS["confDir"]) == conf
        assert section.get("bin_dirs", [section.get("bin_dir", DEFAULTS["binDir"])])[0] == binaries


def test_containerd_is_told_only_what_differs_and_keeps_its_default_for_the_loopback_plugin():
    """It refuses bin_dirs beside a bin_dir, which an older config.toml may hold."""
    for cni, expected in (
        ({"confDir": "/etc/cni/podlan.d"}, {"conf_dir": "/etc/cni/podlan.d"}),
        ({"binDir": "/usr/lib/cni"}, {"bin_dirs": ["/usr/lib/cni", "/opt/cni/bin"]}),
    ):
        (artifact,) = rendered({"runtimeVersion": "2.2"}, cni)
        document = tomllib.loads(artifact.content.decode())
        assert document["plugins"]["io.containerd.cri.v1.runtime"]["cni"] == expected


@given(conf=PATHS, binaries=PATHS, name=NAMES)
def test_cri_o_is_told_the_network_by_name_so_that_no_other_file_becomes_it(conf, binaries, name):
    (artifact,) = rendered({"runtime": "cri-o"}, {"confDir": conf, "binDir": binaries, "name": name})
    section = tomllib.loads(artifact.content.decode())["crio"]["network"]
    assert section["cni_default_network"] == name
    assert section["network_dir"] == conf
    assert section.get("plugin_dirs", ["/opt/cni/bin"])[0] == binaries


def test_with_multus_in_front_cri_o_s_default_network_is_left_to_it():
    (artifact,) = rendered({"runtime": "cri-o"}, secondary=True)
    section = tomllib.loads(artifact.content.decode())["crio"]["network"]
    assert "cni_default_network" not in section


def test_systemd_takes_the_drop_in_of_cri_dockerd(tmp_path):
    """The command line of the unit is replaced: ExecStart= alone would add a second one, which systemd refuses."""
    (artifact,) = rendered({"runtime": "docker"}, ELSEWHERE)
    units = tmp_path / "etc/systemd/system"
    (units / "cri-docker.service.d").mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir(parents=True)
    program = tmp_path / "usr/bin/cri-dockerd"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    unit = units / "cri-docker.service"
    unit.write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nExecStart=/usr/bin/cri-dockerd --x\n", encoding="utf-8"
    )
    file = tmp_path / artifact.file.path.lstrip("/")

    def verified() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemd-analyze", f"--root={tmp_path}", "verify", "cri-docker.service"],
            capture_output=True,
            text=True,
            check=False,
        )

    file.write_bytes(artifact.content)
    done = verified()
    assert (done.returncode, done.stderr) == (0, "")
    file.write_bytes(artifact.content.replace(b"ExecStart=\n", b""))
    assert "more than one ExecStart=" in verified().stderr


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, Runtime("containerd", "/etc/cni/podlan.d", "/usr/lib/cni")),
        ({"runtimeVersion": "1.7"}, Runtime("containerd", "/etc/cni/podlan.d", "/usr/lib/cni", "1.7.0")),
        ({"runtime": "cri-o"}, Runtime("cri-o", "/etc/cni/podlan.d", "/usr/lib/cni")),
        ({"runtime": "docker", "kubernetes": "1.9"}, Runtime("docker", "/etc/cni/podlan.d", "/usr/lib/cni")),
    ],
)
def test_the_plan_always_says_where_the_runtime_must_look(cluster, expected):
    assert runtime_facts(blueprint({"kubernetes": "1.31", **cluster}, ELSEWHERE)) == expected
