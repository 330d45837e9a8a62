"""Plugin binaries from an archive: believed only with its digest, installed whole or not at all, never over others'."""

import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faults import calls_of, traced
from lan import NONE_PLAN, SHIM_PLAN

from podlan.node.directory import load
from podlan.node.fetch import NotFetched, WrongArchive, binaries
from podlan.node.files import SUFFIX, Root
from podlan.plan import BadPlan, Cni, File, Release

CNI = "/etc/cni/net.d/05-podlan.conflist"
BIN = "/opt/cni/bin"
NAMES = ("macvlan", "host-local")
SOURCES = {f"rootfs{CNI}": b'{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "macvlan"}]}\n'}
MIRROR = "198.51.100.1"  # on the gateway
on_the_kernel = pytest.mark.kernel


def archive(contents, mode="w:gz", prefix="./"):
    """Give a tar of these files; a content that is a tarfile type makes a member of that type."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for name, content in contents:
            member = tarfile.TarInfo(prefix + name)
            if content in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
                member.type, member.linkname = content, "/etc/shadow"
                tar.addfile(member)
            else:
                member.size, member.mode = len(content), 0o600
                tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def binary(name, version):
    return f"#!/bin/sh\necho {name} {version}\n".encode()


@functools.cache  # an archive made later has another digest
def plugins(version, **options):
    contents = [(name, binary(name, version)) for name in (*NAMES, "bridge", "LICENSE")]
    return archive(contents, **options)


def release(content, url, **changes):
    return replace(Release("1.4.0", url, hashlib.sha256(content).hexdigest(), BIN, NAMES), **changes)


def with_release(plan, wanted):
    cni = Cni(CNI, tuple(f"{BIN}/{name}" for name in NAMES))
    return replace(plan, files=(File(CNI, source=f"rootfs{CNI}"),), cni=cni, release=wanted)


def installed(net):
    directory = net.root / BIN[1:]
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


def versions(version):
    return {name: binary(name, version) for name in NAMES}


class Local:
    """An archive on the node itself, and directories of plans that want it."""

    def __init__(self, net):
        self.net = net
        self.file = net.root / "srv/plugins.tgz"
        self.file.parent.mkdir(parents=True)

    def directory(self, version, plan=NONE_PLAN, **changes):
        content = plugins(version)
        self.file.write_bytes(content)
        wanted = release(content, "file:///srv/plugins.tgz", **changes)
        return self.net.directory(with_release(plan, wanted), SOURCES)


@pytest.fixture
def local(net):
    return Local(net)


@contextlib.contextmanager
def mirror(net, files):
    """Serve files from the gateway's namespace, which the node reaches through its default route."""
    directory = net.home / "mirror"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    argv = net.argv("gw", sys.executable, "-u", "-m", "http.server", "--bind", MIRROR, "--directory", directory, "8080")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert "Serving" in server.stdout.readline()
        try:
            yield f"http://{MIRROR}:8080"
        finally:
            server.terminate()


@on_the_kernel
def test_missing_plugins_come_from_the_mirror_before_the_cni_file_and_once(net):
    content = plugins("1.4.0")
    with mirror(net, {"plugins.tgz": content}) as url:
        directory = net.directory(with_release(SHIM_PLAN, release(content, f"{url}/plugins.tgz")), SOURCES)
        done = net.reconcile(directory)
    assert done.stderr == ""
    assert done.stdout.index("curl -fsSL") < done.stdout.index("05-podlan.conflist")
    assert done.stdout.index("ip link add") < done.stdout.index("curl -fsSL")
    assert installed(net) == versions("1.4.0")
    for name in NAMES:
        found = (net.root / BIN[1:] / name).stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o755, 0, 0)
    assert net.reconcile(directory).stdout == "nothing to do: node-1 is as planned\n", "and the mirror is gone"


