"""Plugins that the nodes install: what the plan says of the archive, and what the boot's unit must be able to write."""

import json

from podlan.node.directory import load
from podlan.plan import Release

DIGEST = "c2485ddb3ffc176578ae30ae58137f0b88e50f7c7f2af7d53a569276b2949a33"
URL = "https://mirror.example.com/cni-plugins.tgz"
PLUGINS = f'plugins: {{version: "1.4.0", url: "{URL}", sha256: {DIGEST}}}'


def compiled(project, cni):
    project.change("cni: {name: pods}", f"cni: {{name: pods, {cni}}}")
    project.compile()
    node = project.out / "nodes/node-1"
    return node, json.loads((node / "plan.json").read_text(encoding="utf-8"))


def test_a_plan_names_the_archive_and_every_plugin_that_pods_need(project):
    _, plan = compiled(project, PLUGINS)
    assert plan["release"] == {
        "version": "1.4.0",
        "url": URL,
        "sha256": DIGEST,
        "directory": "/opt/cni/bin",
        "names": ["macvlan", "host-local", "loopback"],
    }
    assert [path.rpartition("/")[2] for path in plan["cni"]["plugins"]] == ["macvlan", "host-local"]


def test_a_plan_without_an_archive_installs_nothing(project):
    _, plan = compiled(project, 'plugins: {version: "1.4.0"}')
    assert "release" not in plan


def test_the_unit_of_the_boot_may_write_the_plugins_directory(project):
    node, _ = compiled(project, f"binDir: /usr/lib/cni, {PLUGINS.replace('1.4.0', '1.1.1')}")
    unit = (node / "rootfs/etc/systemd/system/podlan-reconcile.service").read_text(encoding="utf-8")
    places = next(line for line in unit.splitlines() if line.startswith("ReadWritePaths="))
    assert "-/usr/lib/cni" in places.removeprefix("ReadWritePaths=").split()


def test_a_node_takes_the_plan_that_the_compiler_gives(project):
    node, _ = compiled(project, PLUGINS)
    assert load(str(node)).plan.release == Release(
        "1.4.0", URL, DIGEST, "/opt/cni/bin", ("macvlan", "host-local", "loopback")
    )
