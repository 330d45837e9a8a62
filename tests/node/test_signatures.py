"""With allowed_signers on the node, nothing is believed that none of its keys has signed, by the real ssh-keygen."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import pytest
from lan import SHIM_PLAN, write_directory
from watching import watching

from podlan.node import signing
from podlan.node._errors import BadDirectory, Unusable
from podlan.node.directory import load
from podlan.node.files import Root

kernel = pytest.mark.kernel

GARBAGE = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"


def keygen(*argv, **options):
    return subprocess.run(["ssh-keygen", "-q", *map(str, argv)], check=True, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Give the keys of two people."""
    home = tmp_path_factory.mktemp("keys")
    for name in ("alice", "mallory"):
        keygen("-t", "ed25519", "-N", "", "-C", name, "-f", home / name)
    return home


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    (made / "etc/podlan").mkdir(parents=True)
    return made


def allow(root, keys, line="alice@example.com {alice}"):
    public = {name: (keys / f"{name}.pub").read_text(encoding="utf-8").strip() for name in ("alice", "mallory")}
    path = root / "etc/podlan/allowed_signers"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line.format(**public) + "\n", encoding="utf-8")
    return path


def sign(directory, key, namespace="podlan"):
    (directory / "manifest.json.sig").unlink(missing_ok=True)
    keygen("-Y", "sign", "-f", key, "-n", namespace, directory / "manifest.json")
    return directory


def directory(tmp_path, plan=SHIM_PLAN, name="in"):
    return write_directory(tmp_path / name, plan)


def test_who_signed_is_known_by_name_and_key(tmp_path, root, keys):
    allow(root, keys)
    given = sign(directory(tmp_path), keys / "alice")
    fingerprint = keygen("-l", "-f", keys / "alice").stdout.split()[1]
    assert str(load(str(given), Root(str(root))).signer) == f"alice@example.com (ED25519 key {fingerprint})"


def test_without_allowed_signers_nobody_has_to_sign(tmp_path, root):
    given = directory(tmp_path)
    assert load(str(given), Root(str(root))).signer is None
    (given / "manifest.json.sig").write_text(GARBAGE, encoding="utf-8")
    assert load(str(given), Root(str(root))).signer is None


ALLOWED = {
    "several names": "alice@example.com,ops {alice}",
    "a pattern": "*@example.com {alice}",
    "a line of another key before": "mallory {mallory}\n# a remark\n\nalice {alice}",
    "this namespace": 'alice namespaces="git,podlan" {alice}',
    "for a time": 'alice valid-after="20200101",valid-before="21000101" {alice}',
    "a line that nobody can read": "garbage\nalice {alice}",
}


@pytest.mark.parametrize("case", ALLOWED)
def test_who_may_sign_is_what_ssh_keygen_makes_of_allowed_signers(tmp_path, root, keys, case):
    allow(root, keys, ALLOWED[case])
    assert load(str(sign(directory(tmp_path), keys / "alice")), Root(str(root))).signer is not None


