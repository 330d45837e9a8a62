"""System calls that fail, one after the other: all is done or all is back, the node is reachable, the next run ends."""

import itertools
import os
import shutil
from dataclasses import replace

import pytest
from faults import calls_of, traced
from lan import MOVE_PLAN, NODE, NONE_PLAN, SHIM_PLAN

from podlan.plan import File

pytestmark = pytest.mark.kernel

CNI = "/etc/cni/net.d/05-podlan.conflist"
UNIT = "/etc/systemd/system/podlan.service"
FILES = (
    File(CNI, source=f"rootfs{CNI}"),
    File("/etc/rc.local", mode="0755", block=("/bin/true",)),
    File(UNIT, source=f"rootfs{UNIT}", wanted_by=("multi-user.target",)),
)
SOURCES = {f"rootfs{CNI}": b"{}\n", f"rootfs{UNIT}": b"[Unit]\n"}
PLANS = {"shim": replace(SHIM_PLAN, files=FILES), "move": replace(MOVE_PLAN, files=FILES)}
TEXTS = {
    "EPERM": "Operation not permitted",
    "ENOBUFS": "No buffer space available",
    "ENOMEM": "Cannot allocate memory",
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EROFS": "Read-only file system",
}
ERRORS = {
    "change": ("EPERM", "ENOBUFS", "ENOMEM"),
    "setting": ("EIO", "ENOMEM"),
    "answer": ("ENOBUFS", "ENOMEM"),
    "ask": ("ENOBUFS", "ENOMEM"),
    "frame": ("EPERM", "ENOBUFS"),
    "recvfrom": ("ENOBUFS", "ENOMEM"),
    "write": ("ENOSPC", "EIO"),
    "fsync": ("EIO", "ENOSPC"),
    "renameat": ("EROFS", "ENOSPC"),
    "mkdirat": ("ENOSPC", "EROFS"),
    "symlinkat": ("ENOSPC", "EROFS"),
}
CALLS = "sendto,sendmsg,recvfrom,write,fsync,renameat,mkdirat,symlinkat"
ALL = bool(os.environ.get("PROOF"))


def some(calls):
    """Give each change with one of its errors, and of the other calls some; or all calls with all errors."""
    turns = {kind: itertools.cycle(errors) for kind, errors in ERRORS.items()}
    kinds = {}
    for name, number, kind in calls:
        if kind not in ERRORS:
            continue
        if ALL:
            yield from ((name, number, error) for error in ERRORS[kind])
            continue
        seen = kinds[kind] = kinds.get(kind, -1) + 1
        rare = kind in ("frame", "symlinkat") and not seen
        if kind in ("change", "setting") or rare or (kind == "answer" and seen % 3 == 1) or seen % 11 == 5:
            yield name, number, next(turns[kind])


def back(net, before):
    """Make all as it was before the first run."""
    net.reconcile(NONE_PLAN)
    shutil.rmtree(net.root)
    assert net.snapshot() == before


def kernel(snapshot):
    return snapshot[:-1]


@pytest.mark.parametrize("kind", PLANS)
def test_whichever_call_fails_all_is_done_or_all_is_back(net, kind):
    directory = net.directory(PLANS[kind], SOURCES)
    before = net.snapshot()
    calls, done = calls_of(net, directory, calls=CALLS)
    planned = net.snapshot()
    texts = iter(line[2:] for line in done.stdout.splitlines() if line.startswith(("+ ip ", "+ sysctl ")))
    operations = {(name, number): next(texts) for name, number, kind in calls if kind in ("change", "setting")}
    assert next(texts, None) is None
    back(net, before)
    codes = {}
    for name, number, error in some(calls):
        done = traced(net, directory, f"inject={name}:error={error}:when={number}", calls=CALLS)
        where = (name, number, error, done)
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
        now = net.snapshot()
        for peer in ("peer", "gw"):
            assert net.reaches(peer, NODE), where
        if done.returncode == 1:
            assert f"failed, rolled back: {operations.get(number, '') if name == 'sendto' else ''}" in done.stderr, (
                where
            )
        else:
            assert done.returncode in (0, 4), where
        # Who cannot ask the neighbours takes it for silence.
        assert not done.returncode or TEXTS[error] in done.stderr or "no longer answers" in done.stderr, where
        if done.returncode == 1 or kernel(now) == kernel(before):
            assert done.returncode, where
            assert now == before, where
        else:
            # Only what comes after the last change failed: the end of the run is not remembered, or not told.
            assert kernel(now) == kernel(planned), where
            net.reconcile(directory)
            assert net.snapshot() == planned, where
            back(net, before)
    assert {1, 4} <= set(codes), codes
    net.reconcile(directory)
    assert net.snapshot() == planned
