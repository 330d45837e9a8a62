"""Where others can write, or links lead elsewhere, podlan believes nothing, and writes nothing outside of its root."""

import os

import pytest
from lan import NONE_PLAN, SHIM_PLAN

from podlan.plan import File, Plan

pytestmark = pytest.mark.kernel

FILE = Plan("node-1", files=(File("/etc/cni/net.d/05-x.conf", source="x"),))


def applied(net):
    net.reconcile(SHIM_PLAN)
    return net.state()


@pytest.mark.parametrize("path", ["var/lib/podlan", "var/lib", "etc/podlan", "run", "var/lib/podlan/state.json"])
@pytest.mark.parametrize("how", ["mode", "owner"])
def test_what_podlan_remembers_counts_only_where_nobody_else_can_write_it(net, path, how):
    before = applied(net)
    place = net.root / path
    if how == "mode":
        place.chmod(0o777)
    else:
        os.chown(place, 65534, 65534)
    for options in ([], ["--check"]):
        error = net.reconcile(NONE_PLAN, *options, code=4).stderr
        assert f"{place} belongs to user 65534" in error or f"others can write {place}" in error
    assert net.state() == before


@pytest.mark.parametrize("path", ["etc", "etc/podlan", "run", "run/podlan", "var/lib/podlan"])
def test_a_root_whose_directories_lead_elsewhere_is_refused_before_anything_is_written(net, tmp_path, path):
    """An image that others made: its links must not have this machine's own files changed."""
    outside = tmp_path / "outside"
    for name in ("podlan/node.podlan-tmp", "node.podlan-tmp"):
        (outside / name).mkdir(parents=True)
        (outside / name / "mine").touch()
    link = net.root / path
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    for options in ([], ["--check"]):
        assert f"{link} is a symbolic link" in net.reconcile(SHIM_PLAN, *options, code=4).stderr
    assert sorted(outside.rglob("*")) == before


def test_a_copy_that_others_can_write_is_made_anew(net):
    net.reconcile(SHIM_PLAN)
    copy = net.root / "etc/podlan/node"
    os.chown(copy / "boot.sh", 65534, 65534)
    assert "belongs to user 65534" in net.reconcile(None, code=4).stderr
    assert "+ mkdir -p" in net.reconcile(SHIM_PLAN).stdout
    assert (copy / "boot.sh").stat().st_uid == 0
    net.reconcile(None, "--check")


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "a terabyte"])
def test_what_others_put_in_the_place_of_a_file_neither_hangs_nor_fills_the_memory(net, kind):
    """/etc/cni/net.d may be another user's: kubespray's is."""
    place = net.root / "etc/cni/net.d/05-x.conf"
    place.parent.mkdir(parents=True)
    os.chown(place.parent, 65534, 65534)
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "device":
            os.mknod(place, 0o20666, os.makedev(1, 5))
        case "directory":
            place.mkdir()
        case _:
            place.touch()
            os.truncate(place, 1 << 40)
    error = net.reconcile(net.directory(FILE, {"x": b"{}"}), code=1).stderr
    assert f"{place} cannot be brought into line" in error
    assert "PL617" in error


def test_a_hard_link_is_replaced_and_never_written_through(net, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine", encoding="utf-8")
    place = net.root / "etc/cni/net.d/05-x.conf"
    place.parent.mkdir(parents=True)
    os.link(mine, place)
    os.link(mine, place.with_name("05-x.conf.podlan-tmp"))
    net.reconcile(net.directory(FILE, {"x": b"{}"}))
    assert place.read_bytes() == b"{}"
    assert mine.read_text(encoding="utf-8") == "mine"
