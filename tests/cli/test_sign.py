"""`podlan sign`: ssh-keygen signs what was compiled, once, never by half; a compile keeps what is still valid."""

from __future__ import annotations

import itertools
import os
import pty
import shutil
import subprocess
import sys
import time

import pytest
from ready import podlan

NODES = ("node-1", "node-2", "node-3")


def keygen(*argv: object) -> str:
    done = subprocess.run(["ssh-keygen", "-q", *map(str, argv)], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def compiled(project):
    project.compile()
    keygen("-t", "ed25519", "-N", "", "-f", project.path / "key")
    return project


def signatures(project) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in project.out.glob("nodes/*/manifest.json.sig")}


def is_good(project, node: str, key: str = "key") -> bool:
    """Let ssh-keygen judge a node's signature, as the node would."""
    directory = project.out / "nodes" / node
    signers = project.path / "signers"
    signers.write_text(f"me {(project.path / key).with_suffix('.pub').read_text(encoding='utf-8')}", encoding="utf-8")
    argv = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "me", "-n", "podlan", "-s", "manifest.json.sig"]
    with (directory / "manifest.json").open("rb") as manifest:
        done = subprocess.run(argv, cwd=directory, stdin=manifest, check=False, capture_output=True)
    return not done.returncode


def test_all_nodes_are_signed_and_the_second_time_none(compiled):
    assert compiled.run("sign", "output", "--key", "key").stdout == "3 nodes: 3 signed, 0 unchanged\n"
    assert all(is_good(compiled, node) for node in NODES)
    assert not (compiled.out / "cluster/manifest.json.sig").exists()
    before = compiled.tree()
    assert compiled.run("sign", "output", "--key", "key").stdout == "3 nodes: 0 signed, 3 unchanged\n"
    assert compiled.run("sign", "output", "output/nodes/node-2", "--key", "key.pub").stdout.startswith("3 nodes: 0 ")
    assert compiled.tree() == before


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_key_of_any_kind_signs_again_only_what_is_not_validly_signed_by_it(compiled, kind):
    keygen("-t", kind, "-N", "", "-f", compiled.path / kind)
    compiled.run("sign", "output/nodes/node-1", "output/nodes/node-2", "--key", "key")
    assert "1 node: 1 signed" in compiled.run("sign", "output/nodes/node-1", "--key", kind).stdout
    assert "3 nodes: 2 signed, 1 unchanged" in compiled.run("sign", "output", "--key", kind).stdout
    assert all(is_good(compiled, node, kind) for node in NODES)
    first, second = (compiled.out / f"nodes/{node}/manifest.json.sig" for node in NODES[:2])
    shutil.copy(first, second)
    (compiled.out / "nodes/node-3/manifest.json.sig").write_bytes(first.read_bytes()[:-100])
    assert "3 nodes: 2 signed, 1 unchanged" in compiled.run("sign", "output", "--key", kind).stdout
    assert all(is_good(compiled, node, kind) for node in NODES)


def test_a_compile_keeps_valid_signatures_and_removes_those_of_other_manifests(compiled):
    compiled.run("sign", "output", "--key", "key")
    before = signatures(compiled)
    compiled.compile("--check")
    compiled.compile()
    assert signatures(compiled) == before

    compiled.change("node-1: {address: 10.0.0.1}", "node-1: {address: 10.0.0.9}")
    compiled.change("  node-3: {address: 10.0.0.3}\n", "")
    told = compiled.compile("--check", code=3).stdout
    for node in ("node-1", "node-3"):
        assert f"orphaned output/nodes/{node}/manifest.json.sig" in told
    assert signatures(compiled) == before
    compiled.compile()
    assert signatures(compiled) == {"node-2": before["node-2"]}
    assert not (compiled.out / "nodes/node-3").exists()
    assert "2 nodes: 1 signed, 1 unchanged" in compiled.run("sign", "output", "--key", "key").stdout


def test_signatures_are_nothing_to_the_commands_that_read_an_output(compiled):
    before = [compiled.run("audit", "output").stdout, compiled.run("diff", "output", "site").stdout]
    compiled.run("sign", "output", "--key", "key")
    assert [compiled.run("audit", "output").stdout, compiled.run("diff", "output", "site").stdout] == before


