"""install.sh brings about the file tree that reconcile does, whatever was there and wherever it was killed."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from lan import Net

from podlan import pipeline
from podlan.plan import EnvFlags, File, Plan, Release, encode
from podlan.render import boot_script, install_script, json_text, manifest

SITE = Path(__file__).parents[2] / "site/site.yaml"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
KUBELET = "etc/default/kubelet"
CNI = "etc/cni/net.d/05-podlan.conflist"


def compiled(path: Path, **changes: str) -> Path:
    """Compile the example site, changed, and give its first node's directory."""
    text = SITE.read_text(encoding="utf-8")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (path / "site").mkdir(parents=True)
    (path / "site/site.yaml").write_text(text, encoding="utf-8")
    return delivered(path / "node", pipeline.compile_site(path / "site", path / "out", write=False).nodes["node-1"])


def delivered(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def of_plan(path: Path, plan: Plan, sources: dict[str, bytes] | None = None) -> Path:
    files = {"plan.json": json_text(encode(plan)), "boot.sh": boot_script(plan), "install.sh": install_script(plan)}
    files |= sources or {}
    return delivered(path, files | {"manifest.json": manifest({"node": plan.node}, files)})


def install(directory: Path, root: Path, *options: str, code: int = 0, shell: str = "dash", **environment: str):
    done = subprocess.run(
        [*SHELLS[shell], directory / "install.sh", "--root", root, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done
    return done


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Give type, mode, owner and content of all but what each of the two remembers for itself."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] in ("run", "var"):
            continue
        state = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[name] = (oct(state.st_mode), state.st_uid, state.st_gid, content)
    return found


def files(root: Path) -> dict[str, tuple[object, ...]]:
    """Give owner and content of all files: install.sh does not remember which directories and modes were its own."""
    return {name: what[1:] for name, what in tree(root).items() if not (root / name).is_dir()}


def fill(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)


def flags_of_others(root: Path) -> None:
    fill(root, KUBELET, "# é\nKUBELET_EXTRA_ARGS=\"--v=2  --node_ip=1.2.3.4 --x='a b'\" # why\nOTHER=1", 0o600)
    os.chown(root / KUBELET, 12, 34)


def files_of_others(root: Path) -> None:
    fill(root, CNI, "{}\n", 0o640)
    os.chown(root / CNI, 12, 34)
    fill(root, "etc/systemd/system/podlan-reconcile.service", "[Service]\n")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "podlan-reconcile.service").symlink_to("/elsewhere")


def rc_local(root: Path) -> None:
    fill(root, "etc/rc.local", "#!/bin/bash\ntouch /x\n\nexit 0\n\n", 0o644)


def half_written(root: Path) -> None:
    fill(root, f"{CNI}.podlan-tmp", "{")
    fill(root, "etc/podlan/node.podlan-tmp/plan.json", "{")


STARTS = {
    "nothing there": lambda _: None,
    "others' flags": flags_of_others,
    "others' files": files_of_others,
    "a script of others": rc_local,
    "what a killed run left": half_written,
}
RC_LOCAL = {"boot": ("cni:\n", "boot: rc.local\ncni:\n")}
OLD = {"version": ('kubernetes: "1.31"', 'kubernetes: "1.23"')}
DISK = {"dir": ("cni:\n", "cni:\n  dataDir: /var/lib/cni/networks\n")}


@pytest.fixture
def net(tmp_path):
    network = Net(tmp_path)
    try:
        yield network.up()
    finally:
        network.down()


@pytest.fixture
def roots(tmp_path):
    made = tmp_path / "installed", tmp_path / "reconciled"
    for root in made:
        root.mkdir()
    return made


@pytest.mark.kernel
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("changes", [{}, RC_LOCAL], ids=["systemd", "rc.local"])
def test_its_tree_is_the_one_that_reconcile_makes(net, tmp_path, roots, start, changes):
    directory = compiled(tmp_path, **changes)
    for root in roots:
        STARTS[start](root)
    install(directory, roots[0])
    net.reconcile(directory, root=roots[1])
    assert tree(roots[0]) == tree(roots[1])
    again = tree(roots[0])
    assert install(directory, roots[0]).stdout == "nothing to do\n"
    assert tree(roots[0]) == again


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("before", "after"),
    [(OLD, {}), ({}, OLD), ({}, RC_LOCAL), (RC_LOCAL, {}), (DISK, {}), (OLD | RC_LOCAL | DISK, {})],
)
def test_what_an_earlier_plan_put_there_goes_as_with_reconcile(net, tmp_path, roots, before, after):
    """A flag that a newer kubelet does not know would end it."""
    first, second = compiled(tmp_path / "1", **before), compiled(tmp_path / "2", **after)
    for root in roots:
        flags_of_others(root)
        rc_local(root)
    install(first, roots[0])
    install(second, roots[0])
    net.reconcile(first, root=roots[1])
    net.reconcile(second, root=roots[1])
    assert files(roots[0]) == files(roots[1])


def test_a_file_of_an_earlier_plan_that_others_changed_stays(tmp_path, roots):
    root, _ = roots
    install(compiled(tmp_path / "1", **DISK), root)
    fill(root, "etc/tmpfiles.d/podlan.conf", "# mine\n")
    done = install(compiled(tmp_path / "2"), root)
    assert "tmpfiles.d/podlan.conf was changed by others and stays" in done.stderr
    assert (root / "etc/tmpfiles.d/podlan.conf").read_text(encoding="utf-8") == "# mine\n"


@pytest.mark.parametrize("changes", [{}, OLD, RC_LOCAL, DISK], ids=str)
def test_shellcheck_and_every_shell_find_nothing_wrong(tmp_path, changes):
    plugins = replace(with_plugins_named("macvlan"), files=(File("/etc/default/x", block=("a",), needs=("/opt/a",)),))
    for directory in (compiled(tmp_path / "site", **changes), of_plan(tmp_path / "plan", plugins)):
        subprocess.run(["shellcheck", directory / "install.sh", directory / "boot.sh"], check=True)
        for shell in SHELLS.values():
            subprocess.run([*shell, "-n", directory / "install.sh"], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_runs_it_to_the_same_end(tmp_path, roots, shell):
    directory = compiled(tmp_path, **RC_LOCAL)
    for root in roots:
        flags_of_others(root)
        rc_local(root)
    install(directory, roots[0], shell=shell)
    install(directory, roots[1])
    assert tree(roots[0]) == tree(roots[1])


def with_plugins_named(*names: str) -> Plan:
    return Plan("node-1", release=Release("1.1.0", "https://example.com/a.tgz", "0" * 64, "/opt/cni/bin", names))


def elsewhere(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "opt").mkdir()
    (root / "etc/cni").symlink_to(root / "opt")


def a_linked_file(root: Path) -> None:
    fill(root, "opt/kubelet", "A=1\n")
    (root / "etc/default").mkdir(parents=True)
    (root / KUBELET).symlink_to(root / "opt/kubelet")


def an_open_quote(root: Path) -> None:
    fill(root, KUBELET, 'KUBELET_EXTRA_ARGS="--v=2\n')


def a_directory(root: Path) -> None:
    (root / CNI).mkdir(parents=True)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (elsewhere, "etc/cni is not a directory of its own"),
        (a_linked_file, "kubelet is a symbolic link"),
        (an_open_quote, "the value of KUBELET_EXTRA_ARGS has a quote that is never closed"),
        (a_directory, "is not a regular file"),
    ],
)
def test_what_it_would_have_to_guess_it_refuses_with_nothing_changed(tmp_path, roots, start, said):
    root, _ = roots
    start(root)
    before = tree(root)
    assert said in install(compiled(tmp_path), root, code=1).stderr
    assert tree(root) == before


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(tmp_path, roots):
    root, _ = roots
    done = install(compiled(tmp_path), root, "--dry-run")
    assert f"write {root}/{CNI}\n" in done.stdout
    assert not list(root.iterdir())


