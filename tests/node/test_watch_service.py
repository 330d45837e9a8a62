"""A watch as a service: what systemd, the journal and Prometheus see of it."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import stat
import threading
import time

import pytest
from forked import SECONDS
from lan import SHIM, SHIM_PLAN, write_directory, write_manifest
from watching import watching

from podlan import __version__

pytestmark = pytest.mark.kernel


class Manager:
    """The socket of a service manager."""

    def __init__(self, net, address):
        self.heard = []
        # Abstract names are those of a network namespace, and only the thread enters it.
        thread = threading.Thread(target=self._open, args=(f"/run/netns/{net.prefix}node", address))
        thread.start()
        thread.join()

    def _open(self, namespace, address):
        with open(namespace, "rb") as file:  # noqa: PTH123 - a descriptor is what is wanted
            assert ctypes.CDLL(None).setns(file.fileno(), 0) == 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)

    def until(self, line):
        """Wait for an assignment; gives its datagram's lines."""
        end = time.monotonic() + SECONDS
        while True:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            lines = self.socket.recv(4096).decode().split("\n")
            self.heard.append(lines)
            if line in lines:
                return lines

    def rest(self):
        """Give what has come without being waited for."""
        self.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self.socket.recv(4096).decode().split("\n"))
        return self.heard


@pytest.fixture(params=["path", "abstract"])
def manager(request, net, tmp_path):
    name = f"podlan-{os.getpid()}-{tmp_path.name}"
    address = {"path": str(tmp_path / "notify"), "abstract": f"\0{name}"}[request.param]
    made = Manager(net, address)
    made.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}
    yield made
    made.socket.close()


def test_systemd_hears_when_it_is_ready_reloads_and_stops(net, manager):
    net.ip("link", "set", "eth0", "down")
    net.ip("link", "set", "eth0", "name", "other0")
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory, env=manager.environment, ready=False) as watch:
        watch.until_said("there is no interface eth0")
        net.batch("node", ["link set other0 name eth0", "link set eth0 up"])
        manager.until("READY=1")
        assert [line for lines in manager.heard for line in lines if "there is no interface eth0" in line]

        before = time.monotonic_ns() // 1000
        watch.signal(signal.SIGHUP)
        lines = manager.until("RELOADING=1")
        moment = next(int(line.removeprefix("MONOTONIC_USEC=")) for line in lines if line.startswith("MONOTONIC_USEC="))
        assert before <= moment <= time.monotonic_ns() // 1000
        manager.until("READY=1")

        write_manifest(directory, "node-1", {})
        manager.until("RELOADING=1")
        manager.until("READY=1")

        watch.signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert watch.ended_with() == 0


def test_the_watchdog_hears_it_only_while_it_goes_round(net, manager):
    environment = {**manager.environment, "WATCHDOG_USEC": "400000"}
    with watching(net, net.directory(SHIM_PLAN), env=environment) as watch:
        moments = []
        for _ in range(4):
            manager.until("WATCHDOG=1")
            moments.append(time.monotonic())
        assert moments[-1] - moments[0] >= 0.3, "at half of its time, not all the time"
        watch.signal(signal.SIGSTOP)
        time.sleep(0.1)
        heard = len(manager.rest())
        time.sleep(0.6)
        assert len(manager.rest()) == heard
        watch.signal(signal.SIGCONT)


def test_a_watchdog_for_another_process_is_not_ours(net, manager):
    environment = {**manager.environment, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    with watching(net, net.directory(SHIM_PLAN), env=environment):
        time.sleep(0.3)
        assert ["WATCHDOG=1"] not in manager.rest()


def test_a_manager_that_is_gone_stops_nothing(net):
    with watching(net, net.directory(SHIM_PLAN), env={"NOTIFY_SOCKET": str(net.home / "nobody")}):
        pass


def figures(path):
    text = path.read_text(encoding="utf-8")
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_its_figures_are_a_text_file_for_prometheus(net):
    path = net.home / "podlan.prom"
    started = time.time()
    with watching(net, net.directory(SHIM_PLAN), "--metrics", path) as watch:
        watch.until(path.exists)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        first = figures(path)
        assert first[f'podlan_info{{version="{__version__}",node="node-1"}}'] == 1
        assert first['podlan_runs_total{result="changed"}'] == 1
        assert first["podlan_repairs_total"] == 0, "the first run makes, it does not repair"
        assert started < first["podlan_last_run_timestamp_seconds"] < time.time() + 1
        assert first["podlan_drift"] == 0

        net.ip("addr", "del", f"{SHIM}/32", "dev", "macvlan0")
        watch.until(lambda: figures(path)["podlan_repairs_total"] == 3)
        assert 0.05 <= figures(path)["podlan_last_repair_seconds"] < SECONDS

        net.ip("link", "set", "eth0", "name", "other0")
        watch.until(lambda: figures(path).get('podlan_findings{code="PL603"}') == 1)
        found = figures(path)
        assert found["podlan_drift"] == 1
        assert found['podlan_runs_total{result="waiting"}'] >= 1
        assert found["podlan_last_run_timestamp_seconds"] > found["podlan_last_success_timestamp_seconds"]
        net.ip("link", "set", "other0", "name", "eth0")
        watch.until(lambda: figures(path)["podlan_drift"] == 0)
        text = path.read_text(encoding="utf-8")
        names = {re.match(r"\w+", line)[0] for line in text.splitlines() if line[0] != "#"}
        assert names <= set(re.findall(r"# TYPE (\w+) (?:gauge|counter)", text))
        assert not list(net.home.glob("*podlan-tmp*"))


def test_figures_that_cannot_be_written_are_told_once_and_stop_nothing(net):
    directory = net.home / "missing"
    with watching(net, net.directory(SHIM_PLAN), "--metrics", directory / "podlan.prom", "--resync", "1") as watch:
        watch.until_said("No such file")
        time.sleep(1.3)
        assert watch.stderr.count("No such file") == 1
        directory.mkdir()
        watch.until((directory / "podlan.prom").exists)


def test_lines_for_the_journal_have_their_priority(net):
    directory = net.directory(SHIM_PLAN)
    with (net.home / "both").open("w+", encoding="utf-8") as both:
        found = os.fstat(both.fileno())
        environment = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        with watching(net, directory, env=environment, ready=False, output=both) as watch:
            watch.until(lambda: "watched from now on" in (net.home / "both").read_text(encoding="utf-8"))
            net.ip("link", "set", "eth0", "name", "other0")
            watch.until(lambda: "no interface" in (net.home / "both").read_text(encoding="utf-8"))
        lines = (net.home / "both").read_text(encoding="utf-8").splitlines()
    assert {line[:3] for line in lines} == {"<4>", "<6>"}
    assert "<6>+ ip link add link eth0" in "\n".join(lines)


def test_what_goes_elsewhere_has_none(net):
    with watching(net, net.directory(SHIM_PLAN), env={"JOURNAL_STREAM": "1:2"}) as watch:
        assert watch.stdout.startswith("+ sysctl")


def test_quiet_says_errors_only(net):
    directory = net.directory(SHIM_PLAN)
    with watching(net, directory, "--quiet", ready=False) as watch:
        watch.until(lambda: "macvlan0" in net.ip("link"))
        (directory / "manifest.json").write_text("{", encoding="utf-8")
        watch.until(lambda: "is not JSON" in watch.stderr)
        write_directory(directory, SHIM_PLAN)
    assert watch.stdout == ""
