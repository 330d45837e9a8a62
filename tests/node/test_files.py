"""Files of a plan on a node: written whole or not at all, and never through a symbolic link."""

import os
import shlex
import subprocess
from dataclasses import replace

import pytest
from lan import NONE_PLAN, SHIM_PLAN

from podlan.node.files import SUFFIX, NotPlain, Root
from podlan.plan import EnvFlags, File

CNI = "/etc/cni/net.d/05-podlan.conflist"
KUBELET = "/etc/default/kubelet"
UNIT = "/etc/systemd/system/podlan-reconcile.service"
WANTS = "/etc/systemd/system/multi-user.target.wants/podlan-reconcile.service"
SOURCES = {f"rootfs{CNI}": b'{"plugins": []}\n', f"rootfs{UNIT}": b"[Unit]\n"}
PLAN = replace(
    NONE_PLAN,
    files=(
        File(CNI, source=f"rootfs{CNI}"),
        File(
            KUBELET,
            env_flags=EnvFlags("KUBELET_EXTRA_ARGS", ("--node-ip=172.16.129.101",)),
            restart=("kubelet.service",),
        ),
        File("/etc/rc.local", mode="0755", block=("/bin/sh /etc/podlan/node/boot.sh",)),
        File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",)),
    ),
)
on_the_kernel = pytest.mark.kernel


def tree(root):
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or path.is_file()) and "run/podlan" not in str(path)
    }


@on_the_kernel
def test_files_stand_below_the_root_and_go_with_the_plan(net):
    kubelet = net.root / "etc/default/kubelet"
    kubelet.parent.mkdir(parents=True)
    kubelet.write_text('# others\nKUBELET_EXTRA_ARGS="--v=2"\n', encoding="utf-8")
    kubelet.chmod(0o600)
    os.chown(kubelet, 1, 2)
    before = tree(net.root)
    directory = net.directory(PLAN, SOURCES)

    done = net.reconcile(directory)
    made = tree(net.root)
    assert made["etc/cni/net.d/05-podlan.conflist"] == SOURCES[f"rootfs{CNI}"]
    assert kubelet.read_text(encoding="utf-8") == '# others\nKUBELET_EXTRA_ARGS="--v=2 --node-ip=172.16.129.101"\n'
    assert (kubelet.stat().st_mode & 0o777, kubelet.stat().st_uid, kubelet.stat().st_gid) == (0o600, 1, 2)
    assert os.access(net.root / "etc/rc.local", os.X_OK)
    assert made[WANTS[1:]] == UNIT
    assert made["etc/podlan/node/plan.json"] == (directory / "plan.json").read_bytes()
    assert "to do by hand: systemctl try-restart kubelet.service" in done.stdout

    assert net.reconcile(directory).stdout.startswith("nothing to do")
    assert net.reconcile(net.root / "etc/podlan/node").stdout.startswith("nothing to do")
    assert net.reconcile().stdout.startswith("nothing to do")
    assert tree(net.root) == made

    net.reconcile(NONE_PLAN)
    after = tree(net.root)
    assert after["etc/default/kubelet"] == before["etc/default/kubelet"]
    assert not {CNI[1:], UNIT[1:], WANTS[1:]} & set(after)
    assert "etc/rc.local" not in after, "podlan had made it"


@on_the_kernel
def test_the_lines_of_a_dry_run_make_the_same_files(net):
    directory = net.directory(PLAN, SOURCES)
    net.run("node", "sh", "-e", "-c", net.reconcile(directory, "--dry-run").stdout)
    assert net.reconcile(directory).stdout.startswith("nothing to do")


@on_the_kernel
def test_a_file_that_others_changed_is_not_removed(net):
    net.reconcile(net.directory(PLAN, SOURCES))
    (net.root / CNI[1:]).write_text("mine\n", encoding="utf-8")
    done = net.reconcile(NONE_PLAN)
    assert "PL616" in done.stderr
    assert (net.root / CNI[1:]).read_text(encoding="utf-8") == "mine\n"


@on_the_kernel
@pytest.mark.parametrize("where", [CNI, "/etc/cni/net.d", "/etc/cni", WANTS.rpartition("/")[0]])
def test_nothing_is_written_through_a_symbolic_link(net, where):
    elsewhere = net.home / "elsewhere"
    elsewhere.mkdir()
    link = net.root / where[1:]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    before = tree(net.root)
    done = net.reconcile(net.directory(PLAN, SOURCES), code=1)
    assert "symbolic link" in done.stderr
    assert tree(net.root) == before
    assert not list(elsewhere.iterdir())


@on_the_kernel
def test_a_full_disk_loses_nothing(net):
    directory = net.directory(replace(SHIM_PLAN, files=PLAN.files), SOURCES)
    state = net.state()
    room = net.home / "small"
    room.mkdir()
    program = shlex.join(net.reconcile_argv(directory, root=room)[4:])
    script = (
        f"mount -t tmpfs -o size=96k,mode=755 none {room} && mkdir -p {room}/etc/default && "
        f"echo 'KUBELET_EXTRA_ARGS=--v=2' > {room}/etc/default/kubelet && "
        f"dd if=/dev/zero of={room}/filler bs=4k count=PAGES status=none; "
        f"{program}; echo code $?; cat {room}/etc/default/kubelet; find {room} -name '*{SUFFIX}*'"
    )
    codes = set()
    for pages in (16, 18, 20, 22):
        argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-c")
        done = subprocess.run([*argv, script.replace("PAGES", str(pages))], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        lines = done.stdout.splitlines()
        code = next(line for line in lines if line.startswith("code"))
        codes.add(code)
        assert code in ("code 1", "code 4"), done
        assert "No space left" in done.stderr
        assert lines[lines.index(code) + 1 :] == ["KUBELET_EXTRA_ARGS=--v=2"]
        assert net.state() == state
    assert codes == {"code 1", "code 4"}


def test_an_unfinished_file_of_a_killed_run_is_overwritten(tmp_path):
    (tmp_path / f"file{SUFFIX}").write_text("half", encoding="utf-8")
    Root(str(tmp_path)).write("/file", b"whole", 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["/a/../b", "relative", "/", "/a/./b"])
def test_a_path_that_could_lead_elsewhere_is_refused(tmp_path, path):
    with pytest.raises(NotPlain):
        Root(str(tmp_path)).write(path, b"", 0o644)


def test_a_directory_is_never_replaced(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(NotPlain):
        Root(str(tmp_path)).write("/file", b"", 0o644)
