"""What every suite shares: a small site to change, and the command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings
from ready import podlan

# CI judges a change, so the same commit must give the same answer; whoever runs the tests by hand searches further.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# What happens at random moments can be repeated; one number for all processes of a run, which inherit it.
os.environ.setdefault("SEED", "1" if os.environ.get("CI") else str(int(time.time())))

SITE = """\
version: 1
site: test
cluster: {kubernetes: "1.31"}
cni: {name: pods}
subnets:
  lan:
    cidr: 10.0.0.0/24
    gateway: 10.0.0.254
    pool: [10.0.0.16-199]
    routes: []
masters:
  uplink: {interface: eth0, subnets: [lan], podsPerNode: 10}
nodes:
  node-1: {address: 10.0.0.1}
  node-2: {address: 10.0.0.2}
  node-3: {address: 10.0.0.3}
"""


def pytest_report_header() -> str:
    return f"random moments: SEED={os.environ['SEED']}"


class Project:
    """A site on disk, its output beside it, and the podlan command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.site = path / "site"
        self.out = path / "output"
        self.site.mkdir()
        self.file = self.site / "site.yaml"
        self.write(SITE)

    def write(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    @property
    def lock(self) -> Path:
        return self.site / "podlan.lock"

    def run(
        self, *arguments: str, code: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if env is None:
            done = podlan(self.path, *arguments)
        else:  # what Python itself reads of it counts too
            command = [sys.executable, "-m", "podlan", *arguments]
            done = subprocess.run(command, cwd=self.path, text=True, capture_output=True, check=False, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def compile(self, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("compile", "site", "-o", "output", *options, code=code)

    def tree(self) -> dict[str, bytes]:
        """Give every file of site and output by its relative path."""
        files = (file for file in self.path.rglob("*") if file.is_file())
        return {file.relative_to(self.path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