def damaged(directory: Path) -> None:
    with (directory / "plan.json").open("a") as file:
        file.write(" ")


def writable(directory: Path) -> None:
    (directory / "rootfs/etc").chmod(0o777)


def missing(directory: Path) -> None:
    (directory / "boot.sh").unlink()


def linked(directory: Path) -> None:
    shutil.move(directory / "boot.sh", directory.parent / "boot.sh")
    (directory / "boot.sh").symlink_to(directory.parent / "boot.sh")


def anothers(directory: Path) -> None:
    os.chown(directory / "plan.json", 1234, 1234)


def unnamed(directory: Path) -> None:
    text = (directory / "manifest.json").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines(keepends=True) if "conflist" not in line]
    (directory / "manifest.json").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("harm", [damaged, writable, missing, linked, anothers, unnamed])
def test_it_refuses_a_directory_that_is_not_whole_or_that_others_can_write(tmp_path, roots, harm):
    directory = compiled(tmp_path)
    harm(directory)
    install(directory, roots[0], code=4)
    assert not tree(roots[0])


KILLING = """\
#!/bin/sh
count=$(($(cat "$COUNT") + 1))
echo "$count" > "$COUNT"
[ "$count" -ne "$AT" ] || kill -9 "$PPID"
exec /bin/mv "$@"
"""