def test_nobody_vouches_for_what_is_not_as_compiled(compiled):
    (compiled.out / "nodes/node-2/boot.sh").write_text("reboot\n", encoding="utf-8")
    error = compiled.run("sign", "output", "--key", "key", code=1).stderr
    assert "nodes/node-2/boot.sh: it is not the file that manifest.json tells of; compile the site again" in error
    assert not signatures(compiled)
    for text in ("", "{}", "[]", '{"node": "node-2", "files": {"../x": ""}}'):
        (compiled.out / "nodes/node-2/manifest.json").write_text(text, encoding="utf-8")
        assert "it is not a node's manifest" in compiled.run("sign", "output", "--key", "key", code=1).stderr


def test_what_is_no_output_and_what_is_no_key_is_said(compiled):
    assert "compile the site first" in compiled.run("sign", "site", "--key", "key", code=4).stderr
    (compiled.path / "text").write_text("no key\x1b[31m", encoding="utf-8")
    error = compiled.run("sign", "output", "--key", "text", code=4).stderr
    assert error.startswith("error: text: ")
    assert "\x1b" not in error
    environment = {**os.environ, "PATH": str(compiled.path)}
    error = compiled.run("sign", "output", "--key", "key", code=4, env=environment).stderr
    assert "openssh-client" in error
    (compiled.path / "key").unlink()
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    error = compiled.run("sign", "output", "--key", "key.pub", code=4, env=environment).stderr
    assert "error: key.pub: ssh-keygen did not sign with it" in error
    assert not signatures(compiled)


def test_a_key_that_only_an_agent_holds_signs(compiled):
    environment = {**os.environ, "SSH_AUTH_SOCK": str(compiled.path / "agent")}
    argv = ["ssh-agent", "-D", "-a", environment["SSH_AUTH_SOCK"]]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as agent:
        try:
            while not (compiled.path / "agent").exists():
                time.sleep(0.01)
            subprocess.run(["ssh-add", "-q", compiled.path / "key"], check=True, env=environment)
            (compiled.path / "key").unlink()
            done = compiled.run("sign", "output", "--key", "key.pub", env=environment)
        finally:
            agent.terminate()
    assert "3 signed" in done.stdout
    assert all(is_good(compiled, node) for node in NODES)


def test_a_passphrase_is_asked_for_once_at_the_terminal(compiled):
    keygen("-p", "-P", "", "-N", "correct horse", "-f", compiled.path / "key")
    compiled.run("sign", "output/nodes/node-1", "--key", "key", code=4, env={**os.environ, "SSH_ASKPASS": "/bin/false"})
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(compiled.path)
        os.execv(sys.executable, [sys.executable, "-m", "podlan", "sign", "output", "--key", "key"])  # noqa: S606
    said = b""
    while b"passphrase" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"correct horse\n")
    try:
        while piece := os.read(terminal, 1000):
            said += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert said.count(b"passphrase") == 1
    assert b"3 nodes: 3 signed" in said
    assert all(is_good(compiled, node) for node in NODES)
    assert "0 signed" in compiled.run("sign", "output", "--key", "key").stdout, "which needs no passphrase"


def test_a_killed_run_leaves_whole_signatures_and_the_next_one_finishes(compiled):
    for calls in ("rename,renameat,renameat2", "fsync"):
        for number in itertools.count(1):
            for node in signatures(compiled):
                (compiled.out / f"nodes/{node}/manifest.json.sig").unlink()
            trace = [f"trace={calls}", f"inject={calls}:signal=KILL:when={number}"]
            done = podlan(compiled.path, "sign", "output", "--key", "key", trace=trace)
            assert all(is_good(compiled, node) for node in signatures(compiled))
            if not done.returncode:
                break
            compiled.run("sign", "output", "--key", "key")
            assert signatures(compiled).keys() == set(NODES)
            assert all(is_good(compiled, node) for node in NODES)
            assert not list(compiled.out.rglob(".manifest*"))
        assert number > len(NODES)
