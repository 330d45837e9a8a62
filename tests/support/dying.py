"""Runs that are killed, stopped or left waiting at a chosen moment, and what is left of the network then."""

import itertools
import json
import os
import re
import signal
from pathlib import Path

from forked import Forked, eventually

from podlan.node import lock, unfinished, verify
from podlan.node.deadman import Guard
from podlan.node.files import Root


class Run(Forked):
    """A run that somebody may guard."""

    def wait(self):
        """Wait for its end and for that of whoever guards it; gives its exit code."""
        self.ended_with()
        eventually(self.output, lambda: not lock.is_held(Root(str(self.net.root))))
        assert "Traceback" not in self.output(), self.output()
        return self.code

    def ended(self):
        """Wait for its end, which must be a good one."""
        assert self.wait() == 0, self.output()
        return self

    def done(self):
        """Wait for its end alone, which must be a good one; gives its output."""
        assert self.ended_with() == 0, self.output()
        return self.output()

    def until_said(self, text):
        return eventually(self.output, lambda: text in self.output())

    def is_stopped(self):
        return "\nState:\tT" in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")


def reconciling(net, directory, *options, prepare=None):
    return Run(net, "reconcile", "--root", net.root, *options, directory, prepare=prepare)


def at(number, act):
    """Have a run do something when its operation of this number has begun, or all are done and nothing is settled."""

    def prepare():
        verify._CLAIM_SECONDS = 0.02  # noqa: SLF001 - who has the addresses is not what is asked here, again and again
        begun, own = itertools.count(), os.getpid()
        begin, close = Guard.begin, unfinished.close

        def begins(guard):
            begin(guard)
            if next(begun) == number:
                act()

        def closes(root):
            if os.getpid() == own and next(begun) <= number:
                act()
            close(root)

        Guard.begin, unfinished.close = begins, closes

    return prepare


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_with_the_guard():
    for child in Path("/proc/thread-self/children").read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGKILL)
        os.waitid(os.P_PID, int(child), os.WEXITED | os.WNOWAIT)
    die()


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def snapshot(net):
    """Give all that a run may touch, and more: links, addresses, routes of all tables, settings, the state."""
    state = net.root / "var/lib/podlan/state.json"
    script = "ip -j route show table all; ip -j -6 route show table all; ip -j addr; grep -r . /proc/sys/net/ipv4/conf"
    *documents, settings = re.split(r"\n(?=\[|/proc)", net.run("node", "sh", "-c", script).stdout, maxsplit=3)
    routes = [
        sorted(json.dumps(route) for route in json.loads(text) if not route["dst"].startswith(("fe80", "ff00")))
        for text in documents[:2]
    ]
    links = [
        {key: value for key, value in link.items() if key not in ("ifindex", "addr_info")}
        | {"addresses": sorted(json.dumps(one) for one in link["addr_info"] if one["scope"] != "link")}
        for link in json.loads(documents[2])
    ]
    return net.state(), routes, links, sorted(settings.splitlines()), state.exists() and state.read_text("utf-8")