def test_a_run_that_was_killed_anywhere_is_finished_by_the_next(tmp_path):
    """Every file comes into place by a rename: the shell dies before one after the other."""
    first, second = compiled(tmp_path / "1", **OLD), compiled(tmp_path / "2")
    wanted = tmp_path / "wanted"
    wanted.mkdir()
    flags_of_others(wanted)
    install(first, wanted)
    shutil.copytree(wanted, tmp_path / "start", symlinks=True)
    os.chown(tmp_path / "start" / KUBELET, 12, 34)
    install(second, wanted)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mv").write_text(KILLING, encoding="utf-8")
    (programs / "mv").chmod(0o755)
    for at in range(1, 40):
        root = tmp_path / f"root-{at}"
        shutil.copytree(tmp_path / "start", root, symlinks=True)
        os.chown(root / KUBELET, 12, 34)
        (tmp_path / "count").write_text("0", encoding="ascii")
        told = {"PATH": f"{programs}:{os.environ['PATH']}", "COUNT": str(tmp_path / "count"), "AT": str(at)}
        killed = subprocess.run(
            ["dash", second / "install.sh", "--root", root],
            capture_output=True,
            env={**os.environ, **told},
            check=False,
        )
        if killed.returncode == 0:
            assert at > 5
            return
        again = install(second, root)
        assert tree(root) == tree(wanted)
        said = killed.stdout.decode() + again.stdout
        assert "to do by hand: systemctl try-restart kubelet.service" in said
    pytest.fail("it never ended")


def archive(path: Path, members: dict[str, bytes], *, link: str = "") -> str:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            file.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(entry)
    return hashlib.sha256(path.read_bytes()).hexdigest()


PLUGINS = {"./macvlan": b"macvlan 1", "./host-local": b"host-local 1", "./../evil": b"evil", "./dhcp": b"dhcp"}


def with_plugins(tmp_path: Path, number: int, content: bytes = b"1") -> Plan:
    """An archive that lies on the node itself, as file:// says, so below --root."""
    (tmp_path / "installed/srv").mkdir(exist_ok=True)
    path = tmp_path / f"installed/srv/cni-{number}.tgz"
    digest = archive(path, {name: text.replace(b"1", content) for name, text in PLUGINS.items()})
    release = Release(f"1.{number}.0", f"file:///srv/{path.name}", digest, "/opt/cni/bin", ("macvlan", "host-local"))
    return Plan("node-1", release=release)


@pytest.mark.parametrize("shell", SHELLS)
def test_it_takes_the_named_plugins_out_of_the_archive(tmp_path, roots, shell):
    root, _ = roots
    install(of_plan(tmp_path / "node", with_plugins(tmp_path, 1)), root, shell=shell)
    found = {path.name: path.read_bytes() for path in (root / "opt/cni/bin").iterdir()}
    assert found == {"macvlan": b"macvlan 1", "host-local": b"host-local 1"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (root / "opt/cni/bin").iterdir()} == {0o755}
    assert not list(tmp_path.rglob("evil"))


def test_only_a_plugin_of_podlans_own_gives_way_to_another_release(tmp_path, roots):
    root, _ = roots
    fill(root, "opt/cni/bin/macvlan", "the distribution's", 0o755)
    plan = with_plugins(tmp_path, 1)
    install(of_plan(tmp_path / "1", plan), root)
    assert (root / "opt/cni/bin/macvlan").read_text(encoding="utf-8") == "the distribution's"
    assert (root / "opt/cni/bin/host-local").read_bytes() == b"host-local 1"
    (root / "srv/cni-1.tgz").unlink()
    assert install(of_plan(tmp_path / "2", plan), root).stdout == "nothing to do\n"
    install(of_plan(tmp_path / "3", with_plugins(tmp_path, 2, b"2")), root)
    assert (root / "opt/cni/bin/host-local").read_bytes() == b"host-local 2"
    assert (root / "opt/cni/bin/macvlan").read_text(encoding="utf-8") == "the distribution's"
    fill(root, "opt/cni/bin/host-local", "somebody's", 0o755)
    done = install(of_plan(tmp_path / "4", with_plugins(tmp_path, 3, b"3")), root)
    assert "host-local was changed by others and stays" in done.stderr
    assert (root / "opt/cni/bin/host-local").read_text(encoding="utf-8") == "somebody's"