REFUSED = {
    "of another key": ("mallory {mallory}", "No principal matched"),
    "for another namespace": (
        'alice namespaces="git" {alice}',
        'not permitted for use in signature namespace "podlan"',
    ),
    "of a key of the past": ('alice valid-before="20200101" {alice}', "line 1: key has expired"),
    "of a key to come": ('alice valid-after="21000101" {alice}', "not yet valid"),
    "and nobody may sign": ("", "No principal matched"),
    "and the list is none": ("garbage \x1b[31m\nssh-ed25519 AAAA\n\x00\x01", "ssh-keygen: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_signature_that_is_not_allowed_is_refused_with_ssh_keygen_s_reason(tmp_path, root, keys, case):
    line, reason = REFUSED[case]
    allow(root, keys, line)
    with pytest.raises(BadDirectory, match=r"nobody in .*/allowed_signers who may sign") as refusal:
        load(str(sign(directory(tmp_path), keys / "alice")), Root(str(root)))
    assert reason in str(refusal.value)
    assert str(refusal.value).isprintable()


def tamper_with_manifest(given, _):
    text = (given / "manifest.json").read_text(encoding="utf-8")
    (given / "manifest.json").write_text(text + " ", encoding="utf-8")


def sign_for_git(given, keys):
    sign(given, keys / "alice", "git")


def take_another_node_s(given, keys):
    other = sign(write_directory(given.parent / "other", replace(SHIM_PLAN, node="node-2")), keys / "alice")
    shutil.copy(other / "manifest.json.sig", given / "manifest.json.sig")


def cut(given, _):
    text = (given / "manifest.json.sig").read_text(encoding="utf-8")
    (given / "manifest.json.sig").write_text(text[: len(text) // 2], encoding="utf-8")


TAMPERINGS = {
    "the manifest changed": (tamper_with_manifest, "incorrect signature"),
    "signed for something else": (sign_for_git, "namespace does not match"),
    "another node's signature": (take_another_node_s, "incorrect signature"),
    "half a signature": (cut, "ssh-keygen: "),
    "garbage": (lambda given, _: (given / "manifest.json.sig").write_text(GARBAGE), "ssh-keygen: "),
    "nothing": (lambda given, _: (given / "manifest.json.sig").write_text(""), "ssh-keygen: "),
    "none": (lambda given, _: (given / "manifest.json.sig").unlink(), "not signed"),
    "a hundred megabytes": (lambda given, _: os.truncate(given / "manifest.json.sig", 100 << 20), "larger than"),
    "a pipe": (
        lambda given, _: ((given / "manifest.json.sig").unlink(), os.mkfifo(given / "manifest.json.sig")),
        "not a",
    ),
    "a file changed": (lambda given, _: (given / "boot.sh").write_text("rm -rf /\n"), "SHA-256 differs"),
    "others can write it": (lambda given, _: (given / "manifest.json.sig").chmod(0o666), "others can write"),
}


@pytest.mark.parametrize("case", TAMPERINGS)
def test_what_is_not_as_it_was_signed_is_refused(tmp_path, root, keys, case):
    tamper, reason = TAMPERINGS[case]
    allow(root, keys)
    given = sign(directory(tmp_path), keys / "alice")
    load(str(given), Root(str(root)))
    tamper(given, keys)
    with pytest.raises(BadDirectory, match=reason) as refusal:
        load(str(given), Root(str(root)))
    assert str(refusal.value).isprintable()


def test_names_in_allowed_signers_that_are_no_words_do_no_harm(tmp_path, root, keys):
    for name, shown in (
        ("--", "--"),
        ("-n", "-n"),
        ("$(touch x)", "$(touch"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\x0bb", "a\ufffdb"),
        ("é", "é"),
    ):
        quoted = f'"{name}"' if " " in name else name
        allow(root, keys, f"{quoted} {{alice}}")
        assert load(str(sign(directory(tmp_path), keys / "alice")), Root(str(root))).signer.principal.startswith(shown)


@pytest.mark.parametrize("case", ["mode", "owner", "link", "directory", "pipe", "parent", "size"])
def test_an_allowed_signers_that_others_could_have_made_lets_nobody_sign(tmp_path, root, keys, case):
    path = allow(root, keys)
    given = sign(directory(tmp_path), keys / "alice")
    match case:
        case "mode":
            path.chmod(0o664)
        case "owner":
            os.chown(path, 65534, 0)
        case "link":
            path.rename(path.with_name("real"))
            path.symlink_to("real")
        case "parent":
            path.parent.chmod(0o777)
        case "size":
            os.truncate(path, 2 << 20)
        case _:
            path.unlink()
            path.mkdir() if case == "directory" else os.mkfifo(path)
    with pytest.raises(Unusable, match="etc/podlan") as refusal:
        load(str(given), Root(str(root)))
    assert refusal.value.exit_code == 4


def test_without_ssh_keygen_nothing_is_believed_and_its_package_is_named(tmp_path, root, keys, monkeypatch):
    allow(root, keys)
    monkeypatch.setattr(signing, "_PROGRAMS", (str(tmp_path / "ssh-keygen"),))
    with pytest.raises(Unusable, match="openssh-client"):
        load(str(sign(directory(tmp_path), keys / "alice")), Root(str(root)))


def test_an_ssh_keygen_that_hangs_is_not_waited_for(tmp_path, root, keys, monkeypatch):
    allow(root, keys)
    slow = tmp_path / "ssh-keygen"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setattr(signing, "_PROGRAMS", (str(slow),))
    monkeypatch.setattr(signing, "_SECONDS", 0.2)
    with pytest.raises(BadDirectory, match="no answer within"):
        load(str(sign(directory(tmp_path), keys / "alice")), Root(str(root)))


@kernel
def test_a_node_applies_only_what_is_signed_and_so_does_its_next_boot(net, keys):
    allow(net.root, keys)
    given = net.directory(SHIM_PLAN)
    before = net.state()
    for options in ([], ["--dry-run"], ["--check"]):
        assert "not signed" in net.reconcile(given, *options, code=4).stderr
    assert net.state() == before
    assert not (net.root / "var/lib/podlan").exists()

    sign(given, keys / "alice")
    done = net.reconcile(given, "-v")
    assert "note: node-1 is signed by alice@example.com (ED25519 key SHA256:" in done.stderr
    signer = json.loads(net.reconcile(None, "--check", "--format", "json").stdout)["signer"]
    assert signer["principal"] == "alice@example.com", "the kept copy has its signature with it"

    (net.root / "etc/podlan/node/manifest.json.sig").unlink()
    assert "not signed" in net.reconcile(None, code=4).stderr
    assert "+ mkdir -p" in net.reconcile(given).stdout, "the signature comes back with the directory"
    net.reconcile(None)


@kernel
def test_a_watch_takes_a_new_plan_only_with_its_signature(net, keys):
    allow(net.root, keys)
    given = sign(net.directory(SHIM_PLAN), keys / "alice")
    with watching(net, given) as watch:
        watch.until_said("node-1 is as planned, signed by alice@example.com")
        newer = replace(SHIM_PLAN, sysctls={**SHIM_PLAN.sysctls, "net/ipv4/conf/macvlan0/arp_announce": "1"})
        write_directory(given, newer)
        watch.until_said("may sign this manifest")
        assert net.sysctl("net/ipv4/conf/macvlan0/arp_announce") == "2"
        sign(given, keys / "alice")
        watch.until(lambda: net.sysctl("net/ipv4/conf/macvlan0/arp_announce") == "1")
        assert net.sysctl("net/ipv4/conf/macvlan0/arp_announce") == "1"