@on_the_kernel
def test_the_real_plugins_start_from_where_they_were_installed(net, local):
    content = archive([(name, (Path("/usr/lib/cni") / name).read_bytes()) for name in NAMES])
    directory = local.directory("1.4.0")
    local.file.write_bytes(content)
    plan = replace(load(str(directory)).plan, release=release(content, "file:///srv/plugins.tgz"))
    net.reconcile(net.directory(plan, SOURCES))
    for name in NAMES:
        environment = {"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]}
        said = net.run("node", net.root / BIN[1:] / name, env=environment, input='{"cniVersion": "1.0.0"}').stdout
        assert "1.0.0" in json.loads(said)["supportedVersions"]


@on_the_kernel
def test_a_preview_shows_the_installation_and_fetches_nothing(net, local):
    directory = local.directory("1.4.0")
    local.file.unlink()
    for option, code in (("--dry-run", 0), ("--check", 3)):
        done = net.reconcile(directory, option, code=code)
        assert "curl -fsSL" in done.stdout
        assert "PL611" not in done.stderr
    assert installed(net) == {}


@on_the_kernel
def test_the_lines_of_a_dry_run_install_the_same_binaries(net, local):
    directory = local.directory("1.4.0")
    net.run("node", "sh", "-e", "-c", net.reconcile(directory, "--dry-run").stdout)
    assert installed(net) == versions("1.4.0")
    assert net.reconcile(directory).stdout.startswith("nothing to do")
    shutil.rmtree(net.root / "opt")
    lines = net.reconcile(directory, "--dry-run").stdout
    local.file.write_bytes(plugins("6.6.6"))
    assert net.run("node", "sh", "-e", "-c", lines, check=False).returncode, "another archive"
    assert installed(net) == {}


@on_the_kernel
def test_plugins_of_others_are_left_alone(net, local):
    path = net.root / BIN[1:]
    path.mkdir(parents=True)
    (path / "macvlan").write_bytes(b"others'")
    net.reconcile(local.directory("1.4.0"))
    assert installed(net) == {"macvlan": b"others'", "host-local": binary("host-local", "1.4.0")}
    net.reconcile(local.directory("1.5.0"))
    assert installed(net) == {"macvlan": b"others'", "host-local": binary("host-local", "1.5.0")}


@on_the_kernel
def test_another_archive_replaces_what_podlan_installed(net, local):
    net.reconcile(local.directory("1.4.0"))
    assert "curl" in net.reconcile(local.directory("1.5.0")).stdout
    assert installed(net) == versions("1.5.0")
    assert "curl" in net.reconcile(local.directory("1.4.0")).stdout, "and back"
    assert installed(net) == versions("1.4.0")


@on_the_kernel
def test_a_plugin_that_others_changed_since_is_left_and_told(net, local):
    net.reconcile(local.directory("1.4.0"))
    (net.root / BIN[1:] / "macvlan").write_bytes(b"a package's")
    done = net.reconcile(local.directory("1.5.0"))
    assert "warning[PL634]" in done.stderr
    assert installed(net) == {"macvlan": b"a package's", "host-local": binary("host-local", "1.5.0")}
    (net.root / BIN[1:] / "macvlan").unlink()
    assert "PL634" not in net.reconcile(local.directory("1.5.0")).stderr
    assert installed(net) == versions("1.5.0")


@on_the_kernel
def test_a_copy_of_the_same_content_is_still_podlans(net, local):
    net.reconcile(local.directory("1.4.0"))
    path = net.root / BIN[1:] / "macvlan"
    os.utime(path, (1, 1))
    done = net.reconcile(local.directory("1.5.0"))
    assert done.stderr == ""
    assert installed(net) == versions("1.5.0")


@on_the_kernel
def test_plugins_that_the_plan_no_longer_brings_stay_and_are_told_once(net, local):
    net.reconcile(local.directory("1.4.0"))
    done = net.reconcile(NONE_PLAN)
    assert done.stderr.count("warning[PL635]") == 2
    assert installed(net) == versions("1.4.0")
    assert net.reconcile(NONE_PLAN).stderr == ""


@on_the_kernel
def test_podlan_knows_its_binaries_after_a_reboot(net, local):
    net.reconcile(local.directory("1.4.0"))
    state = net.root / "var/lib/podlan/state.json"
    text = state.read_text(encoding="utf-8")
    state.write_text(re.sub(r'"boot": "[^"]*"', '"boot": "another"', text), encoding="utf-8")
    net.reconcile(local.directory("1.5.0"))
    assert installed(net) == versions("1.5.0")


@on_the_kernel
def test_a_state_of_an_earlier_podlan_is_read(net):
    net.reconcile(SHIM_PLAN)
    path = net.root / "var/lib/podlan/state.json"
    text = path.read_text(encoding="utf-8")
    old = re.sub(r'\s*"(altnames|binaries)": \[\],', "", text)
    assert old.count("\n") == text.count("\n") - 2
    path.write_text(old, encoding="utf-8")
    assert net.reconcile(SHIM_PLAN).stdout.startswith("nothing to do")


@on_the_kernel
def test_without_the_archive_all_but_the_cni_file_is_done_and_the_run_is_to_be_repeated(net, local):
    directory = local.directory("1.4.0", SHIM_PLAN)
    content = local.file.read_bytes()
    local.file.unlink()
    done = net.reconcile(directory, "-q", code=75)
    assert done.stderr.startswith("error[PL631]: ")
    assert f"{net.root}{BIN}/macvlan, {net.root}{BIN}/host-local cannot be installed: file:///srv" in done.stderr
    assert "macvlan0" in net.ip("link")
    assert not (net.root / CNI[1:]).exists()
    again = net.reconcile(directory, code=75)
    assert "nothing to do" not in again.stdout
    assert "# the next run tries again: (set -e; " in again.stdout
    net.reconcile(directory, "--check", code=3)
    local.file.write_bytes(content)
    net.reconcile(directory)
    assert installed(net) == versions("1.4.0")
    assert (net.root / CNI[1:]).exists()


@on_the_kernel
def test_a_mirror_that_is_down_at_boot_stops_nothing_when_the_plugins_are_there(net):
    """The network is repaired, the old plugins stay, the run ends well, and the next one tries again."""
    content = plugins("1.4.0")
    with mirror(net, {"plugins.tgz": content}) as url:
        net.reconcile(net.directory(with_release(SHIM_PLAN, release(content, f"{url}/plugins.tgz")), SOURCES))
    net.ip("link", "del", "macvlan0")
    content = plugins("1.5.0")
    directory = net.directory(with_release(SHIM_PLAN, release(content, f"{url}/plugins.tgz")), SOURCES)
    started = time.monotonic()
    done = net.reconcile(directory)
    assert time.monotonic() - started < 5
    assert "warning[PL632]" in done.stderr
    assert "Connection refused" in done.stderr
    assert "macvlan0" in net.ip("link")
    assert installed(net) == versions("1.4.0")
    with mirror(net, {"plugins.tgz": content}):
        assert net.reconcile(directory).stderr == ""
    assert installed(net) == versions("1.5.0")


@on_the_kernel
def test_a_mirror_that_comes_up_late_is_waited_for(net):
    content = plugins("1.4.0")
    url = f"http://{MIRROR}:8080/plugins.tgz"
    directory = net.directory(with_release(NONE_PLAN, release(content, url)), SOURCES)
    argv = net.reconcile_argv(directory, "--wait", "60")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        time.sleep(1)
        with mirror(net, {"plugins.tgz": content}):
            output, errors = run.communicate()
    assert run.returncode == 0, (output, errors)
    assert installed(net) == versions("1.4.0")


@on_the_kernel
def test_an_archive_with_another_digest_is_refused(net, local):
    directory = local.directory("1.4.0", sha256="0" * 64)
    done = net.reconcile(directory, code=1)
    assert "error[PL633]" in done.stderr
    assert f"and the inventory says {'0' * 64}" in done.stderr
    assert installed(net) == {}
    assert not (net.root / CNI[1:]).exists()
    net.reconcile(local.directory("1.4.0"))
    done = net.reconcile(local.directory("1.5.0", sha256="0" * 64))
    assert "warning[PL632]" in done.stderr
    assert installed(net) == versions("1.4.0")


@on_the_kernel
def test_a_failing_run_puts_the_earlier_binaries_back(net, local):
    file = File("/etc/rc.local", block=("x",))
    for version in ("1.4.0", "1.5.0"):
        earlier = installed(net)
        directory = local.directory(version)
        plan = load(str(directory)).plan
        directory = net.directory(replace(plan, files=(*plan.files, file)), SOURCES)
        etc = net.root / "etc"
        etc.mkdir(exist_ok=True)
        program = shlex.join(net.reconcile_argv(directory)[4:])
        script = f"mount --bind {etc} {etc} && mount -o remount,bind,ro {etc} && exec {program}"
        argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-c", script)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        assert "failed, rolled back" in done.stderr
        assert installed(net) == earlier
        assert (net.root / "opt").exists() == bool(earlier), "directories of its own too"
        net.reconcile(directory)
        assert installed(net) == versions(version)


@on_the_kernel
@pytest.mark.parametrize(("call", "earlier"), [("renameat", False), ("renameat", True), ("fsync", True)])
def test_an_installation_killed_anywhere_is_finished_by_the_next(net, local, call, earlier):
    """At every rename and every fsync; each binary is whole at any time, and nothing is left beside it."""
    if earlier:
        net.reconcile(local.directory("1.4.0"))
    saved = net.home / "saved"
    shutil.copytree(net.root, saved, symlinks=True)
    directory = local.directory("1.5.0")
    total = len(calls_of(net, directory, calls=call)[0])
    assert total >= 6
    killed = 0
    for number in range(1, total + 1):
        shutil.rmtree(net.root)
        shutil.copytree(saved, net.root, symlinks=True, dirs_exist_ok=True)
        local.directory("1.5.0")
        done = traced(net, directory, f"inject={call}:signal=SIGKILL:when={number}", calls=call)
        killed += done.returncode == -signal.SIGKILL
        for name, content in installed(net).items():
            if not name.endswith(SUFFIX):
                assert content in (binary(name, "1.4.0"), binary(name, "1.5.0")), number
        assert (net.root / CNI[1:]).exists() <= set(NAMES).issubset(installed(net)), number
        done = net.reconcile(directory)
        # Killed between the journal and its guard, it is taken back by the next run, which has nothing to undo.
        assert done.stderr == "" or "taken back first, operations: 0" in done.stderr, number
        assert installed(net) == versions("1.5.0"), number
        assert not list(net.root.rglob(f"*{SUFFIX}*")), number
        assert net.reconcile(directory).stdout.startswith("nothing to do"), number
    assert killed >= total - 1


@on_the_kernel
@pytest.mark.parametrize("call", ["fsync", "renameat", "fchmod"])
def test_a_call_that_fails_leaves_no_half_installation(net, local, call):
    directory = local.directory("1.5.0")
    for number in range(1, 8):
        done = traced(net, directory, f"inject={call}:error=EIO:when={number}", calls=call)
        assert done.returncode in (0, 1, 4), done
        if done.returncode:
            assert installed(net) == {}, (number, done)
            assert not (net.root / CNI[1:]).exists()
        shutil.rmtree(net.root / "opt", ignore_errors=True)
        shutil.rmtree(net.root / "etc", ignore_errors=True)
        shutil.rmtree(net.root / "var", ignore_errors=True)


@on_the_kernel
def test_a_full_disk_leaves_no_half_installation(net):
    contents = [(name, os.urandom(100_000)) for name in NAMES]
    content = archive(contents)
    wanted = release(content, "file:///plugins.tgz")
    directory = net.directory(with_release(SHIM_PLAN, wanted), SOURCES)
    state = net.state()
    source = net.home / "plugins.tgz"
    source.write_bytes(content)
    room = net.home / "small"
    room.mkdir()
    program = shlex.join(net.reconcile_argv(directory, root=room)[4:])
    script = (
        f"mount -t tmpfs -o size=420k,mode=755 none {room} && cp {source} {room} && {program}; echo code $?; "
        f"find {room}/opt {room}/etc -type f 2>&1"
    )
    argv = net.argv("node", "unshare", "-m", "--propagation", "private", "sh", "-c", script)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "code 1\n" in done.stdout, done
    assert "No space left" in done.stderr
    assert "macvlan\n" not in done.stdout
    assert net.state() == state


@on_the_kernel
@pytest.mark.parametrize("where", ["opt", "opt/cni/bin", "opt/cni/bin/macvlan"])
def test_nothing_is_installed_through_a_symbolic_link(net, local, where):
    link = net.root / where
    link.parent.mkdir(parents=True, exist_ok=True)
    elsewhere = net.home / "elsewhere"
    if where != "opt/cni/bin/macvlan":
        elsewhere.mkdir()
    link.symlink_to(elsewhere)
    done = net.reconcile(local.directory("1.4.0"), code=1)
    assert "error[PL633]" in done.stderr
    assert "symbolic link" in done.stderr
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


@on_the_kernel
def test_a_link_to_a_plugin_that_is_there_is_a_plugin(net, local):
    """As the hint of PL611 recommends it."""
    path = net.root / BIN[1:]
    path.mkdir(parents=True)
    for name in NAMES:
        (path / name).symlink_to(Path("/usr/lib/cni") / name)
    assert "curl" not in net.reconcile(local.directory("1.4.0")).stdout


ARCHIVES = {
    "uncompressed": plugins("1", mode="w"),
    "gzip": plugins("1", mode="w:gz"),
    "bzip2": plugins("1", mode="w:bz2"),
    "xz": plugins("1", mode="w:xz"),
    "without ./": plugins("1", prefix=""),
}


def unpack(tmp_path, content, names=NAMES, **changes):
    (tmp_path / "a").write_bytes(content)
    return binaries(release(content, "file:///a", **changes), Root(str(tmp_path)), names, 0.0, patient=False)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_read_in_every_form_that_tar_writes(tmp_path, kind):
    assert unpack(tmp_path, ARCHIVES[kind]) == versions("1")


ELF = b"\x7fELF\x02\x01\x01" + bytes(11)
RANDOM = [(name, os.urandom(4000)) for name in NAMES]
UNFIT = {
    "no archive": (b"<html>log in first</html>", "cannot be unpacked"),
    "empty": (b"", "cannot be unpacked"),
    "cut short": (archive(RANDOM)[:3000], "cannot be unpacked"),
    "cut short, xz": (archive(RANDOM, mode="w:xz")[:3000], "cannot be unpacked"),
    "cut short, plain": (archive(RANDOM, mode="w")[:3000], "cannot be unpacked"),
    "a plugin is missing": (archive([("macvlan", b"x")]), "holds no host-local at its top"),
    "in a directory": (plugins("1", prefix="bin/"), "holds no macvlan, host-local at its top"),
    "absolute": (plugins("1", prefix="/"), "holds no macvlan, host-local at its top"),
    "above": (plugins("1", prefix="../"), "holds no macvlan, host-local at its top"),
    "a symbolic link": (archive([("macvlan", tarfile.SYMTYPE), ("host-local", b"x")]), "not a plain file"),
    "a hard link": (archive([("macvlan", tarfile.LNKTYPE), ("host-local", b"x")]), "not a plain file"),
    "a directory": (archive([("macvlan", tarfile.DIRTYPE), ("host-local", b"x")]), "not a plain file"),
    "a pipe": (archive([("macvlan", tarfile.FIFOTYPE), ("host-local", b"x")]), "not a plain file"),
    "an empty file": (archive([("macvlan", b""), ("host-local", b"x")]), "not a plain file"),
    "twice": (archive([("macvlan", b"x"), ("host-local", b"x"), ("macvlan", b"y")]), "holds macvlan twice"),
    "another machine's": (archive([("macvlan", ELF + b"\x16\x00"), ("host-local", b"x")]), "another kind of machine"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_an_archive_that_does_not_hold_the_plugins_is_refused(tmp_path, kind):
    content, words = UNFIT[kind]
    with pytest.raises(WrongArchive, match=words):
        unpack(tmp_path, content)


def test_the_digest_is_checked_before_anything_is_unpacked(tmp_path):
    with pytest.raises(WrongArchive, match="SHA-256"):
        unpack(tmp_path, b"no archive at all", sha256="0" * 64)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device"])
def test_what_is_no_file_is_not_an_archive(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(NotFetched, match=f"{path}"):
        binaries(release(b"", "file:///a"), Root(str(tmp_path)), NAMES, 0.0, patient=True)


class Server:
    """An HTTP server on loopback that answers each path as a function says, and counts the requests."""

    def __init__(self, answer, context=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):  # noqa: N805 - http.server's own
                self.asked += 1
                answer(self, handler)

            def log_message(self, *arguments):
                pass

        self.asked = 0
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def respond(handler, content=b"", status=200, length=None, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


GOOD = plugins("1")


def get(url, until=0.0, *, patient=False, **changes):
    return binaries(release(GOOD, url, **changes), Root(), NAMES, until, patient=patient)


@pytest.fixture(autouse=True)
def _quick_and_without_proxy(monkeypatch):
    monkeypatch.setattr("podlan.node.fetch._PAUSE", 0.01)
    monkeypatch.setattr("podlan.node.fetch._SILENCE", 0.5)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_a_server_that_fails_at_first_is_asked_again():
    def answer(server, handler):
        respond(handler, status=503) if server.asked < 3 else respond(handler, GOOD)

    with Server(answer) as server:
        assert get(server.url, patient=True) == versions("1")
        server.asked = 0
        with pytest.raises(NotFetched, match="HTTP 503"):
            get(server.url)
        assert server.asked == 1


def test_a_server_that_always_fails_is_asked_a_few_times_only():
    with Server(lambda _, handler: respond(handler, status=500)) as server:
        with pytest.raises(NotFetched, match="HTTP 500"):
            get(server.url, patient=True)
        assert server.asked == 3


def test_a_server_that_does_not_have_the_archive_is_asked_once():
    with Server(lambda _, handler: respond(handler, status=404)) as server:
        with pytest.raises(NotFetched, match="HTTP 404 Not Found"):
            get(server.url, time.monotonic() + 60, patient=True)
        assert server.asked == 1


def test_a_download_that_ends_early_is_no_wrong_archive():
    words = f"only 100 of {len(GOOD)} bytes came"
    cut = Server(lambda _, handler: respond(handler, GOOD[:100], length=len(GOOD)))
    with cut as server, pytest.raises(NotFetched, match=words):
        get(server.url)


def test_a_second_attempt_starts_anew():
    def answer(server, handler):
        respond(handler, GOOD[:100] if server.asked == 1 else GOOD, length=len(GOOD))

    with Server(answer) as server:
        assert get(server.url, patient=True) == versions("1")


def test_a_server_that_falls_silent_is_left():
    def answer(_, handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(GOOD[:10])
        handler.wfile.flush()
        time.sleep(1.5)

    with Server(answer) as server, pytest.raises(NotFetched, match="timed out"):
        get(server.url)


def test_a_server_that_only_drips_is_left(monkeypatch):
    monkeypatch.setattr("podlan.node.fetch._WHOLE", 0.3)

    def answer(_, handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(40):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)

    with Server(answer) as server, pytest.raises(NotFetched, match="did not come in time"):
        get(server.url)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_what_is_too_large_is_not_kept(monkeypatch, told):
    monkeypatch.setattr("podlan.node.fetch._LARGEST", 1 << 20)

    def answer(_, handler):
        handler.send_response(200)
        if told:
            handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(64):
                handler.wfile.write(bytes(1 << 16))

    with Server(answer) as server, pytest.raises(NotFetched, match="larger than 1 MiB"):
        get(server.url, patient=True)


def test_what_is_no_http_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a"

        def speak():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(NotFetched, match="SSH-2"):
            get(url)
        thread.join()


def test_a_redirect_is_followed_within_http():
    def answer(server, handler):
        if handler.path == "/a":
            respond(handler, status=302, Location=f"{server.url}/b")
        else:
            respond(handler, GOOD)

    with Server(answer) as server:
        assert get(f"{server.url}/a") == versions("1")


def test_redirects_end():
    with Server(lambda server, handler: respond(handler, status=302, Location=f"/{server.asked}")) as server:
        with pytest.raises(NotFetched, match="HTTP 302"):
            get(f"{server.url}/a", patient=True)
        assert server.asked <= 7


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x"])
def test_a_redirect_leads_to_no_other_scheme(target):
    with Server(lambda _, handler: respond(handler, status=302, Location=target)) as server:
        with pytest.raises(NotFetched, match="HTTP 302"):
            get(server.url, patient=True)
        assert server.asked == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mirror"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_redirect_from_https_to_http_is_refused(certificate, tls, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    plain = Server(lambda _, handler: respond(handler, GOOD))
    leading = Server(lambda _, handler: respond(handler, status=302, Location=plain.url), tls)
    with plain, leading, pytest.raises(NotFetched, match="leads from https to http"):
        get(leading.url)
    assert plain.asked == 0
    with Server(lambda _, handler: respond(handler, GOOD), tls) as server:
        assert get(server.url) == versions("1")


def test_a_certificate_that_nobody_vouches_for_is_refused(tls):
    with Server(lambda _, handler: respond(handler, GOOD), tls) as server:
        with pytest.raises(NotFetched, match="CERTIFICATE_VERIFY_FAILED"):
            get(server.url)
        assert server.asked == 0


def test_the_environments_proxy_is_used(monkeypatch):
    with Server(lambda _, handler: respond(handler, GOOD)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert get("http://mirror.invalid/plugins.tgz") == versions("1")
        assert proxy.asked == 1


BAD = {
    "another scheme": {"url": "ftp://x/a"},
    "a file of another host": {"url": "file://other/a"},
    "a URL with a line break": {"url": "http://x/a\nb"},
    "half a digest": {"sha256": "abc"},
    "a name with a path": {"names": ("../x",)},
    "an option as a name": {"names": ("-x",)},
    "no names": {"names": ()},
    "a place of the system's": {"directory": "/usr/bin"},
    "a place above": {"directory": "/opt/../usr/bin"},
    "a relative place": {"directory": "opt"},
}


@pytest.mark.parametrize("case", BAD)
def test_a_release_that_reaches_where_it_must_not_is_refused(tmp_path, case):
    from lan import write_directory  # noqa: PLC0415 - this test alone makes a directory without a net

    plan = replace(NONE_PLAN, release=replace(release(b"", "file:///a"), **BAD[case]))
    with pytest.raises(BadPlan):
        load(str(write_directory(tmp_path / "in", plan)))