def test_nothing_of_another_archive_is_unpacked(tmp_path, roots):
    plan = with_plugins(tmp_path, 1)
    with (roots[0] / "srv/cni-1.tgz").open("ab") as file:
        file.write(b"\0")
    done = install(of_plan(tmp_path / "node", plan), roots[0], code=4)
    assert "its SHA-256 is another" in done.stderr
    assert not (roots[0] / "opt").exists()


def test_a_member_that_leads_elsewhere_is_no_plugin(tmp_path, roots):
    digest = archive(roots[0] / "a.tgz", {}, link="macvlan")
    release = Release("1.1.0", "file:///a.tgz", digest, "/opt/cni/bin", ("macvlan",))
    done = install(of_plan(tmp_path / "node", Plan("node-1", release=release)), roots[0], code=4)
    assert "not a regular file" in done.stderr
    assert not (roots[0] / "opt").exists()


def test_it_gets_the_archive_over_http_with_what_the_node_has(tmp_path, roots):
    plan = with_plugins(tmp_path, 1)
    argv = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", roots[0] / "srv", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            port = server.stdout.readline().split("port ")[1].split()[0]
            release = replace(plan.release, url=f"http://127.0.0.1:{port}/cni-1.tgz")
            install(of_plan(tmp_path / "node", replace(plan, release=release)), roots[0])
        finally:
            server.terminate()
    assert (roots[0] / "opt/cni/bin/macvlan").read_bytes() == b"macvlan 1"


def test_services_of_the_network_are_never_to_be_restarted(tmp_path, roots):
    flags = EnvFlags("A", ("--b",))
    file = File("/etc/default/x", env_flags=flags, restart=("systemd-networkd.service", "x.service"))
    done = install(of_plan(tmp_path / "node", Plan("node-1", files=(file,))), roots[0])
    assert done.stdout.splitlines()[-1] == "to do by hand: systemctl try-restart x.service"
    assert "systemd-networkd.service is a service of the network and is not restarted" in done.stderr


def test_values_that_a_shell_would_obey_are_only_words(tmp_path, roots):
    """The inventory's patterns keep most such values out; the template does not rely on it."""
    nasty = "$(touch pwned)'`\\;*"
    files = (
        File("/etc/default/a'$x", source="a'$x", mode="0640"),
        File("/etc/default/b", block=(nasty, "{}")),
        File("/etc/default/c", env_flags=EnvFlags("A", ("--x={a,b}*?!~[",))),
    )
    directory = of_plan(tmp_path / "no de", Plan("node-1'$x", files=files), {"a'$x": b"content"})
    install(directory, roots[0])
    assert (roots[0] / "etc/default/a'$x").read_bytes() == b"content"
    assert nasty in (roots[0] / "etc/default/b").read_text(encoding="utf-8").splitlines()
    assert (roots[0] / "etc/default/c").read_text(encoding="utf-8") == 'A="--x={a,b}*?!~["\n'
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("shell", SHELLS)
def test_where_the_node_asks_for_signatures_only_what_is_signed_is_installed(tmp_path, shell):
    """The real ssh-keygen judges; the reasons are those of podlan reconcile."""
    directory, root, key = compiled(tmp_path), tmp_path / "root", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    fill(root, "etc/podlan/allowed_signers", f"bob,alice {public}")
    before = tree(root)
    assert "is not signed" in install(directory, root, code=4, shell=shell).stderr
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "podlan", "-f", key, directory / "manifest.json"], check=True
    )
    for line, reason in (
        (f'alice namespaces="git" {public}', "not permitted"),
        (f'alice valid-before="20200101" {public}', "expired"),
        ("alice ssh-ed25519 AAAA", "who may sign this manifest"),
    ):
        fill(root, "etc/podlan/allowed_signers", line)
        assert reason in install(directory, root, "--dry-run", code=4, shell=shell).stderr
    fill(root, "etc/podlan/allowed_signers", f"bob,alice {public}", 0o666)
    assert "others can write" in install(directory, root, code=4, shell=shell).stderr
    (root / "etc/podlan/allowed_signers").chmod(0o644)
    text = (directory / "manifest.json").read_bytes()
    (directory / "manifest.json").write_bytes(text + b"\n")
    assert "incorrect signature" in install(directory, root, code=4, shell=shell).stderr
    assert tree(root) == before
    (directory / "manifest.json").write_bytes(text)
    install(directory, root, shell=shell)
    copy = root / "etc/podlan/node/manifest.json.sig"
    assert copy.read_bytes() == (directory / "manifest.json.sig").read_bytes()
    assert (root / "run/podlan/lock").stat().st_mode & 0o777 == 0o600, "nobody else can hold it"
